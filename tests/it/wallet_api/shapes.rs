//! What the wallet API answers when all is well: the shapes that clients of the source product know.

use std::collections::BTreeSet;

use actix_web::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::api::{MERCHANT, OPERATES, POOR, RICH, cash_in, cash_out, path};
use crate::support::{Api, DEMO_ID, TestApp};

const READS: (&str, &str) = ("permissions", "read_transactions");

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn operations(client: &Api<'_>) -> Vec<Value> {
    let page = client.get(&path("operations")).await.is(200);
    page.json().as_array().unwrap().clone()
}

async fn operate(client: &Api<'_>, body: &Value) -> String {
    client.post(&path("operations"), body).await.operation()
}

// Row 74
#[actix_web::test]
async fn the_balance_is_one_decimal_string() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Balance", &[("permissions", "read_balance")]).await;
    let client = app.api(&secret);
    let page = client.balance().await.is(200);
    assert_eq!(page.body, r#"{"balance":"50000.00"}"#);
    assert_eq!(page.header("content-type"), "application/json");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!page.header("x-request-id").is_empty());
    assert!(page.header("set-cookie").is_empty());
    // The id is a UUID, whose case does not count.
    let shouted = path("balance").replace(DEMO_ID, &DEMO_ID.to_uppercase());
    client.get(&shouted).await.is(200);
    assert_eq!(client.send(client.request(Method::HEAD, &path("balance"))).await.status, 200);
}

// Row 72
#[actix_web::test]
async fn another_distributor_in_the_url_is_403_whether_there_is_one_or_not() {
    let app = TestApp::with_wallets().await;
    let all = [OPERATES, READS, ("permissions", "read_balance")];
    let (_, secret) = app.live_key("Ours", &all).await;
    let client = app.api(&secret);
    let nobody = uuid::Uuid::new_v4().to_string();
    for id in [app.other.as_str(), &nobody, "x", "36e48800", "100000", "..", "%2e%2e", "null"] {
        for list in ["balance", "operations", "cashouts"] {
            let page = client.get(&format!("/api/v1/distributors/{id}/{list}")).await;
            // A path that is not canonical may also lead nowhere.
            assert!(
                page.code() == "distributor_mismatch" || id.contains('.') && page.status == 404,
                "{id} {list}: {}",
                page.body
            );
        }
        let url = format!("/api/v1/distributors/{id}/operations");
        assert_ne!(client.post(&url, &cash_in("1.00")).await.status, 200, "{id}");
    }
    assert_eq!(app.operations(), 0);
}

// Row 75, row 76, row 77, row 79, row 82, row 84
#[actix_web::test]
async fn operations_have_the_documented_keys_while_they_wait_and_when_they_are_done() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("All", &[OPERATES, READS]).await;
    let client = app.api(&secret);
    let mut to_phone = cash_in("5000.00");
    to_phone["memo"] = json!("Cash deposit - Receipt #1234");
    let to_merchant = json!({ "operationType": "cash-in", "amount": "25000.00",
        "merchantToShortCode": MERCHANT, "memo": "Monthly deposit" });
    let mut out = cash_out("3000.00");
    out["cashOutFulfillmentID"] = json!("receipt-12345");
    let mut ids = Vec::new();
    for body in [&to_phone, &to_merchant, &out] {
        ids.push(operate(&client, body).await);
        app.clock.advance(TimeDelta::seconds(1));
    }
    let always = [
        "operationID",
        "distributorID",
        "operationType",
        "status",
        "amount",
        "lastError",
        "createdAt",
        "updatedAt",
    ];
    let own: [&[&str]; 3] = [
        &["phoneFrom", "cashOutFulfillmentType", "cashOutFulfillmentID"],
        &["merchantTo", "merchantName", "merchantShortCode", "memo"],
        &["phoneTo", "memo"],
    ];
    let done: [&[&str]; 2] = [&[], &["walletOperationID", "sequenceNumber", "blockchainID"]];
    for (status, more) in [("pending", done[0]), ("completed", done[1])] {
        let found = operations(&client).await;
        let newest: Vec<_> =
            found.iter().map(|o| o["operationID"].as_str().unwrap()[3..].to_owned()).collect();
        assert_eq!(newest, ids.iter().rev().cloned().collect::<Vec<_>>());
        for (operation, own) in found.iter().zip(own) {
            let expected: BTreeSet<_> = always.iter().chain(own).chain(more).copied().collect();
            assert_eq!(keys(operation), expected, "{operation}");
            assert_eq!(operation["status"], status);
            assert_eq!(operation["distributorID"], DEMO_ID);
            assert_eq!(operation["lastError"], Value::Null);
        }
        assert_eq!(found[0]["createdAt"], "2026-03-02T09:00:02Z");
        assert_eq!(
            (&found[0]["amount"], &found[0]["phoneFrom"]),
            (&json!("3000.00"), &json!(RICH))
        );
        assert_eq!(found[1]["merchantShortCode"], json!(200_000));
        assert_eq!(found[1]["merchantName"], "ABC Store");
        assert_eq!(found[2]["phoneTo"], RICH);
        if status == "completed" {
            assert!(found.iter().all(|o| o["sequenceNumber"].is_i64()));
            assert_eq!(found[0]["updatedAt"], "2026-03-02T09:01:03Z");
            break;
        }
        assert_eq!(
            (app.own_balance(), app.holds(RICH), app.holds(MERCHANT)),
            (5_000_000, 2_000_000, 0)
        );
        app.clock.advance(TimeDelta::minutes(1));
        for id in &ids {
            app.approve_operation(id).await;
        }
    }
    assert_eq!(
        (app.own_balance(), app.holds(RICH), app.holds(MERCHANT)),
        (5_000_000 - 500_000 - 2_500_000 + 300_000, 2_000_000 + 500_000 - 300_000, 2_500_000)
    );
    assert_eq!(app.number("SELECT sum(balance) FROM wallets"), 7_000_000);
}

// Row 75
#[actix_web::test]
async fn operations_come_newest_first_in_pages_that_miss_and_repeat_nothing() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Pages", &[OPERATES, READS]).await;
    let client = app.api(&secret);
    let mut ids = Vec::new();
    for n in 1..=105 {
        ids.insert(0, client.cash_in(&format!("0.{n:02}")).await);
        app.clock.advance(TimeDelta::milliseconds(700));
        if n == 99 {
            break;
        }
    }
    for _ in 0..6 {
        ids.insert(0, client.cash_in("1").await);
        app.clock.advance(TimeDelta::milliseconds(700));
    }
    let ids: Vec<_> = ids.into_iter().map(|page| format!("op_{}", page.operation())).collect();
    assert_eq!(ids.len(), 105);
    let list = async |query: &str| -> Vec<String> {
        let page = client.get(&format!("{}{query}", path("operations"))).await.is(200);
        let found = page.json().as_array().unwrap().clone();
        found.iter().map(|o| o["operationID"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list("").await, ids[..100]);
    assert_eq!(list("?limit=1000").await, ids);
    assert_eq!(list("?limit=10&offset=0").await, ids[..10]);
    assert_eq!(list("?offset=100").await, ids[100..]);
    assert_eq!(list("?limit=7&offset=50").await, ids[50..57]);
    assert_eq!(list("?offset=105").await, [""; 0]);
    // Another organisation's operations are not among them.
    let other = [("api", "wallet"), ("permissions", "read_transactions")];
    let mut maker = app.sign_in("maker@other.example").await;
    let request = maker.ask_with("Theirs", &other).await;
    app.sign_in("checker@other.example").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    let secret = maker.reveal(&key).await;
    let url = path("operations").replace(DEMO_ID, app.other.as_str());
    assert_eq!(app.api(&secret).get(&url).await.is(200).json(), json!([]));
}

// Row 82, row 83, row 84
#[actix_web::test]
async fn an_operation_waits_for_a_checker_who_is_not_its_maker() {
    let app = TestApp::with_wallets().await;
    // The member who may do both made this key, and so everything it asks for.
    let mut both = app.sign_in("both").await;
    let request =
        both.ask_with("By both", &[OPERATES, READS, ("max_daily_volume", "100.00")]).await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    let key = app.key_of(&request).await;
    let secret = both.reveal(&key).await;
    let client = app.api(&secret);
    let rejected = client.cash_in("60.00").await.operation();
    both.approve(&format!("/requests/{rejected}")).await.is(403);
    for who in ["maker", "admin", "viewer"] {
        app.sign_in(who).await.approve(&format!("/requests/{rejected}")).await.is(403);
    }
    let mut stranger = app.sign_in("checker@other.example").await;
    stranger.approve(&format!("/requests/{rejected}")).await.is(404);
    client.cash_in("40.01").await.refused(403, "daily_volume_exceeded");
    app.reject_operation(&rejected).await;
    assert_eq!((app.own_balance(), app.holds(RICH), app.used()), (5_000_000, 2_000_000, 0));
    let found = operations(&client).await;
    assert_eq!(
        (&found[0]["status"], &found[0]["lastError"]),
        (&json!("rejected"), &json!("Not today"))
    );
    let approved = client.cash_in("100.00").await.operation();
    app.approve_operation(&approved).await;
    assert_eq!((app.own_balance(), app.holds(RICH), app.used()), (4_990_000, 2_010_000, 10_000));
    // It was decided: not again, and not otherwise.
    let path = format!("/requests/{approved}");
    app.sign_in("checker2").await.approve(&path).await.is(409);
    app.sign_in("checker2").await.reject(&path, "Too late").await.is(409);
    assert_eq!((app.own_balance(), app.used()), (4_990_000, 10_000));
}

// Row 82: not enough money at the time of the decision.
#[actix_web::test]
async fn an_operation_that_cannot_be_paid_any_more_fails_and_gives_its_volume_back() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Twice", &[OPERATES, READS]).await;
    let client = app.api(&secret);
    let first = operate(&client, &cash_out("15000.00")).await;
    let second = operate(&client, &cash_out("15000.00")).await;
    app.approve_operation(&first).await;
    app.approve_operation(&second).await;
    let found = operations(&client).await;
    let second = found.iter().find(|o| o["operationID"] == format!("op_{second}")).unwrap();
    assert_eq!(second["status"], "failed");
    assert!(second["lastError"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(second.get("walletOperationID").is_none() && second.get("sequenceNumber").is_none());
    assert_eq!((app.own_balance(), app.holds(RICH), app.used()), (6_500_000, 500_000, 1_500_000));
    let mut empty = cash_out("0.01");
    empty["phoneFrom"] = json!(POOR);
    client.post(&path("operations"), &empty).await.refused(403, "insufficient_balance");
}

// Row 93
#[actix_web::test]
async fn a_key_can_be_asked_about_itself_and_never_tells_its_secret() {
    let app = TestApp::start().await;
    let fields = [
        OPERATES,
        READS,
        ("max_transaction_amount", "100.00"),
        ("max_daily_volume", "1,000.00"),
        ("allowed_ips", "203.0.113.0/24, 2001:db8::1"),
        ("expires_in_days", "30"),
    ];
    let (_, secret) = app.live_key("Introspection", &fields).await;
    let page = app.api(&secret).about_itself().await.is(200);
    assert!(
        !page.body.contains(&secret[4..20]) && !page.body.contains(&secret[30..52]),
        "{}",
        page.body
    );
    let about = page.json();
    for (name, value) in [
        ("label", json!("Introspection")),
        ("api", json!("wallet")),
        ("environment", json!("production")),
        ("distributorID", json!(DEMO_ID)),
        ("permissions", json!(["read_transactions", "perform_operations"])),
        ("allowedIPs", json!(["203.0.113.0/24", "2001:db8::1"])),
        ("expiresAt", json!("2026-04-01T09:00:00Z")),
        ("lastFour", json!(&secret[52..])),
        ("rateLimit", json!({ "calls": 1000, "seconds": 10 })),
        ("restrictions", json!({})),
        ("accessType", Value::Null),
        (
            "limits",
            json!({ "currency": "NGN", "maxTransactionAmount": "100.00", "maxDailyVolume": "1000.00" }),
        ),
    ] {
        assert_eq!(about[name], value, "{name}");
    }
}

// Row 93: the bearer may end its own key, at once.
#[actix_web::test]
async fn a_bearer_can_end_its_own_key() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Leaked", &[OPERATES]).await;
    let (_, kept) = app.live_key("Kept", &[OPERATES]).await;
    let client = app.api(&secret);
    let revoke = || client.request(Method::POST, "/api/v1/keys/self/revoke");
    client.send(revoke()).await.is(200);
    client.send(revoke()).await.refused(401, "");
    client.about_itself().await.refused(401, "");
    app.api(&kept).about_itself().await.is(200);
    let entries = app.audit("key.revoked").await;
    assert_eq!(entries.len(), 1);
    let mails = app.work().await;
    assert!(
        mails.iter().any(|mail| mail.to == "maker@demo.example" && mail.subject.contains("Leaked"))
    );
}
