//! Usage of many keys at once: written down first, added to the counts later, exactly once.

use std::net::IpAddr;
use std::sync::Arc;

use countersign::config::Config;
use countersign::domain::id::KeyId;
use countersign::domain::secret::SecretHash;
use countersign::domain::usage::{LastUse, Outcome, Seen, Taken};
use countersign::enforce::KeyIndex;
use countersign::enforce::usage::Noted;
use countersign::site::Site;
use countersign::store::{Db, usage, usage_journal};

use super::lasting::many_keys;
use super::{count, from_many};
use crate::support::TestApp;

/// Everything counted for keys, but for whom and when it was told.
const COUNTED: [&str; 3] = [
    "SELECT key_id || ' ' || allowed || ' ' || denied || ' ' || amount || ' ' || last_used_at || ' ' || last_ip \
     || ' ' || last_agent || ' ' || new_addresses AS line FROM key_usage WHERE allowed > 0 ORDER BY key_id",
    "SELECT key_id || ' ' || hour || ' ' || endpoint || ' ' || outcome || ' ' || calls || ' ' || amount AS line \
     FROM usage_hours ORDER BY key_id, hour, endpoint, outcome",
    "SELECT key_id || ' ' || ip || ' ' || first_seen_at || ' ' || last_seen_at || ' ' || calls || ' ' || denied \
     AS line FROM key_addresses ORDER BY key_id, ip",
];

fn counted(app: &TestApp) -> Vec<Vec<String>> {
    COUNTED.map(|sql| app.raw().lines(sql)).to_vec()
}

/// A second of calls with each of these keys, unlike those of any other second.
fn second(app: &TestApp, keys: &[KeyId], n: u8) -> Vec<(KeyId, Taken)> {
    let now = app.clock.now() + chrono::TimeDelta::minutes(i64::from(n) * 7);
    let ip: IpAddr = [10, 0, 0, n % 3].into();
    let taken = |place: i64| {
        let mut allowed = count(now, "operations", Outcome::Allowed, place + 1);
        allowed.amount = i64::from(n) * 100 + place;
        Taken {
            counts: vec![allowed, count(now, "balance", Outcome::RateLimited, 2)],
            last: Some(LastUse { at: now, ip: Some(ip), agent: Some(format!("curl \"{n}\"")) }),
            addresses: vec![Seen { ip, first: now, last: now, calls: place + 3, denied: 2 }],
        }
    };
    keys.iter().cloned().zip((0..).map(taken)).collect()
}

async fn append(app: &TestApp, batch: Vec<(KeyId, Taken)>) {
    app.db.write(move |tx| usage_journal::append(tx, &batch)).await.unwrap();
}

async fn fold(app: &TestApp) -> usize {
    let mut rows = 0;
    for part in 0..usage_journal::PARTS {
        rows += app.db.write(move |tx| usage_journal::fold(tx, part)).await.unwrap();
    }
    rows
}

/// Another node, with a secret for every key.
async fn node(app: &TestApp) -> (Arc<KeyIndex>, Db) {
    let digits = "replace(id, '-', '')";
    let text = format!("substr({digits}, 17) || substr({digits}, 1, 16)");
    let hash = if app.database.is_postgres() {
        format!("convert_to({text}, 'UTF8')")
    } else {
        format!("CAST({text} AS BLOB)")
    };
    app.sql(&format!(
        "INSERT INTO secrets (id, key_id, hash, last_four, minted_at) \
         SELECT id, id, {hash}, 'abcd', created_at FROM keys WHERE request_id = id"
    ));
    let site = Site::load(&Config::for_tests()).unwrap();
    let db = Db::open(&app.database.url, app.clock.clone(), site).unwrap();
    (KeyIndex::load(&db).await.unwrap(), db)
}

/// Counts a call with each of these keys.
fn use_all(app: &TestApp, index: &KeyIndex, keys: &[KeyId]) {
    for key in keys {
        let digits = key.as_str().replace('-', "");
        let text = format!("{}{}", &digits[16..], &digits[..16]);
        let entry = index.find(&SecretHash(text.as_bytes().try_into().unwrap())).unwrap();
        let noted = Noted {
            now: app.clock.now(),
            outcome: Outcome::Allowed,
            endpoint: "balance",
            amount: 0,
            ip: Some([203, 0, 113, 7].into()),
            agent: Some("curl/8"),
        };
        index.note(&entry, &noted);
    }
}

#[actix_web::test]
async fn what_is_written_down_and_added_later_is_counted_as_if_it_had_been_added_at_once() {
    let (direct, later) = (TestApp::start().await, TestApp::start().await);
    let (keys, same) = (many_keys(&direct, 70).await, many_keys(&later, 70).await);
    // The original's id is another in each.
    let (keys, same) = (&keys[..70], &same[..70]);
    assert_eq!(keys, same);
    for n in 1..=5 {
        let batch = second(&direct, keys, n);
        append(&later, batch.clone()).await;
        direct.db.write(move |tx| usage::flush(tx, &batch)).await.unwrap();
    }
    assert_eq!(counted(&later), [const { Vec::<String>::new() }; 3]);
    assert_eq!(later.number("SELECT count(*) FROM usage_journal"), 5 * usage_journal::PARTS);
    assert_eq!(fold(&later).await, 5 * 20);
    let expected = counted(&direct);
    assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [70, 70 * 2, 70 * 3]);
    assert_eq!(counted(&later), expected);
    assert_eq!(fold(&later).await, 0);
    assert_eq!(counted(&later), expected);
}

#[actix_web::test]
async fn nodes_that_add_the_same_parts_at_once_add_them_once() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 200).await;
    for n in 1..=4 {
        append(&app, second(&app, &keys, n)).await;
    }
    let fifth = second(&app, &keys, 5);
    let (a, b, c, ()) = tokio::join!(fold(&app), fold(&app), fold(&app), append(&app, fifth));
    let rest = fold(&app).await;
    assert_eq!(a + b + c + rest, 5 * 20, "{a} {b} {c} {rest}");
    let n = i64::try_from(keys.len()).unwrap();
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 5 * n * (n + 1) / 2);
    assert_eq!(app.number("SELECT sum(denied) FROM key_usage"), 5 * 2 * n);
    assert_eq!(app.number("SELECT sum(calls) FROM key_addresses"), 5 * (n * (n + 1) / 2 + 2 * n));
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 0);
}

#[actix_web::test]
async fn usage_of_few_keys_is_counted_at_once_and_that_of_many_by_any_node_later() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 130).await;
    let (index, db) = node(&app).await;
    use_all(&app, &index, &keys[..128]);
    assert_eq!(index.flush_usage(&db).await.unwrap(), 128);
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 0);
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 128);
    use_all(&app, &index, &keys[..130]);
    assert_eq!(index.flush_usage(&db).await.unwrap(), 130);
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 128);
    assert_eq!(index.flush_usage(&db).await.unwrap(), 0);
    // That node dies now; another one goes on with what it wrote down.
    drop((index, db));
    app.work().await;
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 0);
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE allowed = 2"), 128);
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 258);
    assert_eq!(app.number("SELECT sum(calls) FROM usage_hours"), 258);
}

#[actix_web::test]
async fn what_cannot_be_written_down_or_added_is_kept_and_counted_once() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 130).await;
    let (index, db) = node(&app).await;
    use_all(&app, &index, &keys[..130]);
    app.sql("ALTER TABLE usage_journal RENAME TO gone");
    assert!(index.flush_usage(&db).await.is_err());
    app.sql("ALTER TABLE gone RENAME TO usage_journal");
    use_all(&app, &index, &keys[..130]);
    assert_eq!(index.flush_usage(&db).await.unwrap(), 130);
    // The tables before the failing one are written, and must be as they were.
    app.sql("ALTER TABLE key_addresses RENAME TO gone");
    assert!(app.worker.run_once().await.is_err());
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 0);
    app.sql("ALTER TABLE gone RENAME TO key_addresses");
    app.work().await;
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE allowed = 2"), 130);
    assert_eq!(app.number("SELECT sum(calls) FROM key_addresses"), 260);
}

#[actix_web::test]
async fn a_row_that_makes_no_sense_is_kept_and_keeps_nobody_else_back() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Counted", &[("permissions", "read_balance")]).await;
    let id = super::id_of(&key);
    let taken = from_many(app.clock.now(), 0..1);
    append(&app, vec![(id.clone(), taken.clone())]).await;
    let part = app.number("SELECT part FROM usage_journal");
    let other = (part + 1) % usage_journal::PARTS;
    let nonsense = r#"[["36e48800-22ce-4ea0-b37a-198f7978cd53", {"counts": "#;
    app.sql(&format!("INSERT INTO usage_journal (part, batch) VALUES ({other}, '{nonsense}')"));
    assert!(app.worker.run_once().await.is_err());
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 1);
    assert_eq!(app.raw().lines("SELECT batch AS line FROM usage_journal"), [nonsense]);
}
