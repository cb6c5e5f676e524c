//! Both databases hold the same schema, and it refuses what must never be.

pub(crate) mod migrations;

use std::collections::{BTreeMap, BTreeSet};

use countersign::clock::Clock;
use countersign::config::Config;
use countersign::site::Site;
use countersign::store::{Conn, Db, schema};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use crate::support::process::{beside, number, texts};
use crate::support::{Database, TestApp};

fn open(database: &Database) -> anyhow::Result<Db> {
    Db::open(&database.url, Clock::System, Site::load(&Config::for_tests())?)
}

/// One of each kind that can be reached; the kind that is asked for is always there.
fn databases() -> Vec<Database> {
    let wanted = std::env::var("TEST_DATABASE").is_ok_and(|kind| kind == "postgres");
    let reachable = wanted || std::env::var("TEST_POSTGRES_URL").is_ok();
    let mut databases = vec![Database::sqlite()];
    databases.extend(reachable.then(Database::postgres));
    databases
}

/// `table.column` with its type, as SQLite calls it, and whether it must be set.
fn columns(conn: &mut Conn) -> BTreeSet<String> {
    let sql = match conn {
        Conn::Sqlite(_) => {
            "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || iif(c.\"notnull\", 'set', 'may') \
             FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
        }
        Conn::Postgres(_) => {
            "SELECT table_name || '.' || column_name || ' ' || CASE data_type \
             WHEN 'text' THEN 'TEXT' WHEN 'timestamp without time zone' THEN 'TEXT' \
             WHEN 'bytea' THEN 'BLOB' ELSE 'INTEGER' END || ' ' \
             || CASE is_nullable WHEN 'NO' THEN 'set' ELSE 'may' END \
             FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
             WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        }
    };
    texts(conn, sql).into_iter().filter(|column| !column.starts_with("__diesel")).collect()
}

/// The names of indexes that no constraint made.
fn indexes(conn: &mut Conn) -> Vec<String> {
    let sql = match conn {
        Conn::Sqlite(_) => {
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
        }
        Conn::Postgres(_) => {
            "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname \
             NOT IN (SELECT conname FROM pg_constraint) ORDER BY indexname COLLATE \"C\""
        }
    };
    texts(conn, sql)
}

/// What the code reads like a table and is none.
const VIEWS: &[&str] = &["operations"];

/// Table by table, the columns of `src/store/schema.rs` and whether they must be set.
fn declared() -> BTreeMap<String, Vec<(String, bool)>> {
    let text = std::fs::read_to_string("src/store/schema.rs").unwrap();
    let table = |block: &str| {
        let name = block.split('(').next().unwrap().trim().to_owned();
        let column = |line: &str| {
            let (name, kind) = line.trim().split_once(" -> ")?;
            Some((name.to_owned(), !kind.starts_with("Nullable")))
        };
        (name, block.split("diesel::").next().unwrap().lines().filter_map(column).collect())
    };
    text.split("diesel::table! {").skip(1).map(table).collect()
}

#[test]
fn both_databases_end_with_the_tables_that_the_code_declares() {
    let mut all_indexes = Vec::new();
    for database in databases() {
        drop(open(&database).unwrap());
        let mut conn = beside(&database);
        let found: BTreeSet<_> = columns(&mut conn)
            .into_iter()
            .map(|c| format!("{} {}", c.split(' ').next().unwrap(), c.ends_with(" set")))
            .collect();
        let declared: BTreeSet<_> = declared()
            .into_iter()
            .filter(|(table, _)| !VIEWS.contains(&table.as_str()))
            .flat_map(|(table, columns)| {
                columns.into_iter().map(move |(column, set)| format!("{table}.{column} {set}"))
            })
            .collect();
        assert_eq!(found, declared);
        all_indexes.push(indexes(&mut conn));
    }
    assert!(all_indexes.iter().all(|found| *found == all_indexes[0] && found.len() > 5));
}

#[test]
fn both_databases_have_columns_of_the_same_kind_and_constraints_of_the_same_name() {
    let databases = databases();
    let [sqlite, postgres] = databases.as_slice() else { return };
    drop((open(sqlite).unwrap(), open(postgres).unwrap()));
    let (mut sqlite, mut postgres) = (beside(sqlite), beside(postgres));
    assert_eq!(columns(&mut sqlite), columns(&mut postgres));
    let sql = texts(&mut sqlite, "SELECT sql FROM sqlite_schema WHERE type = 'table'").join("\n");
    let named: BTreeSet<_> =
        sql.split("CONSTRAINT ").skip(1).map(|c| c.split(' ').next().unwrap().to_owned()).collect();
    let known: BTreeSet<_> =
        texts(&mut postgres, "SELECT conname::text FROM pg_constraint").into_iter().collect();
    assert!(named.len() > 10 && named.is_subset(&known), "{named:?} {known:?}");
}

#[actix_web::test]
async fn the_writing_connection_of_sqlite_is_safe_and_every_table_is_strict() {
    let database = Database::sqlite();
    let db = open(&database).unwrap();
    let pragma = |name: &'static str| {
        db.write(move |tx| {
            Ok(texts(tx.conn, &format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}")))
        })
    };
    assert_eq!(pragma("journal_mode").await.unwrap(), ["wal"]);
    assert_eq!(pragma("synchronous").await.unwrap(), ["2"]);
    assert_eq!(pragma("foreign_keys").await.unwrap(), ["1"]);
    let version = db.write(|tx| Ok(texts(tx.conn, "SELECT sqlite_version()"))).await.unwrap();
    let version: Vec<u32> = version[0].split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 51, 3], "{version:?}");
    let patience = db.write(|tx| Ok(number(tx.conn, "SELECT timeout FROM pragma_busy_timeout")));
    assert!(patience.await.unwrap() >= 1000);
    let loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                 AND NOT strict AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'";
    assert_eq!(db.write(|tx| Ok(texts(tx.conn, loose))).await.unwrap(), [""; 0]);
}

/// Tables that nothing is in after a key was issued, revealed and not used.
const EMPTY: &[&str] = &[
    "sign_in_throttle",
    "invitations",
    "operations",
    "key_volumes",
    "idempotency_keys",
    "cashouts",
    "operation_digests",
    "usage_hours",
    "usage_journal",
    "key_addresses",
];

macro_rules! loads {
    ($conn:expr, $($table:ident: $row:ty,)*) => {{
        $(let rows = schema::$table::table.load::<$row>($conn)?;
        assert!(!rows.is_empty() || EMPTY.contains(&stringify!($table)),
            "{} is empty", stringify!($table));)*
        BTreeSet::from([$(stringify!($table).to_owned()),*])
    }};
}

#[actix_web::test]
async fn every_table_loads_with_the_types_the_code_gives_it() {
    type At = chrono::NaiveDateTime;
    type Text = String;
    type May<T> = Option<T>;
    type Bytes = Vec<u8>;
    let app = TestApp::start().await;
    let (_, secret) = app.live_key("All tables", &[("permissions", "read_balance")]).await;
    app.api(&secret).balance().await.is(200);
    app.work().await;
    let loaded = app.db.read(|conn| Ok(loads!(conn,
        organisations: (Text, Text, Text, Text, Text, i32, At),
        members: (Text, Text, Text, Text, bool, bool, bool, bool, Text, May<Text>, At),
        invitations: (Bytes, Text, At, At, May<At>),
        sessions: (Bytes, May<Text>, Text, At, At),
        sign_in_throttle: (Text, i32, May<At>, At),
        server_secrets: (Text, Bytes),
        requests: (Text, Text, Text, May<Text>, May<i32>, Text, Text, May<Text>, Text, Text, i32, i32, i32, At, At, May<At>, May<Text>, May<Text>, May<i64>, May<Text>, May<Text>, May<Text>, May<Text>, May<Text>),
        decisions: (Text, Text, i32, Text, Text, Text, Text, At),
        keys: (Text, Text, Text, Text, Text, Text, May<Text>, May<Text>, Text, May<Text>, Text, Text, May<i64>, May<i64>, Text, May<i32>, May<At>, Text, i32, At, May<At>, May<Text>, May<Text>),
        secrets: (Text, Text, Bytes, Text, At, May<At>, May<At>, May<At>),
        wallets: (Text, Text, May<Text>, Text, May<Text>, May<Text>, Text, i64, i64),
        transfers: (i64, Text, Text, May<Text>, May<Text>, Text, i64, At),
        operations: (Text, Text, Text, Text, Text, i64, Text, May<Text>, May<Text>, May<Text>, May<Text>, May<Text>, At, At),
        key_volumes: (Text, Text, i64),
        idempotency_keys: (Text, Text, Bytes, Text, At),
        cashouts: (Text, Text, Text, i64, May<Text>, At, May<At>, May<Text>, May<Text>, May<Text>, May<Text>),
        operation_digests: (Text, At),
        key_usage: (Text, i64, i64, May<At>, i64, May<Text>, May<Text>, i64, May<At>),
        usage_hours: (Text, At, Text, Text, i64, i64),
        usage_journal: (i64, Option<i64>, Text),
        key_addresses: (Text, Text, At, At, i64, i64, May<At>),
        outbox: (Text, Text, Text, Text, Text, At, i32, At, May<At>, May<At>, May<At>, May<Text>),
        audit: (i64, At, May<Text>, Text, May<Text>, Text, Text, May<Text>, Text, May<Text>, May<Text>, Bytes, Bytes),
        audit_head: (i32, i64, Bytes),
    ))).await.unwrap();
    assert_eq!(loaded, declared().into_keys().collect());
}

/// Statements that must fail, each with a word of the rule it breaks.
const NEVER: &[(&str, &str)] = &[
    ("UPDATE wallets SET balance = -1", "balance"),
    (
        "UPDATE wallets SET short_code = '9' WHERE kind = 'organisation'",
        "wallets_merchant_has_short_code",
    ),
    ("UPDATE wallets SET currency = 'NAIRA'", "currency"),
    ("UPDATE requests SET approvals = 0 WHERE state = 'approved'", "requests_approved_by_enough"),
    ("UPDATE requests SET approvals = 2", "requests_never_too_many_votes"),
    ("UPDATE requests SET closed_at = NULL", "requests_closed_when_not_pending"),
    ("UPDATE requests SET state = 'done'", "state"),
    ("UPDATE requests SET approvals_needed = 0, approvals = 0", "approvals_needed"),
    ("UPDATE requests SET amount = 1, memo = 'x'", "requests_operation_is_whole"),
    ("UPDATE requests SET kind = 'operation'", "requests_operation_is_whole"),
    ("UPDATE requests SET maker_key_id = (SELECT min(id) FROM keys)", "requests_of_keys_count"),
    (
        "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, justification, state, version, approvals, approvals_needed, \
         created_at, expires_at, operation_kind, operation_status, amount, wallet_id) \
         SELECT 'x', organisation_id, 'operation', payload, maker_id, '', 'pending', 1, 0, 1, \
         created_at, expires_at, 'cash-in', 'failed', 1, (SELECT min(id) FROM wallets) FROM requests",
        "requests_failed_says_why",
    ),
    (
        "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, justification, state, version, approvals, approvals_needed, \
         created_at, expires_at, operation_kind, operation_status, amount, wallet_id) \
         SELECT 'x', organisation_id, 'operation', payload, maker_id, '', 'pending', 1, 0, 1, \
         created_at, expires_at, 'cash-in', 'pending', 1, 'nobody' FROM requests",
        "FOREIGN KEY",
    ),
    (
        "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, justification, state, version, approvals, approvals_needed, \
         created_at, expires_at, operation_kind, operation_status, amount, wallet_id, maker_key_id, volume_day) \
         SELECT 'x', organisation_id, 'operation', payload, maker_id, '', 'pending', 1, 0, 1, \
         created_at, expires_at, 'cash-in', 'pending', 1, (SELECT min(id) FROM wallets), 'nobody', '2026-03-02' FROM requests",
        "FOREIGN KEY",
    ),
    (
        "UPDATE keys SET state = 'revoked', revoked_at = created_at",
        "keys_revoked_says_when_and_why",
    ),
    (
        "UPDATE keys SET revoke_reason = 'x', revoked_at = created_at",
        "keys_revoked_says_when_and_why",
    ),
    ("UPDATE keys SET max_transaction = 2, max_daily = 1", "keys_transaction_within_day"),
    ("UPDATE keys SET max_daily = 0", "max_daily"),
    ("UPDATE keys SET expires_at = NULL", "keys_expiry_both_or_none"),
    ("UPDATE keys SET permissions = ''", "permissions"),
    (
        "UPDATE keys SET maker_id = (SELECT id FROM members WHERE email LIKE 'maker2@%')",
        "FOREIGN KEY",
    ),
    ("UPDATE decisions SET verdict = 'reject', comment = ''", "decisions_reject_has_reason"),
    ("UPDATE decisions SET checker_id = maker_id", "decisions_never_your_own"),
    (
        "UPDATE decisions SET maker_id = (SELECT id FROM members WHERE email LIKE 'maker2@%')",
        "FOREIGN KEY",
    ),
    (
        "INSERT INTO decisions SELECT 'x', request_id, version, maker_id, checker_id, verdict, 'again', decided_at FROM decisions",
        "UNIQUE",
    ),
    (
        "INSERT INTO secrets SELECT 'x', key_id, (SELECT hash FROM audit WHERE seq = 1), 'abcd', minted_at, NULL, NULL, NULL FROM secrets",
        "UNIQUE",
    ),
    (
        "INSERT INTO secrets SELECT 'x', key_id, hash, 'abcd', minted_at, minted_at, NULL, NULL FROM secrets",
        "UNIQUE",
    ),
    ("UPDATE secrets SET last_four = 'too long'", "last_four"),
    ("UPDATE secrets SET hash = last_four", "hash"),
    ("UPDATE key_usage SET allowed = -1", "allowed"),
    ("UPDATE members SET password_hash = NULL", "members_active_has_password"),
    ("UPDATE members SET email = 'Maker@demo.example' WHERE email = 'maker@demo.example'", "email"),
    (
        "UPDATE members SET email = 'maker2@demo.example' WHERE email = 'maker@demo.example'",
        "UNIQUE",
    ),
    (
        "UPDATE members SET is_admin = false, is_maker = false, is_checker = false, is_viewer = false",
        "members_has_a_role",
    ),
    ("UPDATE organisations SET approvals_needed = 0", "approvals_needed"),
    ("UPDATE outbox SET sent_at = created_at, failed_at = created_at", "outbox_sent_or_failed"),
    ("DELETE FROM organisations", "FOREIGN KEY"),
    ("UPDATE audit SET actor_name = 'nobody'", "never changed"),
    ("DELETE FROM audit", "audit rows are never"),
    ("INSERT INTO audit_head SELECT 2, seq, hash FROM audit_head", "CHECK"),
    ("UPDATE audit_head SET hash = (SELECT hash FROM audit_head LIMIT 0)", "hash"),
];

#[actix_web::test]
async fn the_database_itself_refuses_what_must_never_be() {
    let app = TestApp::start().await;
    app.live_key("Bad statements", &[("permissions", "read_balance")]).await;
    let mut conn = beside(&app.database);
    let mut allowed = Vec::new();
    for (sql, rule) in NEVER {
        match conn.batch_execute(sql) {
            Ok(()) => allowed.push(format!("not refused: {sql}")),
            Err(e) if e.to_string().to_lowercase().contains(&rule.to_lowercase()) => (),
            Err(e) => allowed.push(format!("{sql} broke another rule than {rule}: {e}")),
        }
    }
    if app.database.is_postgres() && conn.batch_execute("TRUNCATE audit").is_ok() {
        allowed.push("TRUNCATE audit".to_owned());
    }
    assert!(allowed.is_empty(), "{allowed:#?}");
}
