//! How often a key may call, and how often an address may be refused.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use serde_json::json;

use crate::races::at_once;
use crate::support::api::{OPERATES, cash_in, path, with_rate_limit};
use crate::support::{DEMO_ID, Page, TestApp};

const READS: (&str, &str) = ("permissions", "read_balance");

/// An app whose wallet API takes so many calls in so many seconds.
async fn app(calls: u32, seconds: u32) -> TestApp {
    let (config, _dir) = with_rate_limit(calls, seconds);
    let app = TestApp::with(config).await;
    app.open_wallets().await;
    app
}

fn retry_after(page: &Page) -> u64 {
    page.header("retry-after").parse().unwrap()
}

// Row 91
#[actix_web::test]
async fn of_fifty_calls_at_once_exactly_the_limit_passes() {
    let app = Rc::new(app(10, 60).await);
    let (_, secret) = app.live_key("Limited", &[READS]).await;
    let (_, other) = app.live_key("Other", &[READS]).await;
    let client = app.api(&secret);
    let calls = (0..50).map(|_| client.request(Method::GET, &path("balance"))).collect();
    let pages = at_once(&app, calls).await;
    assert_eq!(pages.iter().filter(|page| page.status == 200).count(), 10);
    for page in pages.into_iter().filter(|page| page.status != 200) {
        assert!((1..=67).contains(&retry_after(&page)), "{}", page.header("retry-after"));
        page.refused(429, "rate_limited");
    }
    // Whatever the call is, it counts; and each key counts for itself.
    client.about_itself().await.refused(429, "rate_limited");
    for _ in 0..10 {
        app.api(&other).balance().await.is(200);
    }
    app.api(&other).balance().await.refused(429, "rate_limited");
    // Whoever floods it, a key can be ended by its bearer.
    let end = client.request(Method::POST, "/api/v1/keys/self/revoke");
    client.send(end).await.is(200);
    client.balance().await.is(401);
    app.api(&other).balance().await.refused(429, "rate_limited");
}

// Row 91
#[actix_web::test]
async fn who_waits_as_long_as_told_may_call_again_and_no_window_holds_more_than_the_limit() {
    let app = app(10, 1).await;
    let (_, secret) = app.live_key("Steady", &[READS]).await;
    let client = app.api(&secret);
    client.balance().await.is(200);
    let (began, mut passed) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_millis(3_500) {
        let before = Instant::now();
        let page = client.balance().await;
        if page.status == 200 {
            // Counted at some moment between these two.
            passed.push((before, Instant::now()));
        } else {
            page.refused(429, "rate_limited");
        }
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
    }
    for (i, (from, _)) in passed.iter().enumerate() {
        let within =
            passed[i..].iter().filter(|(_, to)| *to < *from + Duration::from_secs(1)).count();
        assert!(within <= 10, "{within} calls in one second");
    }
    assert!(passed.len() >= 20, "only {} calls passed", passed.len());
    let refused = loop {
        let page = client.balance().await;
        if page.status != 200 {
            break page;
        }
    };
    actix_web::rt::time::sleep(Duration::from_secs(retry_after(&refused))).await;
    client.balance().await.is(200);
}

#[actix_web::test]
async fn a_refusal_takes_nothing_neither_a_call_nor_volume() {
    let app = app(5, 3_600).await;
    let limits = [("max_transaction_amount", "100.00"), ("max_daily_volume", "100.00")];
    let (_, secret) = app.live_key("Refused", &[OPERATES, limits[0], limits[1]]).await;
    let client = app.api(&secret);
    let stranger = path("operations").replace(DEMO_ID, app.other.as_str());
    client.cash_in("100.00").await.operation();
    for _ in 0..5 {
        client.balance().await.refused(403, "insufficient_permission");
        client.post(&stranger, &cash_in("1.00")).await.refused(403, "distributor_mismatch");
        client.cash_in("0").await.refused(400, "invalid_amount");
        client.cash_in("100.01").await.refused(403, "transaction_limit_exceeded");
        // These are found out after the call was counted, and give it back.
        client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
        let unknown =
            json!({ "operationType": "cash-in", "amount": "1.00", "phoneTo": "+2348123456799" });
        client.post(&path("operations"), &unknown).await.refused(400, "invalid_request");
        let cashout = path(&format!("cashouts/op_{}", uuid::Uuid::new_v4()));
        let cash = json!({ "cashOutFulfillmentType": "cash" });
        client.put(&cashout, &cash).await.refused(404, "not_found");
    }
    for _ in 0..4 {
        client.about_itself().await.is(200);
    }
    client.about_itself().await.refused(429, "rate_limited");
    // Refused by the rate, an operation uses no volume and makes nothing.
    assert_eq!(app.used(), 10_000);
    client.cash_in_as("1.00", "n").await.refused(429, "rate_limited");
    assert_eq!((app.used(), app.operations()), (10_000, 1));
    assert_eq!(app.number("SELECT count(*) FROM idempotency_keys"), 0);
}

#[actix_web::test]
async fn a_flood_of_refused_calls_is_slowed_down_by_address_and_no_key_pays_for_it() {
    let app = app(10, 3_600).await;
    let (_, secret) = app.live_key("Bystander", &[READS]).await;
    let flood = app.api(&secret).at("198.51.100.9:1");
    let stranger = path("balance").replace(DEMO_ID, app.other.as_str());
    let (mut told, mut slowed) = (0, None);
    for _ in 0..5_000 {
        let page = flood.get(&stranger).await;
        if page.status == 429 {
            slowed = Some(page);
            break;
        }
        page.refused(403, "distributor_mismatch");
        told += 1;
    }
    let slowed = slowed.expect("the flood is slowed down").refused(429, "rate_limited");
    assert!((1..=11).contains(&retry_after(&slowed)));
    assert!(told >= 1_000, "slowed down after {told} calls");
    // Strangers without any key at that address are slowed down as well; others are not.
    app.api("uwk_nothing").at("198.51.100.9:2").balance().await.refused(429, "rate_limited");
    app.api("uwk_nothing").balance().await.refused(401, "");
    app.api(&secret).get(&stranger).await.refused(403, "distributor_mismatch");
    // The key has its ten calls still, wherever they come from.
    for n in 0..10 {
        let client = if n < 5 { &flood } else { &app.api(&secret) };
        client.balance().await.is(200);
    }
    app.api(&secret).balance().await.refused(429, "rate_limited");
}
