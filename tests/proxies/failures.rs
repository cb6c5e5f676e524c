//! What gets through when something is wrong: nothing.

use std::time::{Duration, Instant};

use crate::stage::{CLIENT, Stage, header, seen, send_raw};

const WRITER: &[(&str, &str)] = &[
    ("api", "peikly"),
    ("permissions", "read_contacts"),
    ("permissions", "send_contacts"),
    ("system", "Shop"),
];

#[test]
fn without_the_server_nothing_gets_through() {
    let stage = Stage::with("api=peikly");
    let bearer = format!("Bearer {}", stage.key(WRITER).secret);
    for proxy in stage.proxies() {
        proxy.get("/api/contacts", ("Authorization", &bearer)).is(200);
    }
    let Stage { server, nginx, caddy, upstream, .. } = stage;
    let before = upstream.calls();
    server.kill();
    for (proxy, status) in [(&nginx, 500), (&caddy, 502)] {
        proxy.get("/api/contacts", ("Authorization", &bearer)).is(status);
    }
    assert_eq!(upstream.calls(), before);
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let stage = Stage::with("api=peikly");
    for proxy in stage.proxies() {
        let mut key = stage.key(WRITER);
        let bearer = format!("Bearer {}", key.secret);
        proxy.get("/api/contacts", ("Authorization", &bearer)).is(200);
        key.revoke();
        let answer = proxy.get("/api/contacts", ("Authorization", &bearer)).is(401);
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer", "{}", proxy.name);
        let body = r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#;
        assert_eq!(answer.body, body, "{}", proxy.name);
    }
}

#[test]
fn a_large_body_is_passed_on_and_never_waited_for() {
    let stage = Stage::with("api=peikly");
    let bearer = format!("Bearer {}", stage.key(WRITER).secret);
    let body = "x".repeat(8 << 20);
    for proxy in stage.proxies() {
        let began = Instant::now();
        let with = [("Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
        let passed = seen(proxy.call(("POST", "/api/contacts"), &with, &body));
        assert_eq!(passed["bodyLength"], body.len());
        assert_eq!(passed["method"], "POST");
        let chunked = format!(
            "PUT /api/contacts/1 HTTP/1.1\r\nHost: {}\r\nAuthorization: {bearer}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            proxy.program.address
        );
        let passed = seen(send_raw(CLIENT, proxy.program.address, chunked.as_bytes()).unwrap());
        assert_eq!(passed["bodyLength"], 5);
        assert!(began.elapsed() < Duration::from_secs(10), "{} waits", proxy.name);
    }
}

#[test]
fn strange_credentials_are_no_key() {
    let stage = Stage::with("api=peikly");
    let secret = stage.key(WRITER).secret;
    let other = stage.key(WRITER).secret;
    let long = format!("Bearer {}", "x".repeat(6000));
    let spelled = format!("Basic {secret}");
    let (query, cookie) = (format!("/api/contacts?api_key={secret}"), format!("key={secret}"));
    for proxy in stage.proxies() {
        let bare = secret.as_str();
        for value in ["", "Bearer", "Bearer \u{fe}\u{ff}", "Bearer null", bare, &long, &spelled] {
            proxy.get("/api/contacts", ("Authorization", value)).is(401);
        }
        for name in ["X-API-KEY", "X-REQUEST-TOKEN", "X-INS-AUTH-KEY", "Proxy-Authorization"] {
            proxy.get("/api/contacts", (name, bare)).is(401);
        }
        proxy.get(&query, ("Cookie", &cookie)).is(401);
        let both = [("Authorization", format!("Bearer {secret}")), ("X-API-KEY", other.clone())];
        let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
        proxy.call(("GET", "/api/contacts"), &both, "").is(400);
        let lower = format!("bearer {secret}");
        let passed = seen(proxy.get("/api/contacts", ("authorization", &lower)));
        assert_eq!(header(&passed, "x-key-api")[0], "peikly");
    }
}
