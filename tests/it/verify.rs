//! `POST /api/v1/verify`: what a service is told of a key that it was shown, and what that costs the key.

mod down;

use std::rc::Rc;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use countersign::domain::secret::PlainSecret;
use serde_json::{Value, json};

use crate::races::at_once;
use crate::support::api::{OPERATES, with_rate_limit};
use crate::support::{Api, Page, TestApp};

const PATH: &str = "/api/v1/verify";
const ASKS: [(&str, &str); 2] = [("api", "countersign"), ("permissions", "verify")];
const READS: (&str, &str) = ("permissions", "read_balance");

/// The secret of a service that may ask.
async fn service(app: &TestApp) -> String {
    app.live_key("Service", &ASKS).await.1
}

/// A question about a key, with further fields.
fn question(key: &str, permission: &str, more: &Value) -> Value {
    let mut body = json!({ "key": key, "permission": permission });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn ask(client: &Api<'_>, key: &str, permission: &str, more: Value) -> Page {
    client.post(PATH, &question(key, permission, &more)).await
}

fn request(client: &Api<'_>, body: &Value) -> TestRequest {
    client.json(Method::POST, PATH, body.to_string())
}

/// The stable word of a verdict.
#[track_caller]
fn verdict(page: Page) -> String {
    let body = page.is(200).json();
    let code = body["code"].as_str().unwrap().to_owned();
    assert_eq!(body["valid"], json!(code == "valid"));
    let others =
        if code == "valid" { ["code", "key", "valid"] } else { ["code", "message", "valid"] };
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), others);
    code
}

#[actix_web::test]
async fn a_good_key_is_described_as_it_would_describe_itself() {
    let app = TestApp::start().await;
    let secret = service(&app).await;
    let fields =
        [READS, OPERATES, ("max_daily_volume", "100.00"), ("allowed_ips", "203.0.113.0/24")];
    let (_, key) = app.live_key("Described", &fields).await;
    let page = ask(&app.api(&secret), &key, "read_balance", json!({ "ip": "203.0.113.9" })).await;
    assert!(!page.body.contains(&key[4..40]) && !page.body.contains(&secret[4..40]));
    let about = app.api(&key).about_itself().await.is(200).json();
    assert_eq!(page.json(), json!({ "valid": true, "code": "valid", "key": about }));
    assert_eq!(page.header("cache-control"), "no-store");
}

#[actix_web::test]
async fn each_cause_has_its_code() {
    let app = TestApp::start().await;
    let secret = service(&app).await;
    let client = app.api(&secret);
    let limits = [("max_transaction_amount", "50.00"), ("max_daily_volume", "100.00")];
    let (_, key) = app
        .live_key(
            "Asked",
            &[OPERATES, limits[0], limits[1], ("allowed_ips", "203.0.113.0/24, 2001:db8::/32")],
        )
        .await;
    let near = "203.0.113.9";
    for (permission, more, code) in [
        ("perform_operations", json!({ "ip": near }), "valid"),
        ("perform_operations", json!({ "ip": "::ffff:203.0.113.9" }), "valid"),
        ("perform_operations", json!({ "ip": "2001:db8::1" }), "valid"),
        ("perform_operations", json!({ "ip": "198.51.100.1" }), "ip_not_allowed"),
        // Where nobody says from where, a list of addresses holds nothing.
        ("perform_operations", json!({}), "ip_not_allowed"),
        ("read_balance", json!({ "ip": near }), "insufficient_permission"),
        ("verify", json!({ "ip": near }), "insufficient_permission"),
        ("", json!({ "ip": near }), "insufficient_permission"),
        ("no such", json!({ "ip": near }), "insufficient_permission"),
        ("perform_operations", json!({ "ip": near, "api": "wallet" }), "valid"),
        ("perform_operations", json!({ "ip": near, "api": "optimove" }), "insufficient_permission"),
        (
            "perform_operations",
            json!({ "ip": near, "restrictions": { "channels": ["1"] } }),
            "restriction_denied",
        ),
        (
            "perform_operations",
            json!({ "ip": near, "amount": "50.01" }),
            "transaction_limit_exceeded",
        ),
        ("perform_operations", json!({ "ip": near, "amount": "50.00" }), "valid"),
        ("perform_operations", json!({ "ip": near, "amount": "50.00" }), "valid"),
        ("perform_operations", json!({ "ip": near, "amount": "0.01" }), "daily_volume_exceeded"),
        ("perform_operations", json!({ "ip": near }), "valid"),
        // Each with everything after it wrong as well.
        ("x", json!({ "ip": "198.51.100.1", "amount": "60.00" }), "ip_not_allowed"),
        (
            "x",
            json!({ "ip": near, "amount": "60.00", "restrictions": { "channels": "1" } }),
            "insufficient_permission",
        ),
    ] {
        let found = verdict(ask(&client, &key, permission, more.clone()).await);
        assert_eq!(found, code, "{permission} {more}");
    }
    assert_eq!(app.used(), 10_000);
}

#[actix_web::test]
async fn a_key_that_opens_nothing_here_is_unknown_whatever_it_is() {
    let app = TestApp::start().await;
    let secret = service(&app).await;
    let client = app.api(&secret);
    // Somebody else's, which is good where it belongs.
    let mut maker = app.sign_in("maker@other.example").await;
    let request = maker.ask_with("Theirs", &[READS]).await;
    app.sign_in("checker@other.example").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    let theirs = maker.reveal(&key).await;
    app.api(&theirs).about_itself().await.is(200);
    let (_, revoked) = app.live_key("Revoked", &[READS]).await;
    let end = app.api(&revoked);
    end.send(end.request(Method::POST, "/api/v1/keys/self/revoke")).await.is(200);
    let (_, expired) = app.live_key("Expired", &[READS, ("expires_in_days", "1")]).await;
    app.clock.advance(chrono::TimeDelta::days(1));
    let unknown = PlainSecret::mint("uwk").unwrap().expose().to_owned();
    let long = "x".repeat(9_000);
    let mut answers = Vec::new();
    for key in [
        &theirs,
        &revoked,
        &expired,
        &unknown,
        "",
        "uwk_",
        "x y",
        "\u{0}",
        &long,
        &format!("Bearer {unknown}"),
    ] {
        let page = ask(&client, key, "read_balance", json!({})).await;
        assert_eq!(verdict(page.clone()), "unknown_key", "{key:.60}");
        answers.push(page.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[actix_web::test]
async fn only_a_key_with_the_permission_may_ask() {
    let app = TestApp::start().await;
    let (_, wallet) = app.live_key("Wallet", &[READS, OPERATES]).await;
    let secret = service(&app).await;
    ask(&app.api(&wallet), &secret, "verify", json!({}))
        .await
        .refused(403, "insufficient_permission");
    ask(&app.api("uwk_x"), &secret, "verify", json!({})).await.refused(401, "");
    let client = app.api(&secret);
    assert_eq!(verdict(ask(&client, &secret, "verify", json!({})).await), "valid");
    client.balance().await.refused(403, "insufficient_permission");
    let get = client.send(client.request(Method::GET, PATH)).await;
    assert_eq!(get.header("allow"), "POST");
    get.refused(405, "method_not_allowed");
}

#[actix_web::test]
async fn questions_that_make_no_sense_are_400_and_cost_nothing() {
    let app = TestApp::start().await;
    let secret = service(&app).await;
    let client = app.api(&secret);
    let (_, key) = app.live_key("Asked", &[OPERATES]).await;
    let rows = [
        (json!({ "ip": "203.0.113.256" }), "ip", "invalid_request"),
        (json!({ "ip": "203.0.113.0/24" }), "ip", "invalid_request"),
        (json!({ "ip": "" }), "ip", "invalid_request"),
        (json!({ "amount": "0" }), "amount", "invalid_amount"),
        (json!({ "amount": "-5.00" }), "amount", "invalid_amount"),
        (json!({ "amount": 5 }), "amount", "invalid_amount"),
        (json!({ "amount": [] }), "amount", "invalid_amount"),
        (json!({ "amount": "1.001" }), "amount", "invalid_amount"),
        (json!({ "idempotencyKey": "" }), "idempotencyKey", "invalid_request"),
        (json!({ "idempotencyKey": "n".repeat(256) }), "idempotencyKey", "invalid_request"),
        (
            json!({ "idempotencyKey": "a\u{0}b", "amount": "1.00" }),
            "idempotencyKey",
            "invalid_request",
        ),
        (json!({ "idempotencyKey": 5 }), "", "invalid_request"),
        (json!({ "restrictions": [] }), "", "invalid_request"),
        (json!({ "restrictions": { "channels": 5 } }), "", "invalid_request"),
        (json!({ "surprise": true }), "", "invalid_request"),
        (json!({ "key": null }), "", "invalid_request"),
        (json!({ "permission": [] }), "", "invalid_request"),
    ];
    for (more, field, code) in rows {
        let page = ask(&client, &key, "perform_operations", more.clone()).await;
        assert_eq!(
            page.json()["field"].as_str().unwrap_or_default(),
            field,
            "{more}: {}",
            page.body
        );
        // What was sent may hold a secret: it is not sent back.
        assert!(!page.body.contains(&key[4..40]));
        page.refused(400, code);
    }
    for text in [
        "[]",
        "{}",
        r#"{"key":"a","key":"b","permission":"x"}"#,
        r#"{"key":"a","permission":"x","restrictions":{"channels":["1"],"channels":["2"]}}"#,
    ] {
        client.send(client.json(Method::POST, PATH, text)).await.refused(400, "invalid_request");
    }
    assert_eq!((app.used(), app.number("SELECT count(*) FROM idempotency_keys")), (0, 0));
}

#[actix_web::test]
async fn an_amount_is_spent_exactly_once_for_each_name() {
    let app = Rc::new(TestApp::start().await);
    let secret = service(&app).await;
    let client = app.api(&secret);
    let (_, key) = app.live_key("Spends", &[OPERATES, ("max_daily_volume", "100.00")]).await;
    let body = |name: &str, amount: &str| {
        question(&key, "perform_operations", &json!({ "amount": amount, "idempotencyKey": name }))
    };
    let pages =
        at_once(&app, (0..50).map(|_| request(&client, &body("order 1", "10.00"))).collect()).await;
    for page in pages {
        if page.status == 409 {
            page.refused(409, "request_in_progress");
        } else {
            assert_eq!(verdict(page), "valid");
        }
    }
    assert_eq!(verdict(client.post(PATH, &body("order 1", "10.00")).await), "valid");
    assert_eq!(app.used(), 1_000);
    client.post(PATH, &body("order 1", "10.01")).await.refused(422, "idempotency_key_reused");
    assert_eq!(verdict(client.post(PATH, &body("order 2", "10.00")).await), "valid");
    // Without a name each question spends; what is refused spends nothing, and is not remembered.
    let unnamed = || question(&key, "perform_operations", &json!({ "amount": "10.00" }));
    assert_eq!(verdict(client.post(PATH, &unnamed()).await), "valid");
    assert_eq!(
        verdict(client.post(PATH, &body("order 3", "70.01")).await),
        "daily_volume_exceeded"
    );
    assert_eq!(verdict(client.post(PATH, &body("order 3", "70.00")).await), "valid");
    assert_eq!(app.used(), 10_000);
    // The answer to a name stays, even with nothing left.
    assert_eq!(verdict(client.post(PATH, &body("order 3", "70.00")).await), "valid");
    assert_eq!(app.used(), 10_000);
}

// A name belongs to the service that chose it: another one's order of that name is another order.
#[actix_web::test]
async fn two_services_that_use_one_name_spend_twice() {
    let app = TestApp::start().await;
    let (_, first) = app.live_key("Shop", &ASKS).await;
    let (_, second) = app.live_key("Kiosk", &ASKS).await;
    let (_, key) = app.live_key("Spends", &[OPERATES]).await;
    let order = json!({ "amount": "10.00", "idempotencyKey": "1" });
    for secret in [&first, &second, &first, &second] {
        let page = ask(&app.api(secret), &key, "perform_operations", order.clone()).await;
        assert_eq!(verdict(page), "valid");
    }
    assert_eq!(app.used(), 2_000);
    // And neither stands in the way of what the bearer itself calls so.
    app.open_wallets().await;
    app.api(&key).cash_in_as("10.00", "1").await.operation();
    assert_eq!(app.used(), 3_000);
}

// Row 31: 64 questions at once.
#[actix_web::test]
async fn many_questions_at_once_never_spend_more_than_the_day() {
    let app = Rc::new(TestApp::start().await);
    let secret = service(&app).await;
    let client = app.api(&secret);
    let (_, key) = app.live_key("Crowd", &[OPERATES, ("max_daily_volume", "100.00")]).await;
    let body = question(&key, "perform_operations", &json!({ "amount": "3.00" }));
    let pages = at_once(&app, (0..64).map(|_| request(&client, &body)).collect()).await;
    let valid = pages.into_iter().filter(|page| verdict(page.clone()) == "valid").count();
    assert_eq!((valid, app.used()), (33, 9_900));
}

// Row 91
#[actix_web::test]
async fn the_rate_of_the_key_in_question_counts_and_a_refusal_takes_nothing() {
    let (config, _dir) = with_rate_limit(5, 3_600);
    let app = TestApp::with(config).await;
    let secret = service(&app).await;
    let client = app.api(&secret);
    let (_, key) = app.live_key("Limited", &[OPERATES, ("max_daily_volume", "10.00")]).await;
    let good = json!({ "amount": "2.00" });
    for _ in 0..20 {
        let found =
            verdict(ask(&client, &key, "perform_operations", json!({ "amount": "10.01" })).await);
        assert_eq!(found, "daily_volume_exceeded");
        assert_eq!(
            verdict(ask(&client, &key, "read_balance", good.clone()).await),
            "insufficient_permission"
        );
    }
    for _ in 0..5 {
        assert_eq!(verdict(ask(&client, &key, "perform_operations", good.clone()).await), "valid");
    }
    for _ in 0..3 {
        assert_eq!(
            verdict(ask(&client, &key, "perform_operations", good.clone()).await),
            "rate_limited"
        );
    }
    assert_eq!(app.used(), 1_000);
    // The key calls from the same budget itself.
    app.api(&key).about_itself().await.refused(429, "rate_limited");
}
