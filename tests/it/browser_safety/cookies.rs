//! What every cookie says of itself.

use actix_web::http::header::SET_COOKIE;
use countersign::config::Config;

use crate::support::{PASSWORD, TestApp, email};

/// The cookies of signing in and of one sentence that is said after a redirect.
async fn cookies(config: Config) -> (Vec<String>, bool) {
    let app = TestApp::with(config).await;
    let mut person = app.visitor();
    let login = person.get("/login").await;
    let maker = email("maker");
    let signed_in =
        person.submit("/login", &[("email", &maker), ("password", PASSWORD)]).await.is(303);
    person.get("/").await.is(200);
    let out = person.submit("/logout", &[]).await.is(303);
    let pages = [&login, &signed_in, &out];
    let lines = pages.iter().flat_map(|page| page.headers.get_all(SET_COOKIE));
    let strict = pages.iter().all(|page| page.headers.contains_key("strict-transport-security"));
    (lines.map(|line| line.to_str().unwrap().to_owned()).collect(), strict)
}

#[actix_web::test]
async fn cookies_are_for_this_server_alone_and_over_https_for_https_alone() {
    let (lines, strict) = cookies(Config::for_tests()).await;
    assert!(lines.len() >= 4 && !strict, "{lines:?}");
    let mut config = Config::for_tests();
    config.public_url = "https://keys.example".parse().unwrap();
    let (secure_lines, strict) = cookies(config).await;
    assert!(strict && secure_lines.len() == lines.len());
    for line in lines.iter().chain(&secure_lines) {
        for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("Domain") && line.len() < 4096, "{line}");
    }
    assert!(lines.iter().all(|line| !line.contains("Secure")), "{lines:?}");
    for line in &secure_lines {
        assert!(line.starts_with("__Host-") && line.contains("; Secure"), "{line}");
    }
}
