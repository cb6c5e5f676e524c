//! `Idempotency-Key`: whatever is sent twice happens once, also over the death of the server and on
//! several nodes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::http::Method;
use serde_json::json;

use crate::races::at_once;
use crate::support::api::{OPERATES, cash_in, path};
use crate::support::http::{self, Answer, Client};
use crate::support::process::{Home, beside, number, texts, wait_for};
use crate::support::{DEMO_ID, Database, PASSWORD, TestApp, email};

/// A live key of the demo that a running server gives to its maker.
pub(crate) fn key_over_http(
    home: &Home,
    address: SocketAddr,
    label: &str,
    more: &[(&str, &str)],
) -> String {
    let mut maker = Client::new(address);
    maker.sign_in(&email("maker"), PASSWORD).unwrap().is(303);
    maker.get("/settings/api-keys/new").unwrap().is(200);
    let usual = [
        ("api", "wallet"),
        ("environment", "production"),
        ("expires_in_days", "30"),
        ("label", label),
    ];
    let fields = [&usual[..], more].concat();
    let request = maker.submit("/settings/api-keys", &fields).unwrap().is(303);
    let request = request.header("location").to_owned();
    let mut checker = Client::new(address);
    checker.sign_in(&email("checker"), PASSWORD).unwrap().is(303);
    checker.get(&request).unwrap().is(200);
    let vote = [("version", "1"), ("comment", "")];
    checker.submit(&format!("{request}/approve"), &vote).unwrap().is(303);
    let named = format!("SELECT id FROM keys WHERE label = '{label}'");
    let key = format!("/settings/api-keys/{}", texts(&mut beside(&home.database), &named)[0]);
    maker.get(&key).unwrap().is(200);
    let page = maker.submit(&format!("{key}/reveal"), &[]).unwrap().is(200);
    page.attribute("input#api-key", "value").unwrap()
}

/// A cash-in over a socket, under a name if there is one.
pub(crate) fn cash_in_over_http(
    address: SocketAddr,
    secret: &str,
    amount: &str,
    name: &str,
) -> std::io::Result<Answer> {
    let mut headers = vec![
        ("Authorization", format!("Bearer {secret}")),
        ("Content-Type", "application/json".to_owned()),
    ];
    headers.extend((!name.is_empty()).then(|| ("Idempotency-Key", name.to_owned())));
    http::request(address, ("POST", &path("operations")), &headers, &cash_in(amount).to_string())
}

/// How many operations the key with this label asked for, and what it used of its days.
pub(crate) fn done_with(home: &Home, label: &str) -> (i64, i64) {
    let mut conn = beside(&home.database);
    let key = format!("(SELECT id FROM keys WHERE label = '{label}')");
    let made = format!("SELECT count(*) FROM operations WHERE maker_key_id = {key}");
    let used = format!("SELECT CAST(sum(used) AS BIGINT) FROM key_volumes WHERE key_id = {key}");
    (number(&mut conn, &made), number(&mut conn, &used))
}

#[actix_web::test]
async fn of_fifty_equal_requests_at_once_one_has_an_effect() {
    let app = Rc::new(TestApp::with_wallets().await);
    let (_, secret) = app.live_key("Retries", &[OPERATES, ("max_daily_volume", "1000.00")]).await;
    let client = app.api(&secret);
    for name in ["first", "second"] {
        let calls = (0..50).map(|_| client.named_cash_in("10.00", name)).collect();
        let pages = at_once(&app, calls).await;
        let mut ids: Vec<_> = pages
            .iter()
            .filter(|page| page.status == 200)
            .map(|page| page.clone().operation())
            .collect();
        for page in pages.iter().filter(|page| page.status != 200) {
            assert_eq!(page.header("retry-after"), "1");
            page.clone().refused(409, "request_in_progress");
        }
        assert!(!ids.is_empty());
        // And later still the same answer.
        ids.push(client.cash_in_as("10.00", name).await.operation());
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
    assert_eq!((app.operations(), app.used()), (2, 2_000));
    assert_eq!(app.audit("request.made").await.len(), 3);
}

#[actix_web::test]
async fn a_name_stands_for_one_body_of_one_key() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("One", &[OPERATES]).await;
    let (_, other) = app.live_key("Two", &[OPERATES]).await;
    let client = app.api(&secret);
    let first = client.cash_in_as("10.00", "n").await.operation();
    client.cash_in_as("10.01", "n").await.refused(422, "idempotency_key_reused");
    let mut body = cash_in("10.00");
    body["memo"] = json!("another");
    let call = client.json(Method::POST, &path("operations"), body.to_string());
    client
        .send(call.insert_header(("idempotency-key", "n")))
        .await
        .refused(422, "idempotency_key_reused");
    // The same fields in another order and with other spaces are the same.
    let text = format!(
        r#" {{ "phoneTo":{}, "amount":"10.00","operationType":"cash-in"}}"#,
        cash_in("1")["phoneTo"]
    );
    let call = client.json(Method::POST, &path("operations"), text);
    let same = client.send(call.insert_header(("idempotency-key", "n"))).await.operation();
    assert_eq!(same, first);
    // Upper case is another name; another key has names of its own.
    assert_ne!(client.cash_in_as("10.00", "N").await.operation(), first);
    assert_ne!(app.api(&other).cash_in_as("10.00", "n").await.operation(), first);
    let cashout = app.ask_cashout(&app.demo, "1.00").await;
    let put = client.json(
        Method::PUT,
        &path(&format!("cashouts/op_{cashout}")),
        r#"{"cashOutFulfillmentType":"cash"}"#,
    );
    client
        .send(put.insert_header(("idempotency-key", "n")))
        .await
        .refused(422, "idempotency_key_reused");
    assert_eq!((app.operations(), app.used()), (3, 3_000));
}

#[actix_web::test]
async fn a_refusal_is_not_remembered() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Later", &[OPERATES, ("max_daily_volume", "100.00")]).await;
    let client = app.api(&secret);
    let waiting = client.cash_in("100.00").await.operation();
    client.cash_in_as("5.00", "n").await.refused(403, "daily_volume_exceeded");
    client.cash_in_as("x", "n").await.refused(400, "invalid_amount");
    app.reject_operation(&waiting).await;
    let made = client.cash_in_as("5.00", "n").await.operation();
    // The answer stands, whatever became of the operation and of the limits since.
    app.reject_operation(&made).await;
    client.cash_in("100.00").await.operation();
    assert_eq!(client.cash_in_as("5.00", "n").await.operation(), made);
    assert_eq!(app.used(), 10_000);
}

#[actix_web::test]
async fn a_name_is_one_header_of_1_to_255_characters() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Names", &[OPERATES]).await;
    let client = app.api(&secret);
    let longest = "n".repeat(255);
    for name in ["", " ", &"n".repeat(256), &"n".repeat(10_000)] {
        client.cash_in_as("1.00", name).await.refused(400, "invalid_request");
    }
    let two = client.named_cash_in("1.00", "a").append_header(("idempotency-key", "b"));
    client.send(two).await.refused(400, "invalid_request");
    let raw = actix_web::http::header::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let raw = client.named_cash_in("1.00", "a").insert_header(("idempotency-key", raw));
    client.send(raw).await.refused(400, "invalid_request");
    assert_eq!(app.operations(), 0);
    let made = client.cash_in_as("1.00", &longest).await.operation();
    assert_eq!(client.cash_in_as("1.00", &longest).await.operation(), made);
    for name in ["'; DROP TABLE operations; --", "$1", "%s", "\"quoted\"", "a b"] {
        client.cash_in_as("1.00", name).await.operation();
    }
    assert_eq!(app.operations(), 6);
}

#[actix_web::test]
async fn a_report_that_is_sent_twice_counts_once() {
    let app = Rc::new(TestApp::with_wallets().await);
    let (_, secret) = app.live_key("Teller", &[OPERATES]).await;
    let id = app.ask_cashout(&app.demo, "10.00").await;
    let client = app.api(&secret);
    let report = |body: &str| {
        let put = client.json(Method::PUT, &path(&format!("cashouts/op_{id}")), body.to_owned());
        put.insert_header(("idempotency-key", "once"))
    };
    let cash = r#"{"cashOutFulfillmentType":"cash"}"#;
    let pages = at_once(&app, (0..20).map(|_| report(cash)).collect()).await;
    for page in &pages {
        assert!(page.status == 200 || page.code() == "request_in_progress", "{}", page.body);
    }
    client.send(report(cash)).await.is(200);
    client
        .send(report(r#"{"cashOutFulfillmentType":"bank-transfer"}"#))
        .await
        .refused(422, "idempotency_key_reused");
    assert_eq!((app.used(), app.audit("cashout.processed").await.len()), (1_000, 1));
}

// What is counted as used on the page of a key is what happened, not how often it was asked.
#[actix_web::test]
async fn an_answer_that_is_given_again_adds_nothing_to_what_the_key_moved() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Again", &[OPERATES]).await;
    for _ in 0..3 {
        app.api(&secret).cash_in_as("10.00", "n").await.operation();
    }
    app.work().await;
    assert_eq!(app.number("SELECT sum(amount) FROM usage_hours"), 1_000);
    assert_eq!(app.number("SELECT sum(calls) FROM usage_hours"), 3);
}

/// Answers by name: what a client was told.
type Told = Mutex<BTreeMap<String, String>>;

fn note(told: &Told, name: &str, answer: &Answer) {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let id = body["operationID"].as_str().unwrap().to_owned();
    let before = told.lock().unwrap().insert(name.to_owned(), id.clone());
    assert!(before.is_none_or(|before| before == id), "{name} has two answers");
}

#[test]
fn an_attempt_is_answered_the_same_after_the_server_was_killed() {
    let home = Home::fresh();
    home.seed_demo();
    let mut program = home.serve();
    let secret = key_over_http(&home, program.address, "Killed", &[OPERATES]);
    let told = Told::default();
    let names: Vec<_> = (0..400).map(|n| format!("attempt {n}")).collect();
    for round in 0..4 {
        let (address, sent) = (program.address, AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (told, names, sent, secret) = (&told, &names, &sent, &secret);
                scope.spawn(move || {
                    for name in names.iter().skip(worker).step_by(8).chain(names.iter().take(20)) {
                        match cash_in_over_http(address, secret, "0.01", name) {
                            Ok(answer) if answer.status == 200 => note(told, name, &answer),
                            Ok(answer) => {
                                assert!([409, 503].contains(&answer.status), "{answer:?}");
                            }
                            Err(_) => return,
                        }
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            wait_for("the load", || (sent.load(Ordering::SeqCst) > 15 + 20 * round).then_some(()));
            program.kill();
        });
        program = home.serve();
    }
    for name in &names {
        note(
            &told,
            name,
            &cash_in_over_http(program.address, &secret, "0.01", name).unwrap().is(200),
        );
    }
    for name in names.iter().step_by(40) {
        cash_in_over_http(program.address, &secret, "0.02", name).unwrap().is(422);
    }
    assert_eq!(done_with(&home, "Killed"), (400, 400));
    home.run(&["audit", "verify"]).ended(0, "whole");
}

#[test]
fn two_servers_on_one_database_answer_one_attempt_once() {
    if !Database::fresh().is_postgres() {
        // A second server on one SQLite file does not start; tests/it/cli.rs says so.
        return;
    }
    let home = Home::fresh();
    home.seed_demo();
    let servers = [home.serve(), home.serve()];
    let secret = key_over_http(&home, servers[0].address, "Both", &[OPERATES]);
    let balance = format!("/api/v1/distributors/{DEMO_ID}/balance");
    wait_for("the other node to hear of the key", || {
        let answer = http::call(servers[1].address, &balance, &secret).unwrap();
        (answer.status != 401).then_some(())
    });
    let told = Told::default();
    for round in 0..5 {
        let name = format!("round {round}");
        std::thread::scope(|scope| {
            for n in 0..50 {
                let (told, name, secret, address) = (&told, &name, &secret, servers[n % 2].address);
                scope.spawn(move || {
                    let answer = cash_in_over_http(address, secret, "1.00", name).unwrap();
                    match answer.status {
                        200 => note(told, name, &answer),
                        status => assert_eq!(status, 409, "{answer:?}"),
                    }
                });
            }
        });
        for server in &servers {
            note(
                &told,
                &name,
                &cash_in_over_http(server.address, &secret, "1.00", &name).unwrap().is(200),
            );
        }
    }
    assert_eq!(done_with(&home, "Both"), (5, 500));
}
