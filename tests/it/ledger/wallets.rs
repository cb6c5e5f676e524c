//! Races for one wallet, and a ledger that somebody tampered with.

use std::rc::Rc;

use actix_web::test::TestRequest;
use countersign::actions::wallets;
use serde_json::json;

use super::{UNBALANCED, balanced};
use crate::races::at_once;
use crate::support::TestApp;
use crate::support::api::{MERCHANT, OPERATES, POOR, RICH, path};

/// Asks for these operations, and gives their ids.
async fn waiting(app: &TestApp, secret: &str, ways: &[&serde_json::Value]) -> Vec<String> {
    let client = app.api(secret);
    let mut ids = Vec::new();
    for body in ways {
        ids.push(client.post(&path("operations"), body).await.operation());
    }
    ids
}

// Row 84: each could be paid, all of them together cannot.
#[actix_web::test]
async fn approvals_that_race_for_one_wallet_never_overdraw_it() {
    let app = Rc::new(TestApp::with_wallets().await);
    let (_, secret) = app.live_key("Raced", &[OPERATES]).await;
    let to_rich = json!({ "operationType": "cash-in", "amount": "20000.00", "phoneTo": RICH });
    let to_merchant = json!({ "operationType": "cash-in", "amount": "20000.00", "merchantToShortCode": MERCHANT });
    let from_rich = json!({ "operationType": "cash-out-fulfillment", "amount": "7000.00", "phoneFrom": RICH,
        "cashOutFulfillmentType": "cash" });
    let ways = [
        &to_rich,
        &from_rich,
        &to_merchant,
        &from_rich,
        &to_rich,
        &from_rich,
        &to_merchant,
        &from_rich,
    ];
    let ids = waiting(&app, &secret, &ways).await;
    let mut checkers = Vec::new();
    for who in ["checker", "checker2", "both"] {
        checkers.push(app.sign_in(who).await);
    }
    let votes: Vec<TestRequest> = ids
        .iter()
        .enumerate()
        .flat_map(|(n, id)| {
            let vote = [("version", "1"), ("comment", "")];
            let path = format!("/requests/{id}/approve");
            [&checkers[n % 3], &checkers[(n + 1) % 3]].map(|checker| checker.form(&path, &vote))
        })
        .collect();
    let pages = at_once(&app, votes).await;
    assert_eq!(pages.iter().filter(|page| page.status == 303).count(), ids.len());
    assert!(pages.iter().all(|page| [303, 409].contains(&page.status.as_u16())));
    let completed =
        app.number("SELECT coalesce(sum(amount), 0) FROM operations WHERE status = 'completed'");
    assert_eq!(
        app.number("SELECT count(*) FROM operations WHERE status IN ('completed', 'failed')"),
        8
    );
    assert_eq!(app.used(), completed);
    assert_eq!(app.number("SELECT sum(balance) FROM wallets"), 7_000_000);
    balanced(&mut app.raw());
}

// A check that cannot fail is none.
#[actix_web::test]
async fn a_ledger_that_was_tampered_with_is_found_out() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Tampered", &[OPERATES]).await;
    let made = app.api(&secret).cash_in("10.00").await.operation();
    let waits = app.api(&secret).cash_in("10.00").await.operation();
    app.approve_operation(&made).await;
    app.ask_cashout(&app.demo, "1.00").await;
    balanced(&mut app.raw());
    let deeds = [
        (0, format!("UPDATE wallets SET balance = balance + 1 WHERE phone = '{POOR}'")),
        (1, format!("UPDATE wallets SET balance = balance + 1 WHERE phone = '{POOR}'")),
        (2, format!("UPDATE requests SET operation_status = 'completed' WHERE id = '{waits}'")),
        (3, "UPDATE cashouts SET amount = amount + 1".to_owned()),
        (4, "UPDATE key_volumes SET used = used + 1".to_owned()),
        (5, format!("UPDATE requests SET operation_status = 'completed' WHERE id = '{waits}'")),
    ];
    for (check, deed) in deeds {
        let mut raw = app.raw();
        raw.run("BEGIN").unwrap();
        raw.run(&deed).unwrap();
        assert!(!raw.lines(UNBALANCED[check]).is_empty(), "{deed}");
        raw.run("ROLLBACK").unwrap();
    }
}

// Money for a number goes to the one wallet of that number.
#[actix_web::test]
async fn one_phone_number_has_one_wallet_however_it_is_spaced() {
    let app = TestApp::with_wallets().await;
    for phone in
        [RICH, "+2348123456781", "+234 812 345 6781", "+234-8123456781", " +234  8123456781 "]
    {
        let opened = app
            .db
            .write(move |tx| wallets::open_for_person(tx, phone, "Again", "NGN".parse().unwrap()));
        let refused = opened.await.unwrap_err().to_string();
        assert!(refused.contains("812"), "{phone}: {refused}");
    }
    assert_eq!(app.number("SELECT count(*) FROM wallets WHERE phone IS NOT NULL"), 2);
    let (_, secret) = app.live_key("Spaces", &[OPERATES]).await;
    for phone in ["+2348123456781", "+234 812-345-6781", " +234 8123456781"] {
        let body = json!({ "operationType": "cash-in", "amount": "1.00", "phoneTo": phone });
        let id = app.api(&secret).post(&path("operations"), &body).await.operation();
        app.approve_operation(&id).await;
    }
    assert_eq!(app.holds(RICH), 2_000_300);
}
