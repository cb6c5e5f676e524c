//! Cash that customers asked for: the list in pages, and saying that it was handed over.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use countersign::actions::cashouts;
use serde_json::{Value, json};

use crate::support::api::{OPERATES, RICH, path};
use crate::support::{Api, DEMO_ID, Page, TestApp};

const READS: (&str, &str) = ("permissions", "read_transactions");

async fn page(client: &Api<'_>, query: &str) -> Value {
    client.get(&format!("{}{query}", path("cashouts"))).await.is(200).json()
}

async fn report(client: &Api<'_>, id: &str, body: &Value) -> Page {
    client.put(&path(&format!("cashouts/{id}")), body).await
}

fn cash() -> Value {
    json!({ "cashOutFulfillmentType": "cash" })
}

// Row 85
#[actix_web::test]
async fn cashouts_come_in_pages_by_cursor_that_miss_and_repeat_nothing() {
    let app = TestApp::with_wallets().await;
    for _ in 0..5 {
        let owner = app.demo.clone();
        // Fifty at the same moment: then the id decides.
        let asked = app.db.write(move |tx| {
            (0..50).try_for_each(|_| cashouts::ask(tx, &owner, RICH, "1.50", None).map(drop))
        });
        asked.await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
    }
    app.ask_cashout(&app.other, "1.00").await;
    let (_, secret) = app.live_key("Reader", &[READS]).await;
    let client = app.api(&secret);
    let (mut cursor, mut found, mut sizes) = (String::new(), Vec::new(), Vec::new());
    loop {
        let answer = page(&client, &format!("?cursor={cursor}&limit=100")).await;
        assert_eq!(answer["limit"], 100);
        assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
        let items = answer["items"].as_array().unwrap().clone();
        sizes.push(items.len());
        cursor = answer["nextCursor"].as_str().unwrap().to_owned();
        if !cursor.is_empty() {
            assert_eq!(items.last().unwrap()["cursor"], cursor.as_str());
        }
        found.extend(items);
        if cursor.is_empty() || sizes.len() > 5 {
            break;
        }
    }
    assert_eq!(sizes, [100, 100, 50]);
    let ids: BTreeSet<_> = found.iter().map(|item| item["operationID"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 250);
    let times: Vec<_> = found.iter().map(|item| item["createdAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    assert_eq!(page(&client, "").await["items"].as_array().unwrap().len(), 100);
    let all = page(&client, "?limit=1000").await;
    assert_eq!((all["items"].as_array().unwrap().len(), &all["nextCursor"]), (250, &json!("")));
    assert_eq!(page(&client, "?limit=250").await["nextCursor"], "");
}

// Row 85
#[actix_web::test]
async fn a_cashout_has_the_documented_keys_and_a_cursor_that_can_be_read() {
    let app = TestApp::with_wallets().await;
    let id = app.ask_cashout(&app.demo, "3000.00").await;
    let (_, secret) = app.live_key("Reader", &[READS]).await;
    let client = app.api(&secret);
    let answer = page(&client, "").await;
    let item = &answer["items"][0];
    let cursor = item["cursor"].as_str().unwrap();
    assert_eq!(
        *item,
        json!({ "cursor": cursor, "operationID": format!("op_{id}"), "type": "cash-out", "from": RICH,
            "amount": "3000.00", "memo": "ATM withdrawal", "createdAt": "2026-03-02T09:00:00Z" })
    );
    let place = String::from_utf8(STANDARD.decode(cursor).expect("standard base64")).unwrap();
    let (at, place_id) = place.split_once('|').unwrap();
    assert_eq!(
        at.parse::<chrono::DateTime<chrono::Utc>>().unwrap(),
        "2026-03-02T09:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    );
    assert_eq!(place_id, format!("op_{id}"));
    // What a client took the padding from, or encoded for the address, is still the same place.
    for cursor in
        [cursor.to_owned(), cursor.trim_end_matches('=').to_owned(), cursor.replace('=', "%3D")]
    {
        assert_eq!(page(&client, &format!("?cursor={cursor}")).await["items"], json!([]));
    }
    for text in
        ["x", "MQ==", &STANDARD.encode("2026-03-02T09:00:00Z|x"), &STANDARD.encode("then|1")]
    {
        let url = format!("{}?cursor={text}", path("cashouts"));
        client.get(&url).await.refused(400, "invalid_request");
    }
}

// Row 86
#[actix_web::test]
async fn a_cashout_is_processed_once_by_cash_or_bank_transfer() {
    let app = TestApp::with_wallets().await;
    let first = app.ask_cashout(&app.demo, "30.00").await;
    let second = app.ask_cashout(&app.demo, "40.00").await;
    assert_eq!((app.own_balance(), app.holds(RICH)), (5_007_000, 1_993_000));
    let (_, secret) = app.live_key("Teller", &[OPERATES, READS]).await;
    let client = app.api(&secret);
    let done = report(&client, &format!("op_{first}"), &cash()).await.is(200);
    assert_eq!(done.json(), json!({ "operationID": format!("op_{first}") }));
    let transfer = json!({ "cashOutFulfillmentType": "bank-transfer", "transactionID": "TX-1", "memo": "By wire" });
    assert_eq!(page(&client, "").await["items"].as_array().unwrap().len(), 1);
    report(&client, &format!("op_{second}"), &transfer).await.is(200);
    assert_eq!(page(&client, "").await["items"], json!([]));
    for id in [&first, &second] {
        report(&client, &format!("op_{id}"), &cash()).await.refused(409, "already_processed");
        report(&client, &format!("op_{id}"), &transfer).await.refused(409, "already_processed");
    }
    // The money moved when the customer asked.
    assert_eq!((app.own_balance(), app.holds(RICH), app.used()), (5_007_000, 1_993_000, 7_000));
    let how = "SELECT count(*) FROM cashouts WHERE fulfillment_type = 'bank-transfer' AND transaction_id = 'TX-1' AND processed_memo = 'By wire'";
    assert_eq!(app.number(how), 1);
    assert_eq!(app.audit("cashout.processed").await.len(), 2);
}

// Row 86
#[actix_web::test]
async fn a_cashout_that_is_not_ours_or_makes_no_sense_stays_as_it_is() {
    let app = TestApp::with_wallets().await;
    let ours = format!("op_{}", app.ask_cashout(&app.demo, "30.00").await);
    let theirs = format!("op_{}", app.ask_cashout(&app.other, "30.00").await);
    let (_, secret) = app.live_key("Teller", &[OPERATES]).await;
    let client = app.api(&secret);
    let nobody = uuid::Uuid::new_v4();
    for id in [&theirs, &format!("op_{nobody}"), "op_", "x", "op-123", "%00", "op_%27"] {
        report(&client, id, &cash()).await.refused(404, "not_found");
    }
    let elsewhere = path(&format!("cashouts/{theirs}")).replace(DEMO_ID, app.other.as_str());
    client.put(&elsewhere, &cash()).await.refused(403, "distributor_mismatch");
    let bodies = [
        json!({}),
        json!([]),
        json!({ "cashOutFulfillmentType": "cheque" }),
        json!({ "cashOutFulfillmentType": null }),
        json!({ "cashOutFulfillmentType": "cash", "amount": "1.00" }),
        json!({ "cashOutFulfillmentType": "cash", "memo": "x".repeat(101) }),
        json!({ "cashOutFulfillmentType": "cash", "transactionID": 5 }),
        json!({ "cashOutFulfillmentType": "cash", "transactionID": "a\u{0}b" }),
    ];
    for body in bodies {
        report(&client, &ours, &body).await.refused(400, "invalid_request");
    }
    let (_, reader) = app.live_key("Reader", &[READS]).await;
    report(&app.api(&reader), &ours, &cash()).await.refused(403, "insufficient_permission");
    assert_eq!(app.number("SELECT count(*) FROM cashouts WHERE processed_at IS NOT NULL"), 0);
    assert_eq!(app.used(), 0);
}

// Row 30, row 31, row 86
#[actix_web::test]
async fn the_limits_of_a_key_hold_for_cashouts_too() {
    let app = TestApp::with_wallets().await;
    let mut ids = Vec::new();
    for amount in ["100.00", "100.01", "50.01", "50.00"] {
        ids.push(format!("op_{}", app.ask_cashout(&app.demo, amount).await));
    }
    let limits = [("max_transaction_amount", "100.00"), ("max_daily_volume", "150.00")];
    let (_, secret) = app.live_key("Limited", &[OPERATES, limits[0], limits[1]]).await;
    let client = app.api(&secret);
    report(&client, &ids[0], &cash()).await.is(200);
    report(&client, &ids[1], &cash()).await.refused(403, "transaction_limit_exceeded");
    report(&client, &ids[2], &cash()).await.refused(403, "daily_volume_exceeded");
    client.cash_in("50.01").await.refused(403, "daily_volume_exceeded");
    assert_eq!(app.used(), 10_000);
    report(&client, &ids[3], &cash()).await.is(200);
    client.cash_in("0.01").await.refused(403, "daily_volume_exceeded");
    assert_eq!((app.used(), app.operations()), (15_000, 0));
}
