//! What a client may send through the real proxies without changing who it is or what it asks.

use serde_json::Value;

use crate::stage::{CLIENT, Key, Proxy, Stage, header, seen, send, send_raw};
use crate::support::http::Answer;

/// A key that reads contacts and nothing else.
const READER: &[(&str, &str)] =
    &[("api", "peikly"), ("permissions", "read_contacts"), ("system", "Shop")];

fn bearer(key: &Key) -> String {
    format!("Bearer {}", key.secret)
}

/// The identity the service was told, as one text.
fn identity(seen: &Value) -> String {
    let names = ["id", "label", "organisation", "api", "permissions", "restrictions", "expires"];
    names.map(|name| format!("{name}={}\n", header(seen, &format!("x-key-{name}")))).concat()
}

#[test]
fn no_header_of_the_client_changes_its_identity_or_what_it_asks_for() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(READER);
    let bearer = bearer(&key);
    let false_facts = [
        ("X-Key-Id", "another"),
        ("X-Key-Label", "Boss"),
        ("X-Key-Organisation", "another"),
        ("X-Key-Api", "wallet"),
        ("X-Key-Permissions", "everything"),
        ("X-Key-Restrictions", "attributes=none"),
        ("X-Key-Expires", "2999-01-01T00:00:00Z"),
        ("X-Key-Status", "200"),
        ("X-Original-Method", "GET"),
        ("X-Original-URL", "http://api.example.com/api/contacts"),
        ("X-Original-URI", "/api/contacts"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/api/contacts"),
        ("X-Forwarded-Host", "api.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/api/contacts"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Rewrite-URL", "/api/contacts"),
        ("Forwarded", "for=10.0.0.1;proto=https;host=api.example.com"),
    ];
    for proxy in stage.proxies() {
        let honest = seen(proxy.get("/api/contacts", ("Authorization", &bearer)));
        let known = identity(&honest);
        assert_eq!(header(&honest, "x-key-id")[0], key.id.as_str(), "{}", proxy.name);
        assert_eq!(header(&honest, "authorization"), &Value::Null, "the key went further");
        for fact in false_facts {
            let with = [("Authorization", bearer.as_str()), fact];
            let allowed = seen(proxy.call(("GET", "/api/contacts"), &with, ""));
            assert_eq!(identity(&allowed), known, "{} with {fact:?}", proxy.name);
            proxy.call(("GET", "/api/triggers"), &with, "").is(403);
            proxy.call(("POST", "/api/contacts"), &with, "{}").is(403);
            proxy.call(("GET", "/api/contacts"), &[fact], "").is(401);
        }
    }
}

#[test]
fn names_with_underscores_reach_neither_the_check_nor_the_service() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(READER);
    let bearer = bearer(&key);
    for proxy in stage.proxies() {
        for name in ["X_Key_Id", "X-Key_Id", "X_Forwarded_Uri", "X_Original_URL", "X_Forwarded_For"]
        {
            let with = [("Authorization", bearer.as_str()), (name, "/api/contacts")];
            let allowed = seen(proxy.call(("GET", "/api/contacts"), &with, ""));
            assert_eq!(header(&allowed, "x-key-id").as_array().unwrap().len(), 1);
            assert_eq!(header(&allowed, &name.to_lowercase()), &Value::Null, "{}", proxy.name);
            proxy.call(("GET", "/api/triggers"), &with, "").is(403);
        }
    }
}

#[test]
fn addresses_are_told_by_the_proxy_alone() {
    let stage = Stage::with("api=peikly");
    let listed = [READER, &[("allowed_ips", "127.0.0.9")]].concat();
    let bearer = bearer(&stage.key(&listed));
    let key = ("Authorization", bearer.as_str());
    let elsewhere = "127.0.0.8".parse().unwrap();
    for proxy in stage.proxies() {
        proxy.get("/api/contacts", key).is(200);
        for claim in ["127.0.0.9", "127.0.0.9, 127.0.0.9", "127.0.0.9, 127.0.0.1", "127.0.0.1"] {
            for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"] {
                let with = [key, (name, claim)];
                let what = ("GET", "/api/contacts");
                send(elsewhere, proxy.program.address, what, &with, "").is(403);
                proxy.call(what, &with, "").is(200);
            }
        }
        // Not even by asking the proxy to take its own headers for its neighbour's.
        for name in ["X-Forwarded-For", "X-Forwarded-Uri, X-Original-URL"] {
            let with = [key, ("Connection", name)];
            let answer =
                send(elsewhere, proxy.program.address, ("GET", "/api/contacts"), &with, "");
            assert!(answer.status >= 400, "{} with Connection: {name}", proxy.name);
        }
    }
}

/// Paths that one server reads as the contacts and another one as the triggers, or as nothing.
const DOUBTFUL: &[&str] = &[
    "/api/contacts/../triggers",
    "/api/contacts/..%2ftriggers",
    "/api/contacts/%2e%2e/triggers",
    "/api/contacts/.%2e/triggers",
    "/api/contacts/%252e%252e/triggers",
    "/api/contacts/..;/triggers",
    "/api/contacts/..\\triggers",
    "/api/contacts/..%5ctriggers",
    "/api/contacts/x/../../triggers",
    "/api/./contacts",
    "/./api/contacts",
    "/api//contacts",
    "//api/contacts",
    "/api/contacts//",
    "/api/contacts;x",
    "/api/contacts/1;/../../triggers",
    "/api/contacts%2f1",
    "/api/contacts%00",
    "/api/contacts/%00",
    "/api/contacts/%0d%0ax:y",
    "/api/%63ontacts",
    "/api/contacts#/../triggers",
    "/api/contacts/1#",
    "/API/contacts",
    "/api/contacts/",
    "/api/contacts/1/",
    "/api/triggers?/api/contacts",
    "/api/triggers?x=/api/contacts&permission=read_contacts&api=peikly",
    "/api/triggers?permission=read_contacts",
    "?/api/contacts",
    "*",
    "http://api.example.com/api/triggers",
    "http://api.example.com?/api/contacts",
    "/auth/nginx?permission=read_contacts",
    "/_countersign",
];

#[test]
fn a_path_that_can_be_read_in_two_ways_goes_nowhere() {
    let stage = Stage::with("api=peikly");
    let key = stage.key(READER);
    for proxy in stage.proxies() {
        proxy.get("/api/contacts/1?page=2&q=a%2Fb", ("Authorization", &bearer(&key))).is(200);
    }
    let before = stage.upstream.calls();
    let refused = |proxy: &Proxy, path: &str, host: &str| {
        let answer = raw(proxy, &key, path, host);
        // To a host it does not serve Caddy says 200 and nothing else.
        assert!(answer.status >= 400 || answer.body.is_empty(), "{} {path} {host}", proxy.name);
        assert_eq!(stage.upstream.calls(), before, "{} let {path} {host} pass", proxy.name);
    };
    for proxy in stage.proxies() {
        for path in DOUBTFUL {
            refused(proxy, path, OWN);
        }
        for host in ["a?/api/contacts", "a#", "a/api/contacts?", "a@b", "a\\b", "a b"] {
            refused(proxy, "/api/triggers", host);
        }
    }
    // Caddy itself writes these as every server reads them, for the check and for the service alike.
    for (path, target) in [
        ("/api/contacts/\u{e9}", "/api/contacts/%C3%A9"),
        ("http:///api/contacts", "/api/contacts"),
    ] {
        assert!(raw(&stage.nginx, &key, path, OWN).status >= 400, "{path}");
        assert_eq!(seen(raw(&stage.caddy, &key, path, OWN))["target"], target);
    }
}

/// Stands for the host that the proxy serves.
const OWN: &str = "api.example.com";

/// A `GET` of exactly these bytes.
fn raw(proxy: &Proxy, key: &Key, path: &str, host: &str) -> Answer {
    let (own, secret) = (proxy.program.address.to_string(), &key.secret);
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    send_raw(CLIENT, proxy.program.address, text.replace(OWN, &own).as_bytes()).unwrap()
}
