//! Usage on its way from memory to the database: in batches, from several nodes, through failures.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use countersign::domain::id::KeyId;
use countersign::domain::usage::{Outcome, Seen, Taken};
use countersign::store;

use super::{READS, balance, call, count, from_many, write};
use crate::support::http::{self, Client};
use crate::support::process::{Home, beside, number, texts, wait_for};
use crate::support::{PASSWORD, TestApp, email};

/// The ids of so many copies of a live key.
pub(super) async fn many_keys(app: &TestApp, copies: u32) -> Vec<KeyId> {
    app.live_key("Original", READS).await;
    let id = "'00000000-0000-4000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2)";
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies})"
    );
    let request = "organisation_id, kind, subject_id, base_version, payload, maker_id, maker_key_id, \
                   justification, state, version, approvals, approvals_needed, created_at, expires_at, closed_at";
    let key = "organisation_id, maker_id, api, label, permissions, restrictions, environment, \
               allowed_ips, state, version, created_at";
    app.sql(&format!(
        "{numbers} INSERT INTO requests (id, {request}) SELECT {id}, {request} FROM requests, n"
    ));
    app.sql(&format!(
        "{numbers} INSERT INTO keys (id, request_id, {key}) SELECT {id}, {id}, {key} FROM keys, n"
    ));
    let ids = app.raw().lines("SELECT id AS line FROM keys ORDER BY id");
    ids.into_iter().map(|id| id.parse().unwrap()).collect()
}

#[actix_web::test]
async fn flushes_of_several_nodes_over_thousands_of_keys_lose_nothing_and_wait_for_nobody() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 2_500).await;
    let now = app.clock.now();
    let flush = |node: u8| {
        let mut batch: Vec<_> = keys
            .iter()
            .map(|key| {
                let counts = vec![
                    count(now, "balance", Outcome::Allowed, 2),
                    count(now, "balance", Outcome::RateLimited, 1),
                ];
                // One address that every node sees, and one that only this one sees.
                let seen = |last| Seen {
                    ip: [10, 0, 0, last].into(),
                    first: now,
                    last: now,
                    calls: 1,
                    denied: 0,
                };
                (key.clone(), Taken { counts, last: None, addresses: vec![seen(0), seen(node)] })
            })
            .collect();
        if node.is_multiple_of(2) {
            batch.reverse();
        }
        app.db.write(move |tx| store::usage::flush(tx, &batch))
    };
    let (a, b, c, d) = tokio::join!(flush(1), flush(2), flush(3), flush(4));
    let new: Vec<_> = [a, b, c, d].into_iter().map(|new| new.unwrap().len()).collect();
    let all = keys.len();
    assert_eq!((all, new.iter().sum::<usize>()), (2_501, all * 5), "{new:?}");
    let n = i64::try_from(all).unwrap();
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE allowed = 8 AND denied = 4"), n);
    assert_eq!(app.number("SELECT count(*) FROM usage_hours WHERE calls IN (4, 8)"), 2 * n);
    assert_eq!(app.number("SELECT count(*) FROM key_addresses"), 5 * n);
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE new_addresses = 5"), n);
}

#[actix_web::test]
async fn what_could_not_be_written_is_written_by_the_next_flush_once() {
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("Kept", READS).await;
    app.work().await;
    app.sql("ALTER TABLE usage_hours RENAME TO gone");
    for ip in ["203.0.113.7", "203.0.113.8"] {
        call(&app, &secret, (ip, "curl/8"), &balance()).await.is(200);
        assert!(app.worker.run_once().await.is_err());
        assert_eq!(app.number("SELECT allowed FROM key_usage"), 0);
    }
    app.sql("ALTER TABLE gone RENAME TO usage_hours");
    app.work().await;
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 2);
    call(&app, &secret, ("203.0.113.8", "curl/8"), &balance()).await.is(200);
    app.work().await;
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 3);
    assert_eq!(app.number("SELECT calls FROM usage_hours"), 3);
    assert_eq!(app.number("SELECT sum(calls) FROM key_addresses"), 3);
    let before = app.dump();
    app.work().await;
    before.equals(&app.dump(), "a flush of nothing");
}

#[actix_web::test]
async fn a_flush_after_a_revocation_counts_the_calls_before_it_and_leaves_the_key_alone() {
    let app = TestApp::start().await;
    let (key, secret) = app.live_key("Ended", READS).await;
    app.work().await;
    app.api(&secret).balance().await.is(200);
    let mut maker = app.sign_in("maker").await;
    maker.get(&key).await.is(200);
    let fields = [("reason", "Over"), ("confirm_label", "Ended")];
    maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
    let row = "SELECT state || ' ' || version || ' ' || revoke_reason AS line FROM keys";
    let before = app.raw().lines(row);
    app.work().await;
    assert_eq!(app.raw().lines(row), before);
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 1);
    app.api(&secret).balance().await.is(401);
}

#[actix_web::test]
async fn sums_that_are_full_stay_full_and_hours_are_kept_for_four_hundred_days() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Rich", READS).await;
    for _ in 0..3 {
        let mut taken = from_many(app.clock.now(), 0..1);
        taken.counts[0].amount = i64::MAX;
        write(&app, &key, taken).await;
    }
    let most = 4_000_000_000_000_000_000;
    assert_eq!(app.number("SELECT amount FROM key_usage"), most);
    assert_eq!(app.number("SELECT amount FROM usage_hours"), most);
    app.sign_in("maker")
        .await
        .get(&key)
        .await
        .is(200)
        .says("Moved (NGN) 40,000,000,000,000,000.00");
    app.clock.advance(TimeDelta::days(400));
    app.worker.sweep().await.unwrap();
    assert_eq!(app.number("SELECT count(*) FROM usage_hours"), 1);
    app.clock.advance(TimeDelta::hours(1));
    app.worker.sweep().await.unwrap();
    assert_eq!(app.number("SELECT count(*) FROM usage_hours"), 0);
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 3);
}

#[test]
fn at_most_a_second_of_usage_is_lost_when_the_server_is_killed() {
    let home = Home::fresh();
    home.seed_demo();
    let program = home.serve();
    let address = program.address;
    let [mut maker, mut checker] = ["maker", "checker"].map(|who| {
        let mut client = Client::new(address);
        client.sign_in(&email(who), PASSWORD).unwrap().is(303);
        client
    });
    maker.get("/settings/api-keys/new").unwrap();
    checker.get("/requests").unwrap();
    let request = maker.ask_for_key("Killed").unwrap().is(303).header("location").to_owned();
    let fields = [("version", "1"), ("comment", "")];
    checker.submit(&format!("{request}/approve"), &fields).unwrap().is(303);
    let mut conn = beside(&home.database);
    let key = texts(&mut conn, "SELECT id FROM keys WHERE label = 'Killed'").remove(0);
    let page = maker.submit(&format!("/settings/api-keys/{key}/reveal"), &[]).unwrap().is(200);
    let secret = page.attribute("input#api-key", "value").unwrap();
    let began = Instant::now();
    let mut answered = Vec::new();
    while began.elapsed() < Duration::from_millis(3_300) {
        http::call(address, &balance(), &secret).unwrap().is(200);
        answered.push(Instant::now());
        // Slower than the rate limit of the key.
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Instant::now();
    program.kill();
    // A second, and a moment for the write itself on a busy machine.
    let old = |at: &&Instant| killed - **at > Duration::from_millis(1_500);
    let safe = i64::try_from(answered.iter().filter(old).count()).unwrap();
    let mut sum = |sql: &str| number(&mut conn, &sql.replace("KEY", &key));
    let kept = sum("SELECT allowed FROM key_usage WHERE key_id = 'KEY'");
    assert!(safe > 100 && kept >= safe, "{kept} of {safe} safe ones, {} in all", answered.len());
    assert!(kept <= i64::try_from(answered.len()).unwrap());
    for table in ["usage_hours", "key_addresses"] {
        let sql = format!("SELECT CAST(sum(calls) AS BIGINT) FROM {table} WHERE key_id = 'KEY'");
        assert_eq!(sum(&sql), kept, "{table}");
    }
    drop(conn);
    let again = home.serve();
    wait_for("the server to count on", || {
        http::call(again.address, &balance(), &secret).unwrap().is(200);
        let mut conn = beside(&home.database);
        let sql = format!("SELECT allowed FROM key_usage WHERE key_id = '{key}'");
        (number(&mut conn, &sql) > kept).then_some(())
    });
    again.kill();
}
