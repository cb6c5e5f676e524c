//! Usage of many keys at once: written down first, added to the counts later, exactly once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::config::Config;
use countersign::domain::audit::hex;
use countersign::domain::id::KeyId;
use countersign::domain::secret::PlainSecret;
use countersign::domain::usage::{LastUse, Outcome, Seen, Taken};
use countersign::enforce::KeyIndex;
use countersign::enforce::usage::Noted;
use countersign::site::Site;
use countersign::store::usage_journal::{self, Lines};
use countersign::store::{Db, addresses, usage};

use super::lasting::many_keys;
use super::{balance, count, from_many};
use crate::support::TestApp;
use crate::support::http;
use crate::support::process::{Home, beside, number, wait_for};

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
    let lines = Lines::new(&batch).unwrap();
    app.db.write(move |tx| usage_journal::append(tx, &lines)).await.unwrap();
}

async fn fold(app: &TestApp) -> usize {
    let mut rows = 0;
    for part in 0..usage_journal::PARTS {
        let written = app.db.read(move |conn| usage_journal::list(conn, part)).await.unwrap();
        rows += app.db.write(move |tx| usage_journal::fold(tx, &written)).await.unwrap();
    }
    rows
}

/// A secret for each of these keys.
fn give_secrets(app: &TestApp, keys: &[KeyId]) -> Vec<PlainSecret> {
    let (open, close) = if app.database.is_postgres() { ("'\\x", "'") } else { ("X'", "'") };
    let mut secrets = Vec::new();
    for key in keys {
        let secret = PlainSecret::mint("cs").unwrap();
        let (hash, last) = (hex(&secret.hash().0), secret.last_four());
        app.sql(&format!(
            "INSERT INTO secrets (id, key_id, hash, last_four, minted_at, confirmed_at, first_used_at) SELECT id, id, \
             {open}{hash}{close}, '{last}', created_at, created_at, created_at FROM keys WHERE id = '{key}'"
        ));
        secrets.push(secret);
    }
    secrets
}

/// Another node.
async fn node(app: &TestApp) -> (Arc<KeyIndex>, Db) {
    let site = Site::load(&Config::for_tests()).unwrap();
    let db = Db::open(&app.database.url, app.clock.clone(), site).unwrap();
    (KeyIndex::load(&db).await.unwrap(), db)
}

/// Counts a call with each of these secrets.
fn use_all(app: &TestApp, index: &KeyIndex, secrets: &[PlainSecret]) {
    for secret in secrets {
        let entry = index.find(&secret.hash()).unwrap();
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
    assert_eq!(later.number("SELECT count(*) FROM usage_journal"), 5 * 20);
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
    let secrets = give_secrets(&app, &keys[..130]);
    let (index, db) = node(&app).await;
    use_all(&app, &index, &secrets[..128]);
    assert_eq!(index.flush_usage(&db).await.unwrap(), 128);
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 0);
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 128);
    use_all(&app, &index, &secrets);
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
    let secrets = give_secrets(&app, &keys[..130]);
    let (index, db) = node(&app).await;
    use_all(&app, &index, &secrets);
    app.sql("ALTER TABLE usage_journal RENAME TO gone");
    assert!(index.flush_usage(&db).await.is_err());
    app.sql("ALTER TABLE gone RENAME TO usage_journal");
    use_all(&app, &index, &secrets);
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
async fn a_row_that_makes_no_sense_is_set_aside_and_keeps_nobody_back() {
    let app = TestApp::start().await;
    let (key, _) = app.live_key("Counted", &[("permissions", "read_balance")]).await;
    let batch = vec![(super::id_of(&key), from_many(app.clock.now(), 0..1))];
    append(&app, batch.clone()).await;
    let part = app.number("SELECT part FROM usage_journal");
    app.work().await;
    let nonsense = r#"[["36e48800-22ce-4ea0-b37a-198f7978cd53", {"counts": "#;
    let insert = format!("INSERT INTO usage_journal (part, batch) VALUES ({part}, '{nonsense}')");
    // More than are read at a time.
    (0..101).for_each(|_| app.sql(&insert));
    append(&app, batch).await;
    app.work().await;
    assert_eq!(app.number("SELECT allowed FROM key_usage"), 2);
    let rest = "SELECT count(*) FROM usage_journal WHERE part IS NULL AND batch = ";
    assert_eq!(app.number(&format!("{rest}'{nonsense}'")), 101);
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 101);
    let before = app.dump();
    app.work().await;
    before.equals(&app.dump(), "a look at what was set aside");
}

// What a version wrote down is added by the one that comes after it.
#[actix_web::test]
async fn the_form_of_what_is_written_down_stays_as_it_is() {
    let app = TestApp::start().await;
    let key = super::id_of(&app.live_key("Counted", &[("permissions", "read_balance")]).await.0);
    let text = format!(
        r#"[["{key}",[[491512,"balance","allowed",2,150],[491512,"balance","ip_not_allowed",1,0]],[1769443200000001,"10.0.0.1","a \"b\""],[["10.0.0.1",1769443200000000,1769443200000001,3,1]]]]"#
    );
    app.sql(&format!("INSERT INTO usage_journal (part, batch) VALUES (3, '{text}')"));
    assert_eq!(fold(&app).await, 1);
    let at = |micros| chrono::DateTime::from_timestamp_micros(micros).unwrap();
    let found = app.db.read(move |conn| {
        let used = usage::list(conn, &[&key])?.remove(0).1;
        let hours = usage::list_hours(conn, &key, at(0))?;
        Ok((used, hours, addresses::list(conn, &key, 9)?))
    });
    let (used, hours, seen) = found.await.unwrap();
    assert_eq!((used.allowed, used.denied, used.amount), (2, 1, 150));
    assert_eq!(used.last_used_at, Some(at(1_769_443_200_000_001)));
    assert_eq!(used.last_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(used.last_agent.as_deref(), Some("a \"b\""));
    assert_eq!(
        hours.iter().map(|hour| (hour.outcome, hour.calls)).collect::<Vec<_>>(),
        [(Outcome::Allowed, 2), (Outcome::IpNotAllowed, 1)]
    );
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].first_seen_at, seen[0].last_seen_at, seen[0].calls, seen[0].denied),
        (at(1_769_443_200_000_000), at(1_769_443_200_000_001), 3, 1)
    );
}

#[actix_web::test]
async fn a_key_that_does_not_exist_any_more_keeps_nobody_back() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 100).await;
    let secrets = give_secrets(&app, &keys[..100]);
    let (index, db) = node(&app).await;
    use_all(&app, &index, &secrets);
    let gone = keys[7].as_str();
    for (table, column) in [("secrets", "key_id"), ("keys", "id")] {
        app.sql(&format!("DELETE FROM {table} WHERE {column} = '{gone}'"));
    }
    // It cannot be added at once, and is written down.
    assert_eq!(index.flush_usage(&db).await.unwrap(), 100);
    assert!(index.is_fresh());
    app.work().await;
    assert_eq!(app.number("SELECT sum(allowed) FROM key_usage"), 99);
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 0);
}

#[actix_web::test]
async fn a_key_that_cannot_be_counted_keeps_only_its_part_back() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 100).await;
    append(&app, second(&app, &keys[..100], 1)).await;
    app.sql(&format!(
        "INSERT INTO key_usage (key_id, allowed, denied) VALUES ('{}', {}, 0)",
        keys[7],
        i64::MAX
    ));
    assert!(app.worker.run_once().await.is_err());
    let counted = app.number("SELECT count(*) FROM key_usage WHERE denied = 2");
    assert!((80..100).contains(&counted), "{counted}");
    assert_eq!(app.number("SELECT count(*) FROM usage_journal"), 1);
}

// Two look, and one of them is late: what it read is not there any more, or something else is in its place.
#[actix_web::test]
async fn what_was_read_is_added_only_if_it_is_all_still_there() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 1).await;
    let total = || app.number("SELECT sum(allowed) FROM key_usage");
    let part = async |part| app.db.read(move |conn| usage_journal::list(conn, part)).await.unwrap();
    let fold =
        async |written| app.db.write(move |tx| usage_journal::fold(tx, &written)).await.unwrap();
    append(&app, second(&app, &keys[..1], 1)).await;
    let (early, late) = (part(0).await, part(0).await);
    assert_eq!((fold(early).await, total()), (1, 1));
    // On SQLite this row has the number of the one that is gone.
    append(&app, second(&app, &keys[..1], 2)).await;
    assert_eq!((fold(late).await, total()), (0, 1));
    append(&app, second(&app, &keys[..1], 3)).await;
    let both = part(0).await;
    app.sql("DELETE FROM usage_journal WHERE id = (SELECT max(id) FROM usage_journal)");
    assert_eq!((fold(both).await, total()), (0, 1));
    assert_eq!((fold(part(0).await).await, total()), (1, 2));
}

#[actix_web::test]
async fn an_address_was_first_seen_when_it_called_first_however_late_that_is_added() {
    let app = TestApp::start().await;
    let keys = many_keys(&app, 1).await;
    let (late, soon) = (second(&app, &keys[..1], 1), second(&app, &keys[..1], 4));
    append(&app, late.clone()).await;
    app.db.write(move |tx| usage::flush(tx, &soon)).await.unwrap();
    app.work().await;
    let first = format!("first_seen_at = '{}'", late[0].1.addresses[0].first.naive_utc());
    assert_eq!(app.number(&format!("SELECT count(*) FROM key_addresses WHERE {first}")), 1);
    assert_eq!(app.number("SELECT calls FROM key_addresses"), 6);
    assert_eq!(app.number("SELECT count(*) FROM key_usage WHERE last_agent = 'curl \"4\"'"), 1);
}

#[actix_web::test]
async fn a_server_that_is_killed_while_many_keys_call_loses_a_second_at_most_and_goes_on_counting()
{
    let app = TestApp::start().await;
    let keys = many_keys(&app, 150).await;
    let secrets = give_secrets(&app, &keys[..150]);
    let home = Home::on(app.database);
    let program = home.serve();
    let (began, address) = (Instant::now(), program.address);
    let call_all = |secrets: &[PlainSecret]| {
        let mut answered = Vec::new();
        while began.elapsed() < Duration::from_millis(4_300) {
            for secret in secrets {
                http::call(address, &balance(), secret.expose()).unwrap().is(200);
                answered.push(Instant::now());
            }
        }
        answered
    };
    let answered: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> =
            secrets.chunks(25).map(|some| scope.spawn(|| call_all(some))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let killed = Instant::now();
    program.kill();
    let mut conn = beside(&home.database);
    let mut look = |sql: &str| number(&mut conn, sql);
    let waiting = look("SELECT count(*) FROM usage_journal");
    assert!(waiting >= i64::from(usage_journal::PARTS), "{waiting}");
    let again = home.serve();
    for rest in [10, 0] {
        wait_for("the journal to be added", || {
            (look("SELECT count(*) FROM usage_journal") <= rest).then_some(())
        });
    }
    // A second, and a moment for the write itself on a busy machine.
    let old = |at: &&Instant| killed - **at > Duration::from_millis(1_500);
    let safe = i64::try_from(answered.iter().filter(old).count()).unwrap();
    let kept = look("SELECT CAST(sum(allowed) AS BIGINT) FROM key_usage");
    assert!(safe >= 150 && kept >= safe, "{kept} of {safe} safe ones, {}", answered.len());
    assert!(kept <= i64::try_from(answered.len()).unwrap());
    assert_eq!(look("SELECT CAST(sum(calls) AS BIGINT) FROM usage_hours"), kept);
    assert_eq!(look("SELECT CAST(sum(calls) AS BIGINT) FROM key_addresses"), kept);
    again.kill();
}
