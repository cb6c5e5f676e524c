//! What browsers are told and what they cannot be made to do: proofs, headers, cookies, and text that stays text.

mod cookies;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::test::TestRequest;
use scraper::{Html, Selector};

use crate::access::{invitation, routes};
use crate::support::{Browser, DEMO_ID, PASSWORD, Page, TestApp, email};

const FORM: &str = "application/x-www-form-urlencoded";

/// Every field that some form needs to do its work.
const FIELDS: &[(&str, &str)] = &[
    ("version", "1"),
    ("comment", ""),
    ("reason", "r"),
    ("confirm_label", "Thing"),
    ("email", "checker2@demo.example"),
    ("password", "abode quiver lantern"),
];

fn is_page(path: &str) -> bool {
    !["/api/", "/auth/", "/static/", "/livez", "/readyz"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// A form that was sent with these fields and no others.
fn bare(person: &Browser<'_>, path: &str, fields: &[(&str, &str)]) -> TestRequest {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    person.request(Method::POST, path).insert_header((CONTENT_TYPE, FORM)).set_payload(body)
}

/// The path of a route with fresh things in it, and somebody whose form would be accepted there.
async fn target<'a>(app: &'a TestApp, route: &str) -> (String, Browser<'a>) {
    let mut maker = app.sign_in("maker").await;
    let request = maker.ask_for_key("Thing").await;
    if route.starts_with("/requests/") {
        let id = request.rsplit('/').next().unwrap();
        let decides = route.ends_with("/approve") || route.ends_with("/reject");
        let person = if decides { app.sign_in("checker").await } else { maker };
        return (route.replace("{id}", id), person);
    }
    let mut visitor = app.visitor();
    if route == "/login" || route.starts_with("/invitation") {
        let link = invitation(app).await;
        visitor.get("/login").await.is(200);
        return (route.replace("{token}", link.rsplit('/').next().unwrap()), visitor);
    }
    app.sign_in("checker").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    if !route.ends_with("/reveal") {
        maker.reveal(&key).await;
    }
    (route.replace("{key}", key.rsplit('/').next().unwrap()), maker)
}

async fn forms_of(app: &TestApp) -> Vec<String> {
    let routes = routes(app).await.into_iter();
    let unsafe_ones = routes.filter(|(method, path)| method != "GET" && is_page(path));
    let paths: Vec<_> = unsafe_ones.map(|(_, path)| path).collect();
    assert!(paths.len() > 8, "{paths:?}");
    paths
}

#[actix_web::test]
async fn no_form_does_anything_without_the_proof_of_its_session() {
    let app = TestApp::start().await;
    for route in forms_of(&app).await {
        let (path, person) = target(&app, &route).await;
        let mut stranger = app.visitor();
        stranger.get("/login").await;
        let session = app.sign_in("checker2").await.csrf;
        let in_query = format!("{path}?csrf={}", person.csrf);
        let tokens =
            ["", "0", &session, &stranger.csrf, &person.csrf[1..], &person.csrf.to_uppercase()];
        let with = |token: &str| {
            let mut fields = FIELDS.to_vec();
            fields.push(("csrf", token));
            bare(&person, &path, &fields)
        };
        let mut forms: Vec<_> = tokens.map(with).into();
        forms.extend([bare(&person, &path, FIELDS), bare(&person, &in_query, FIELDS)]);
        let cookieless = TestRequest::with_uri(&path).method(Method::POST);
        let before = app.dump();
        for form in forms {
            person.clone().send(form).await.is(403);
        }
        let page = app.answer(cookieless.to_request()).await;
        assert!([303, 415].contains(&page.status.as_u16()), "{path}: {}", page.status);
        before.equals(&app.dump(), &path);
        let page = person.clone().submit(&path, FIELDS).await;
        assert!([200, 303, 422].contains(&page.status.as_u16()), "{path}: {}", page.status);
    }
}

#[actix_web::test]
async fn no_form_of_another_site_does_anything() {
    let app = TestApp::start().await;
    for route in forms_of(&app).await {
        let (path, person) = target(&app, &route).await;
        let with = |name: &'static str, value: &'static str| {
            let mut fields = FIELDS.to_vec();
            fields.push(("csrf", &person.csrf));
            bare(&person, &path, &fields).insert_header((name, value))
        };
        let own = "http://127.0.0.1:8080";
        let before = app.dump();
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "rubbish"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:8081"),
            ("origin", "https://127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080.evil.example"),
            ("origin", ""),
        ] {
            let page = person.clone().send(with(name, value)).await.is(403);
            is_safe(&page, &format!("{path} {name} {value}"));
            let own_too = with(name, value).insert_header(("origin", own));
            if name != "origin" {
                person.clone().send(own_too).await.is(403);
            }
        }
        before.equals(&app.dump(), &path);
        let page = person.clone().send(with("origin", own)).await;
        assert!([200, 303, 422].contains(&page.status.as_u16()), "{path}: {}", page.status);
    }
}

/// Fails the test unless the answer carries what every answer has to.
#[track_caller]
fn is_safe(page: &Page, what: &str) {
    if what.starts_with("/api") {
        // What a page may do means nothing to a machine.
        let csp = page.header("content-security-policy");
        assert_eq!(csp, "default-src 'none'; frame-ancestors 'none'", "{what}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{what}");
        assert_eq!(page.header("cache-control"), "no-store", "{what}");
        assert_eq!(page.header("x-request-id").len(), 32, "{what}");
        return;
    }
    let csp = page.header("content-security-policy");
    let directives: Vec<&str> = csp.split(';').map(str::trim).collect();
    for needed in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    ] {
        assert!(directives.contains(&needed), "{what}: {needed} is not in {csp}");
    }
    for bad in ["unsafe", "*", "data:", "blob:", "http:", "https:"] {
        assert!(!csp.contains(bad), "{what}: {csp}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("server", ""),
        ("x-powered-by", ""),
        ("access-control-allow-origin", ""),
    ] {
        assert_eq!(page.header(name), value, "{what}: {name}");
    }
    assert!(!page.header("permissions-policy").is_empty(), "{what}");
    assert_eq!(page.header("x-request-id").len(), 32, "{what}");
    if !what.starts_with("/static/") {
        assert_eq!(page.header("cache-control"), "no-store", "{what}");
    }
}

#[actix_web::test]
async fn every_answer_of_every_kind_carries_the_safety_headers() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let own = maker.ask_for_key("Thing").await;
    let mut seen = std::collections::BTreeSet::new();
    let mut note = |page: &Page, what: &str| {
        is_safe(page, what);
        seen.insert(page.status.as_u16());
    };
    let balance = format!("/api/v1/distributors/{DEMO_ID}/balance");
    for path in [
        "/",
        "/login",
        "/livez",
        "/readyz",
        "/static/app.css",
        "/static/none.css",
        "/none",
        "/settings/api-keys",
        "/settings/api-keys/none",
        "/settings/api-keys/active?page=x",
        "/logout",
        "/requests/%FF",
        "/api",
        "/api/v1/keys/self",
        "//",
        "/.env",
        "/static/..%2fCargo.toml",
        &own,
    ] {
        note(&maker.get(path).await, path);
        note(&app.visitor().get(path).await, path);
    }
    for (path, fields) in [
        ("/settings/api-keys".to_owned(), vec![]),
        (format!("{own}/approve"), vec![("version", "1")]),
        (format!("{own}/withdraw"), vec![]),
        (format!("{own}/withdraw"), vec![]),
        ("/requests".to_owned(), vec![]),
        ("/settings/api-keys".to_owned(), vec![("label", "a"), ("label", "b")]),
    ] {
        note(&maker.submit(&path, &fields).await, &path);
    }
    let json = |path: &str| maker.form(path, &[]).insert_header((CONTENT_TYPE, "application/json"));
    note(&maker.clone().send(json("/logout")).await, "JSON");
    let large = maker.form("/logout", &[("x", &"x".repeat(17_000))]);
    note(&maker.clone().send(large).await, "a large form");
    app.sql("ALTER TABLE wallets RENAME TO elsewhere");
    let broken = maker.get("/").await;
    note(&broken, "a fault");
    assert!(
        broken.body.contains(broken.header("x-request-id")) && !broken.body.contains("wallets")
    );
    for _ in 0..11 {
        app.visitor().sign_in(&email("viewer"), "a wrong one").await;
    }
    note(&app.visitor().sign_in(&email("viewer"), PASSWORD).await, "a guesser");
    note(&app.answer(TestRequest::post().uri(&balance).to_request()).await, &balance);
    let all = [200, 303, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[actix_web::test]
async fn a_wrong_method_is_told_which_ones_are_right() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let routes = routes(&app).await;
    let paths: std::collections::BTreeSet<_> = routes.iter().map(|(_, path)| path).collect();
    for path in paths {
        let there = |method: &str| routes.contains(&(method.to_owned(), path.clone()));
        if there("ANY") {
            continue;
        }
        // HEAD is answered wherever GET is.
        let right = [("GET", "GET"), ("HEAD", "GET"), ("POST", "POST"), ("PUT", "PUT")]
            .map(|(m, as_)| (m, there(as_)));
        let right: Vec<_> = right.into_iter().filter(|(_, there)| *there).map(|(m, _)| m).collect();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if !right.contains(&method.as_str()) {
                let request = maker.request(method.clone(), &path.replace(['{', '}'], ""));
                let page = maker.send(request).await;
                let found = (page.status.as_u16(), page.header("allow").to_owned());
                assert_eq!(found, (405, right.join(", ")), "{method} {path}");
            }
        }
    }
}

#[actix_web::test]
async fn forms_take_forms_only_and_no_large_ones() {
    let app = TestApp::start().await;
    for route in forms_of(&app).await {
        let (path, person) = target(&app, &route).await;
        let before = app.dump();
        for kind in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
            let form = person.form(&path, FIELDS).insert_header((CONTENT_TYPE, kind));
            person.clone().send(form).await.is(415);
        }
        let large = person.form(&path, &[("comment", &"x".repeat(16 * 1024))]);
        person.clone().send(large).await.is(413);
        before.equals(&app.dump(), &path);
    }
}

const CORPUS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' autofocus onfocus='alert(1)",
    "</title></textarea><svg/onload=alert(1)>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "&lt;b&gt; {{7*7}} ${7*7}",
];

/// Fails the test if the page holds anything that could run, other than our own script.
#[track_caller]
fn is_inert(html: &str, what: &str) {
    let parsed = Html::parse_document(html);
    for element in parsed.select(&Selector::parse("*").unwrap()) {
        let (name, ours) = (element.value().name(), element.attr("src").unwrap_or_default());
        let runs = matches!(name, "img" | "iframe" | "object" | "embed" | "base")
            || name == "script" && !ours.starts_with("/static/app.js?");
        assert!(!runs, "{what}: {}", element.html());
        for (attribute, value) in element.value().attrs() {
            let bad = attribute.starts_with("on") || value.trim().starts_with("javascript:");
            assert!(!bad && attribute != "srcdoc", "{what}: {}", element.html());
        }
    }
}

#[actix_web::test]
async fn what_people_type_stays_text_on_every_page_and_in_every_mail() {
    let app = TestApp::start().await;
    app.sql("UPDATE members SET name = '<script>alert(2)</script>' || name");
    let mut maker = app.sign_in("maker").await;
    let mut checker = app.sign_in("checker").await;
    for text in CORPUS {
        let fields = [("permissions", "read_balance"), ("system", text), ("justification", text)];
        let approved = maker.ask_with(text, &fields).await;
        let rejected = maker.ask_with(text, &fields).await;
        checker.get(&approved).await.is(200).says(text);
        checker
            .submit(&format!("{approved}/approve"), &[("version", "1"), ("comment", text)])
            .await
            .is(303);
        checker.reject(&rejected, text).await.is(303);
        let key = app.key_of(&approved).await;
        let revealed = maker.submit(&format!("{key}/reveal"), &[]).await.is(200);
        is_inert(&revealed.body, text);
        let mistake = [("reason", text), ("confirm_label", "something else")];
        is_inert(&maker.submit(&format!("{key}/revoke"), &mistake).await.is(422).body, text);
        for path in [&approved, &rejected, &key] {
            let page = checker.get(path).await.is(200).says(text);
            is_inert(&page.body, text);
        }
        maker
            .submit(&format!("{key}/revoke"), &[("reason", text), ("confirm_label", text)])
            .await
            .is(303);
        let fields = FORM_FIELDS.map(|name| (name, text));
        is_inert(&maker.submit("/settings/api-keys", &fields).await.is(422).body, text);
        is_inert(&app.visitor().sign_in(text, text).await.is(422).body, text);
        maker.ask_with(text, &[("permissions", "read_balance")]).await;
    }
    for path in [
        "/",
        "/requests",
        "/requests?state=closed",
        "/requests?kind=%22%3E%3Cimg+src=x%3E",
        "/settings/api-keys/pending",
        "/settings/api-keys/revoked",
        "/settings/api-keys/rejected",
        "/login?next=/%22%3E%3Cimg+src=x%3E",
        "/%3Cimg+src=x%3E",
    ] {
        is_inert(&checker.get(path).await.body, path);
    }
    let mails = app.work().await;
    assert!(mails.len() > 6 * 5, "{}", mails.len());
    for mail in mails {
        is_inert(&mail.html, &mail.subject);
        assert!(!mail.subject.contains(['\r', '\n']));
    }
}

const FORM_FIELDS: [&str; 10] = [
    "api",
    "label",
    "contact_email",
    "system",
    "environment",
    "max_transaction_amount",
    "max_daily_volume",
    "allowed_ips",
    "expires_in_days",
    "justification",
];
