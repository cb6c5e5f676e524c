//! Keys at the door of the API: what opens it, from where, and for what.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use chrono::TimeDelta;
use countersign::config::Config;
use countersign::domain::secret::PlainSecret;

use super::{READS, REFUSED, approved, revoke};
use crate::support::{DEMO_ID, Page, TestApp};

fn balance_of(organisation: &str) -> String {
    format!("/api/v1/distributors/{organisation}/balance")
}

/// A call from an address, with these headers.
async fn call(app: &TestApp, peer: &str, path: &str, headers: &[(&str, &str)]) -> Page {
    let request = TestRequest::with_uri(path).peer_addr(peer.parse().unwrap());
    let request = headers.iter().fold(request, |request, header| request.append_header(*header));
    app.answer(request.to_request()).await
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// The codes of a refusal, which leave nothing open.
fn code(page: &Page) -> String {
    page.json()["code"].as_str().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn every_way_of_having_no_good_key_is_refused_with_the_same_bytes() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let (gone, revoked) = app.live_key("Gone", READS).await;
    revoke(&mut maker, &gone, "Gone").await.is(303);
    let one_day = [("permissions", "read_balance"), ("expires_in_days", "1")];
    let (_, expired) = app.live_key("Short", &one_day).await;
    let unrevealed = approved(&app, &mut maker, "Shown twice").await;
    let replaced = maker.reveal(&unrevealed).await;
    let live = maker.reveal(&unrevealed).await;
    app.clock.advance(TimeDelta::days(1) - TimeDelta::microseconds(1));
    app.api(&expired).balance().await.is(200);
    app.clock.advance(TimeDelta::microseconds(1));
    let unknown = PlainSecret::mint("uwk").unwrap();
    let typo = live.replace(&live[10..11], if &live[10..11] == "a" { "b" } else { "a" });
    let longer = format!("{live}0");
    let bad = [
        &revoked,
        &expired,
        &replaced,
        unknown.expose(),
        &typo,
        &longer,
        "uwk_",
        "",
        "x y",
        &live[4..],
    ];
    let mut headers: Vec<_> = bad.iter().map(|secret| bearer(secret)).collect();
    headers.extend([format!("Basic {live}"), live.clone(), format!("Bearer{live}")]);
    for path in [balance_of(DEMO_ID), balance_of("nonsense"), "/api/v1/keys/self".to_owned()] {
        let missing = call(&app, "203.0.113.10:1", &path, &[]).await.is(401);
        assert_eq!(
            (missing.body.as_str(), missing.header("www-authenticate")),
            (REFUSED, "Bearer")
        );
        for value in &headers {
            let page =
                call(&app, "203.0.113.10:1", &path, &[("authorization", value)]).await.is(401);
            assert_eq!(page.body, REFUSED, "{value}");
            let same = |page: &Page| {
                let others = page.headers.iter().filter(|(name, _)| *name != "x-request-id");
                others.map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>()
            };
            assert_eq!(same(&page), same(&missing), "{value}");
        }
    }
    app.api(&live).balance().await.is(200);
}

#[actix_web::test]
async fn only_the_header_carries_a_key_and_only_one() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Carried", READS).await;
    let (_, other) = app.live_key("Another", READS).await;
    let (path, peer) = (balance_of(DEMO_ID), "203.0.113.10:1");
    for query in ["api_key", "key", "token", "access_token", "authorization"] {
        call(&app, peer, &format!("{path}?{query}={secret}"), &[]).await.is(401);
    }
    let cookie = format!("api-key={secret}; Authorization=Bearer {secret}; countersign={secret}");
    call(&app, peer, &path, &[("cookie", &cookie)]).await.is(401);
    call(&app, peer, &path, &[("x-api-key", &secret), ("api-key", &secret)]).await.is(401);
    let body = TestRequest::with_uri(&path).set_payload(format!("access_token={secret}"));
    app.answer(body.to_request()).await.is(401);
    let (one, two) = (bearer(&secret), bearer(&other));
    for (first, second, status) in [(&one, &two, 400), (&two, &one, 400), (&one, &one, 200)] {
        let headers = [("authorization", first.as_str()), ("authorization", second)];
        let page = call(&app, peer, &path, &headers).await.is(status);
        assert_eq!(status == 400, page.json()["code"] == "invalid_request");
    }
    let unlike = [("authorization", one.as_str()), ("authorization", "Bearer rubbish")];
    call(&app, peer, &path, &unlike).await.is(400);
    call(&app, peer, &path, &[("authorization", &format!("bearer   {secret}"))]).await.is(200);
}

#[actix_web::test]
async fn a_key_with_a_list_of_addresses_opens_nothing_from_elsewhere() {
    let mut config = Config::for_tests();
    config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let app = TestApp::with(config).await;
    let ips = [("permissions", "read_balance"), ("allowed_ips", "203.0.113.0/24, 2001:db8::/32")];
    let (_, secret) = app.live_key("Listed", &ips).await;
    let (path, key) = (balance_of(DEMO_ID), bearer(&secret));
    let rows = [
        ("203.0.113.10:1", "", 200),
        ("[::ffff:203.0.113.10]:1", "", 200),
        ("[2001:db8::7]:1", "", 200),
        ("198.51.100.1:1", "", 403),
        ("[::ffff:198.51.100.1]:1", "", 403),
        ("[2001:db9::7]:1", "", 403),
        // Nobody has said that this peer may speak for others.
        ("198.51.100.1:1", "203.0.113.10", 403),
        ("203.0.113.10:1", "198.51.100.1", 200),
        ("10.0.0.1:1", "203.0.113.10", 200),
        ("[::ffff:10.0.0.1]:1", "203.0.113.10", 200),
        ("10.0.0.1:1", "203.0.113.10, 198.51.100.1", 403),
        ("10.0.0.1:1", "203.0.113.10, nonsense", 403),
        ("10.0.0.1:1", "", 403),
    ];
    for (peer, forwarded, status) in rows {
        let mut headers = vec![("authorization", key.as_str())];
        headers.extend((!forwarded.is_empty()).then_some(("x-forwarded-for", forwarded)));
        headers.extend([("x-real-ip", "203.0.113.10"), ("forwarded", "for=203.0.113.10")]);
        let page = call(&app, peer, &path, &headers).await;
        assert_eq!(page.status.as_u16(), status, "{peer} {forwarded:?}");
        assert_eq!(status == 403, code(&page) == "ip_not_allowed", "{}", page.body);
    }
}

#[actix_web::test]
async fn the_checks_answer_in_their_order() {
    let app = TestApp::start().await;
    let listed = [("permissions", "read_transactions"), ("allowed_ips", "203.0.113.10")];
    let (_, narrow) = app.live_key("Narrow", &listed).await;
    let (_, reader) = app.live_key("Reader", READS).await;
    let elsewhere = balance_of(&app.other.to_string());
    let rows = [
        (&narrow, "198.51.100.1:1", "ip_not_allowed"),
        (&narrow, "203.0.113.10:1", "insufficient_permission"),
        (&reader, "203.0.113.10:1", "distributor_mismatch"),
    ];
    for (secret, peer, expected) in rows {
        let headers = [("authorization", bearer(secret))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let page = call(&app, peer, &elsewhere, &headers).await.is(403);
        assert_eq!(code(&page), expected);
        assert_eq!(page.json()["error"], "Forbidden");
        assert!(page.json()["message"].is_string());
    }
    app.api(&narrow).get("/api/v1/keys/self").await.is(200);
}

#[actix_web::test]
async fn unknown_paths_and_methods_of_the_api_answer_in_json() {
    let app = TestApp::start().await;
    for path in ["/api", "/api/", "/api/v1/nothing", "/api/v1/keys/self/", "/api/v2/keys/self"] {
        assert_eq!(code(&call(&app, "203.0.113.10:1", path, &[]).await.is(404)), "not_found");
    }
    for path in [balance_of(DEMO_ID), "/api/v1/keys/self".to_owned()] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let page = app.answer(TestRequest::with_uri(&path).method(method).to_request()).await;
            assert_eq!((page.status.as_u16(), page.header("allow")), (405, "GET, HEAD"));
            assert_eq!(code(&page), "method_not_allowed");
        }
    }
}

#[actix_web::test]
async fn the_last_use_shows_once_the_worker_wrote_it_down() {
    let app = TestApp::start().await;
    let (key, secret) = app.live_key("Counted", READS).await;
    let mut maker = app.sign_in("maker").await;
    maker.get(&key).await.says("0 allowed, 0 denied");
    app.api(&secret).balance().await.is(200);
    app.api(&secret).balance().await.is(200);
    app.api(&secret).get(&balance_of(&app.other.to_string())).await.is(403);
    app.work().await;
    maker.get(&key).await.says("2 allowed, 1 denied");
    let last = maker.get("/settings/api-keys/active").await.all("td[data-label='Last used']");
    assert!(!last[0].contains("never"), "{last:?}");
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE last_used_at IS NOT NULL"), 1);
    app.work().await;
    maker.get(&key).await.says("2 allowed, 1 denied");
}
