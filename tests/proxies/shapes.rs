//! Proxies that Debian does not package: what Traefik and Envoy send to the check, byte for byte as
//! their documentation and sources have it, answered by the real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::stage::{CLIENT, Key, PROXY, Stage, send_raw};
use crate::support::http::Answer;

/// Asks the check itself, from the address of the proxy.
fn ask(stage: &Stage, request: &str) -> Answer {
    let request = request.replace('\n', "\r\n");
    send_raw(PROXY, stage.server.address, request.as_bytes()).unwrap()
}

/// What Traefik 3 sends for `{method} https://shop.example.com{uri}`: a `GET` without a body, the
/// client's own headers, and the facts.
fn traefik(key: &Key, method: &str, uri: &str) -> String {
    format!(
        "GET /auth/forward?api=peikly HTTP/1.1
Host: 127.0.0.1:8080
User-Agent: shop/1.0
Accept: */*
Accept-Encoding: gzip
Authorization: Bearer {}
X-Forwarded-For: 203.0.113.9
X-Forwarded-Host: shop.example.com
X-Forwarded-Method: {method}
X-Forwarded-Port: 443
X-Forwarded-Proto: https
X-Forwarded-Server: edge-1
X-Forwarded-Uri: {uri}
X-Real-Ip: 203.0.113.9
Connection: close

",
        key.secret
    )
}

/// What Envoy sends for the same: method, path and host of the call, the key, the allowed headers.
fn envoy(key: &Key, method: &str, uri: &str) -> String {
    format!(
        "{method} /auth/envoy-for/peikly{uri} HTTP/1.1
host: shop.example.com
content-length: 0
authorization: Bearer {}
x-forwarded-for: 203.0.113.9
x-envoy-internal: true
x-envoy-expected-rq-timeout-ms: 1000
connection: close

",
        key.secret
    )
}

const FIELDS: &[(&str, &str)] = &[
    ("api", "peikly"),
    ("label", "Ada's Café + 1"),
    ("permissions", "read_contacts"),
    ("permissions", "send_events"),
    ("system", "Shop"),
    ("expires_in_days", "30"),
    ("allowed_ips", "203.0.113.0/24"),
];

#[test]
fn traefik_and_envoy_are_told_who_calls_and_what_to_refuse() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(FIELDS);
    for shape in [traefik, envoy] {
        let yes = ask(&stage, &shape(&key, "GET", "/api/contacts?page=1")).is(200);
        assert_eq!((yes.body.as_str(), yes.header("Content-Length")), ("", "0"));
        assert_eq!(yes.header("Cache-Control"), "no-store");
        let told = ["Id", "Label", "Api", "Permissions", "Restrictions"];
        let told = told.map(|name| yes.only_header(&format!("X-Key-{name}")));
        let label = "Ada%27s%20Caf%C3%A9%20%2B%201";
        let known = [&key.id, label, "peikly", "read_contacts send_events", ""];
        assert_eq!(told, known.map(Some));
        let organisation = yes.only_header("X-Key-Organisation");
        assert_eq!(organisation, Some("36e48800-22ce-4ea0-b37a-198f7978cd53"));
        let expires = yes.only_header("X-Key-Expires").unwrap();
        assert!(expires.len() == 20 && expires.ends_with('Z'), "{expires}");
        assert_eq!(yes.only_header("Set-Cookie"), None);

        ask(&stage, &shape(&key, "HEAD", "/api/contacts")).is(200);
        ask(&stage, &shape(&key, "POST", "/api/events")).is(200);
        for (method, uri) in [
            ("POST", "/api/contacts"),
            ("get", "/api/contacts"),
            ("DELETE", "/api/contacts"),
            ("GET", "/api/triggers"),
            ("GET", "/api/contacts/../triggers"),
            ("GET", "/"),
            ("OPTIONS", "/api/contacts"),
        ] {
            let no = ask(&stage, &shape(&key, method, uri)).is(403);
            assert_eq!(no.only_header("X-Key-Id"), None, "{method} {uri}");
        }
        let request = shape(&key, "GET", "/api/contacts");
        let no = ask(&stage, &request.replace(&key.secret, "nothing")).is(401);
        assert_eq!(no.header("WWW-Authenticate"), "Bearer");
        ask(&stage, &request.replace("203.0.113.9", "198.51.100.1")).is(403);
        ask(&stage, &request.replace("203.0.113.9", "203.0.113.9, 198.51.100.1")).is(403);
        ask(&stage, &request.replace("203.0.113.9", "198.51.100.1, 203.0.113.9")).is(200);
        ask(&stage, &request.replace("peikly", "omniwallet")).is(403);
    }
}

#[test]
fn behind_a_prefix_the_query_is_the_clients_own() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(FIELDS);
    for uri in [
        "/api/triggers?permission=read_contacts",
        "/api/triggers?api=peikly&permission=send_events",
        "/api/contacts/../../../envoy-for/wallet/api/contacts",
    ] {
        ask(&stage, &envoy(&key, "GET", uri)).is(403);
        ask(&stage, &envoy(&key, "GET", uri).replace("/auth/envoy-for/peikly", "/auth/envoy"))
            .is(403);
    }
    let plain =
        envoy(&key, "GET", "/api/contacts").replace("/auth/envoy-for/peikly", "/auth/envoy");
    ask(&stage, &plain).is(200);
    let spelled = plain.replace("/auth/envoy", "/auth/%65nvoy");
    ask(&stage, &spelled).is(400);
}

#[test]
fn nobody_else_may_ask_and_nobody_learns_anything() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(FIELDS);
    let good = traefik(&key, "GET", "/api/contacts").replace('\n', "\r\n");
    let bad = good.replace(&key.secret, "nothing");
    let ask = |text: &str| send_raw(CLIENT, stage.server.address, text.as_bytes()).unwrap().is(403);
    assert_eq!(ask(&good).body, ask(&bad).body);
    assert_eq!(ask(&good.replace("GET", "POST")).only_header("X-Key-Id"), None);
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(FIELDS);
    // What nginx sends if its file is copied without `proxy_pass_request_body off`.
    let nginx = format!(
        "GET /auth/nginx?api=peikly HTTP/1.0
X-Original-Method: POST
X-Original-URL: http://shop.example.com/api/events
X-Forwarded-For: 203.0.113.9
Host: 127.0.0.1:8080
Connection: close
Content-Length: 1000000
Authorization: Bearer {}

",
        key.secret
    );
    let status = |request: String| {
        let mut socket = TcpStream::connect(stage.server.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).expect("an answer at once");
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    assert_eq!(status(nginx.clone()), "200");
    assert_eq!(status(nginx.replace("/api/events", "/api/triggers")), "403");
    let chunked = envoy(&key, "POST", "/api/events");
    let chunked = chunked.replace("content-length: 0", "transfer-encoding: chunked");
    assert_eq!(status(chunked), "200");
}
