//! Migrations: the same in both databases, never changed afterwards, undone and made without a loss.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::TimeDelta;
use countersign::domain::audit::hex;
use sha2::{Digest as _, Sha256};

use super::{columns, databases, indexes, open};
use crate::support::api::{OPERATES, RICH, path};
use crate::support::dump::Raw;
use crate::support::process::{Home, beside, run};
use crate::support::{Database, TestApp};

/// Takes back the migrations from this one on, the newest first.
pub(crate) fn undo_since(database: &Database, first: &str) {
    let kind = if database.is_postgres() { "postgres" } else { "sqlite" };
    let mut conn = beside(database);
    let entries = std::fs::read_dir(format!("migrations/{kind}")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().rev().filter(|path| path.file_name().unwrap().to_str() >= Some(first))
    {
        run(&mut conn, &std::fs::read_to_string(path.join("down.sql")).unwrap());
    }
    run(&mut conn, &format!("DELETE FROM __diesel_schema_migrations WHERE version >= '{first}'"));
}

#[test]
fn migrations_have_the_same_names_and_can_be_undone() {
    let names = |dir: &str| -> BTreeSet<_> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let complete = |path: &std::path::PathBuf| {
            path.join("up.sql").exists() && path.join("down.sql").exists()
        };
        entries
            .inspect(|path| assert!(complete(path)))
            .map(|p| p.file_name().unwrap().to_owned())
            .collect()
    };
    let all = names("migrations/sqlite");
    assert!(!all.is_empty());
    assert_eq!(all, names("migrations/postgres"));
    for database in databases() {
        drop(open(&database).unwrap());
        let mut conn = beside(&database);
        undo_since(&database, "");
        assert_eq!(columns(&mut conn), BTreeSet::new());
        drop(open(&database).unwrap());
        assert!(!columns(&mut conn).is_empty());
    }
}

/// Migrations that databases out there have run, and what they were.
const RELEASED: &[(&str, &str)] = &[
    ("postgres/0001_init", "73c443936838c469989eb4d687010191add798ebc517fb4f57c9336dc573d3e7"),
    ("postgres/0002_ledger", "f5efcf46b4dd0c0ffb083fd7caab79adbaaa7c28e2167e9eda8a75fa841bf902"),
    ("postgres/0003_usage", "447ea17b95ca70f8a691c797b1e03b15a3ef28176d7a316ce842b14cf930d64c"),
    ("postgres/0004_key_order", "1adcecf8c52c9d36b0217e01c36b9f2c316c25eae2b3e6dd7e85b55955dcda61"),
    (
        "postgres/0005_fewer_indexes",
        "f499b33ce1307efe8df8adca6b9b46893db71622a0e148be064a66373896e70e",
    ),
    (
        "postgres/0006_usage_journal",
        "7157bd07cf7b9a16e345ed74189acd36dd51e486d105a980735ef4276cae8374",
    ),
    (
        "postgres/0007_requests_to_expire",
        "20d0ae0ca3131f2a91ef9fcfeb8f68d540479fb35f6ae685e8eec09d8ed3454e",
    ),
    ("sqlite/0001_init", "7c1b390971cc127ca2d2f82f22156d8af40dc6eba4f04652ab3ef14b36b2c152"),
    ("sqlite/0002_ledger", "8f3c9b8fef167c190b9eaa660e3ea64da3233bca4ac98c6395cb949ba79d6109"),
    ("sqlite/0003_usage", "4614f9394e4841031ee96eee0064e358e7ab88170ec234360be07ff9ad240336"),
    ("sqlite/0004_key_order", "1adcecf8c52c9d36b0217e01c36b9f2c316c25eae2b3e6dd7e85b55955dcda61"),
    (
        "sqlite/0005_fewer_indexes",
        "1682122299fdf93801e28a5639427bf49db1e2b1cbd2c9cef31420d10159d68b",
    ),
    (
        "sqlite/0006_usage_journal",
        "38a1baf7ea1812c2349ac3d34715a0235e3940df6fbb03fae00c91a950b1d47c",
    ),
    (
        "sqlite/0007_requests_to_expire",
        "20d0ae0ca3131f2a91ef9fcfeb8f68d540479fb35f6ae685e8eec09d8ed3454e",
    ),
];

#[test]
fn a_migration_that_was_released_stays_as_it_was() {
    for (name, digest) in RELEASED {
        let text = std::fs::read(format!("migrations/{name}/up.sql")).unwrap();
        assert_eq!(hex(&Sha256::digest(text)), *digest, "{name}: write a new migration instead");
    }
}

// Before 0007 was a migration of its own, two forms of 0005 were about: with its index and without.
#[test]
fn either_form_of_the_fifth_migration_leads_to_the_same_schema() {
    for database in databases() {
        drop(open(&database).unwrap());
        let mut conn = beside(&database);
        let (all_columns, all_indexes) = (columns(&mut conn), indexes(&mut conn));
        for earlier in [
            "SELECT 1",
            "CREATE INDEX requests_to_expire ON requests (expires_at) WHERE state = 'pending'",
        ] {
            undo_since(&database, "0007");
            run(&mut beside(&database), earlier);
            drop(open(&database).unwrap());
            assert_eq!(indexes(&mut conn), all_indexes, "{earlier}");
            assert_eq!(columns(&mut conn), all_columns, "{earlier}");
        }
    }
}

#[test]
fn a_migration_that_waits_for_others_gives_up_and_is_made_by_the_next_start() {
    for database in databases() {
        drop(open(&database).unwrap());
        let (mut conn, mut other) = (beside(&database), beside(&database));
        run(&mut conn, "DROP INDEX requests_to_expire");
        run(&mut conn, "DELETE FROM __diesel_schema_migrations WHERE version LIKE '%0007%'");
        let lock = if database.is_postgres() {
            "BEGIN; LOCK TABLE requests IN SHARE ROW EXCLUSIVE MODE"
        } else {
            "BEGIN IMMEDIATE"
        };
        run(&mut other, lock);
        let began = Instant::now();
        assert!(open(&database).is_err());
        let waited = began.elapsed().as_secs();
        assert!((3..20).contains(&waited), "{waited} s");
        run(&mut other, "ROLLBACK");
        drop(open(&database).unwrap());
        assert!(indexes(&mut conn).contains(&"requests_to_expire".to_owned()));
    }
}

/// What an operation was before and after it shared a row with its request.
const OPERATIONS: &str = "SELECT id || '|' || organisation_id || '|' || kind || '|' || status || '|' || amount || '|' || \
    wallet_id || '|' || COALESCE(fulfillment_id, '-') || '|' || COALESCE(memo, '-') || '|' || \
    COALESCE(maker_key_id, '-') || '|' || COALESCE(volume_day, '-') || '|' || COALESCE(last_error, '-') || '|' || \
    created_at || '|' || updated_at AS line FROM operations ORDER BY id";

#[actix_web::test]
async fn operations_with_rows_of_their_own_become_requests_and_lose_nothing() {
    let app = TestApp::with_wallets().await;
    let (_, secret) = app.live_key("Migrated", &[OPERATES]).await;
    let api = app.api(&secret);
    let body = serde_json::json!({
        "operationType": "cash-out-fulfillment", "amount": "7.00", "phoneFrom": RICH, "memo": "It's for | Ada",
        "cashOutFulfillmentType": "cash", "cashOutFulfillmentID": "Slip 1",
    });
    api.post(&path("operations"), &body).await.operation();
    let completed = api.cash_in("10.00").await.operation();
    app.approve_operation(&completed).await;
    let failing = [api.cash_in("30000.00").await, api.cash_in("30000.00").await];
    for made in failing {
        app.approve_operation(&made.operation()).await;
    }
    app.clock.advance(TimeDelta::days(15));
    app.work().await;
    api.cash_in("3.00").await.operation();
    let found = |raw: &mut Raw| raw.lines(OPERATIONS);
    let before = found(&mut app.raw());
    let statuses: BTreeSet<_> = before.iter().map(|line| line.split('|').nth(3).unwrap()).collect();
    assert_eq!(statuses, BTreeSet::from(["completed", "failed", "pending", "rejected"]));
    undo_since(&app.database, "0008");
    assert_eq!(app.number("SELECT count(*) FROM operations"), i64::try_from(before.len()).unwrap());
    assert_eq!(found(&mut app.raw()), before, "undone");
    drop(open(&app.database).unwrap());
    assert_eq!(found(&mut app.raw()), before, "made again");
    app.api(&secret).cash_in("3.00").await.operation();
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let database = Database::fresh();
    drop(open(&database).unwrap());
    let mut conn = beside(&database);
    run(&mut conn, "INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101')");
    let before = columns(&mut conn);
    let error = format!("{:#}", open(&database).err().unwrap());
    assert!(error.contains("newer version") && error.contains("99990101"), "{error}");
    assert_eq!(columns(&mut conn), before);
}

#[test]
fn several_that_open_an_empty_database_at_once_all_succeed() {
    for _ in 0..5 {
        let database = Database::fresh();
        let faults: Vec<String> = std::thread::scope(|scope| {
            let openers: Vec<_> =
                (0..6).map(|_| scope.spawn(|| open(&database).map(drop))).collect();
            openers
                .into_iter()
                .filter_map(|opener| opener.join().unwrap().err())
                .map(|e| format!("{e:#}"))
                .collect()
        });
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let home = Home::fresh();
    let codes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| home.run(&["migrate"]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|said| said.code == Some(0)), "{codes:#?}");
}
