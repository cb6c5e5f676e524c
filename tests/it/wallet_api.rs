//! The wallet API from outside: which key may call what, in which order it is checked, and how a
//! refusal looks.

mod bodies;
mod cashouts;
mod door;
mod shapes;

use std::collections::BTreeSet;

use actix_web::http::Method;
use serde_json::json;

use crate::access::routes;
use crate::support::api::{OPERATES, cash_in, path, with_rate_limit};
use crate::support::{DEMO_ID, TestApp};

/// What a route below `/api` asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Nothing, not even a key.
    Nobody,
    /// Nothing but to be a key.
    AnyKey,
    /// A permission of the wallet API.
    Wallet(&'static str),
    /// A permission of the API of Countersign itself.
    Countersign(&'static str),
}

use Asks::{AnyKey, Countersign, Nobody, Wallet};

/// Every route below `/api`; the one that ends the key last.
const ROUTES: &[(&str, &str, Asks)] = &[
    ("GET", "/api/v1/distributors/{id}/balance", Wallet("read_balance")),
    ("HEAD", "/api/v1/distributors/{id}/balance", Wallet("read_balance")),
    ("GET", "/api/v1/distributors/{id}/operations", Wallet("read_transactions")),
    ("HEAD", "/api/v1/distributors/{id}/operations", Wallet("read_transactions")),
    ("POST", "/api/v1/distributors/{id}/operations", Wallet("perform_operations")),
    ("GET", "/api/v1/distributors/{id}/cashouts", Wallet("read_transactions")),
    ("HEAD", "/api/v1/distributors/{id}/cashouts", Wallet("read_transactions")),
    ("PUT", "/api/v1/distributors/{id}/cashouts/{operation}", Wallet("perform_operations")),
    ("POST", "/api/v1/verify", Countersign("verify")),
    ("GET", "/api/v1/openapi.json", Nobody),
    ("GET", "/api/v1/keys/self", AnyKey),
    ("HEAD", "/api/v1/keys/self", AnyKey),
    ("POST", "/api/v1/keys/self/revoke", AnyKey),
];

const PERMISSIONS: [&str; 3] = ["read_balance", "read_transactions", "perform_operations"];

#[actix_web::test]
async fn every_route_below_api_has_a_declared_permission() {
    let app = TestApp::start().await;
    let found = routes(&app).await.into_iter().filter(|(_, path)| path.starts_with("/api/"));
    // HEAD goes with GET.
    let declared = ROUTES.iter().filter(|(method, ..)| *method != "HEAD");
    let declared = declared.map(|(method, path, _)| ((*method).into(), (*path).into()));
    assert_eq!(found.collect::<BTreeSet<_>>(), declared.collect());
}

// Row 12, row 13, row 14, row 71
#[actix_web::test]
async fn each_permission_grants_its_own_routes_and_no_other() {
    let app = TestApp::with_wallets().await;
    let cashout = app.ask_cashout(&app.demo, "1.00").await;
    let sets = (1..8_usize)
        .map(|set| PERMISSIONS.into_iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1));
    let mut keys = vec![(vec!["verify"], "countersign")];
    keys.extend(sets.map(|set| (set.map(|(_, permission)| permission).collect(), "wallet")));
    for (i, (permissions, api)) in keys.iter().enumerate() {
        let mut fields: Vec<_> = permissions.iter().map(|slug| ("permissions", *slug)).collect();
        fields.push(("api", api));
        let (_, secret) = app.live_key(&format!("Set {i}"), &fields).await;
        let client = app.api(&secret);
        for (method, url, asks) in ROUTES {
            let url = url.replace("{id}", DEMO_ID).replace("{operation}", &format!("op_{cashout}"));
            let body = match *method {
                "PUT" => json!({ "cashOutFulfillmentType": "cash" }),
                _ if url.ends_with("verify") => json!({ "key": "x", "permission": "y" }),
                _ => cash_in("1.00"),
            };
            let method: Method = method.parse().unwrap();
            let page = client.send(client.json(method.clone(), &url, body.to_string())).await;
            let allowed = match asks {
                AnyKey | Nobody => true,
                Wallet(slug) => *api == "wallet" && permissions.contains(slug),
                Countersign(slug) => *api == "countersign" && permissions.contains(slug),
            };
            let what = format!("{method} {url} with {permissions:?}: {}", page.body);
            if allowed {
                // The one payout can be reported once.
                assert!(page.status == 200 || page.code() == "already_processed", "{what}");
            } else {
                assert_eq!(page.status, 403, "{what}");
                page.refused(403, "insufficient_permission");
            }
        }
        client.balance().await.refused(401, "");
    }
}

// Row 15, row 16
#[actix_web::test]
async fn the_form_asks_for_a_permission_and_warns_of_the_one_that_moves_money() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let form = maker.get("/settings/api-keys/new").await.is(200);
    form.says("Allow this only for integrations you trust");
    let fields = [("label", "None"), ("environment", "production"), ("expires_in_days", "30")];
    let page = maker.submit("/settings/api-keys", &fields).await.is(422);
    assert!(page.body.contains("permission"), "{}", page.text());
    assert_eq!(app.number("SELECT count(*) FROM requests"), 0);
}

// Row 70, row 71, row 72, row 73, row 80: each call breaks one check and every later one.
#[actix_web::test]
async fn checks_are_made_in_their_order_and_the_first_that_fails_answers() {
    let (config, _dir) = with_rate_limit(1, 3_600);
    let app = TestApp::with(config).await;
    app.open_wallets().await;
    let ips = ("allowed_ips", "203.0.113.0/24");
    let (_, reads) = app.live_key("Reads", &[("permissions", "read_balance"), ips]).await;
    let limits = [("max_transaction_amount", "100.00"), ("max_daily_volume", "150.00")];
    let (_, moves) = app.live_key("Moves", &[OPERATES, ips, limits[0], limits[1]]).await;
    let unknown = countersign::domain::secret::PlainSecret::mint("uwk").unwrap();
    let (far, near) = ("198.51.100.1:1", "203.0.113.10:1");
    let stranger = path("operations").replace(DEMO_ID, &app.other.to_string());
    let own = path("operations");
    let huge = cash_in("99999999999.00").to_string();
    let broken = r#"{"operationType":"cash-in","amount":"99999999999.001","surprise":1}"#;
    let bad_amount = cash_in("99999999999.001").to_string();
    let (reads, moves) = (reads.as_str(), moves.as_str());
    let rows = [
        (unknown.expose(), far, &stranger, broken, 401, ""),
        (reads, far, &stranger, broken, 403, "ip_not_allowed"),
        (reads, near, &stranger, broken, 403, "insufficient_permission"),
        (moves, far, &stranger, broken, 403, "ip_not_allowed"),
        (moves, near, &stranger, broken, 403, "distributor_mismatch"),
        (moves, near, &own, broken, 400, "invalid_request"),
        (moves, near, &own, bad_amount.as_str(), 400, "invalid_amount"),
        (moves, near, &own, huge.as_str(), 403, "transaction_limit_exceeded"),
    ];
    // The second time the one call of the rate limit has been made: that is checked last.
    for last in [(200, ""), (429, "rate_limited")] {
        for (secret, peer, url, body, status, code) in rows {
            let client = app.api(secret).at(peer);
            let page = client.send(client.json(Method::POST, url, body.to_owned())).await;
            page.refused(status, code);
        }
        let page = app.api(moves).cash_in("100.00").await;
        assert_eq!((page.status.as_u16(), page.code().as_str()), last);
    }
    assert_eq!((app.operations(), app.used()), (1, 10_000));
}

// Row 81: of the counters, the volume answers before the balance.
#[actix_web::test]
async fn a_volume_that_is_used_up_is_told_before_a_balance_that_is_too_small() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Daily", &[OPERATES, ("max_daily_volume", "60000.00")]).await;
    let client = app.api(&secret);
    client.cash_in("60000.01").await.refused(403, "daily_volume_exceeded");
    client.cash_in("50000.01").await.refused(403, "insufficient_balance");
    client.cash_in("50000.00").await.operation();
    assert_eq!(app.used(), 5_000_000);
}

// Row 73
#[actix_web::test]
async fn unknown_paths_are_404_and_wrong_methods_405_both_in_json() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Lost", &[("permissions", "read_balance")]).await;
    let client = app.api(&secret);
    let unknown = [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v2/keys/self",
        "/api/v1/distributors",
        "/api/v1/keys/",
        "/api/v1/keys/self/",
        "/api/v1//keys/self",
        "/api/v1/distributors//balance",
        "/api/v1/keys/%73elf/x",
        "/API/v1/keys/self",
    ];
    for url in unknown {
        let page = client.get(url).await;
        if url.starts_with("/api") {
            page.refused(404, "not_found");
        } else {
            page.is(404);
        }
    }
    let rows = [
        ("balance", "GET, HEAD", &["POST", "PUT", "DELETE", "PATCH", "OPTIONS"][..]),
        ("operations", "GET, HEAD, POST", &["PUT", "DELETE", "PATCH", "OPTIONS"]),
        ("cashouts", "GET, HEAD", &["POST", "PUT", "DELETE"]),
        ("cashouts/op_1", "PUT", &["GET", "HEAD", "POST", "DELETE"]),
    ];
    for (url, allowed, methods) in rows {
        for method in methods {
            let page = client.send(client.request(method.parse().unwrap(), &path(url))).await;
            assert_eq!(page.header("allow"), allowed, "{method} {url}");
            page.refused(405, "method_not_allowed");
        }
    }
}

// Row 94: a key needs no session, and a session is no key.
#[actix_web::test]
async fn no_login_call_is_needed_and_a_session_opens_nothing() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("No login", &[("permissions", "read_balance")]).await;
    app.api(&secret).balance().await.is(200);
    let mut maker = app.sign_in("maker").await;
    let request = maker.request(Method::GET, &path("balance"));
    maker.send(request).await.refused(401, "");
    maker.send(maker.request(Method::POST, "/api/v1/login")).await.refused(404, "not_found");
}
