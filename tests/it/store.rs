//! The one door for writes: all or nothing, for each alone, and no answer before the commit.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use actix_web::rt::spawn;
use chrono::{DateTime, Utc};
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::domain::audit::{Event, Who};
use countersign::error::Error;
use countersign::site::Site;
use countersign::store::{Db, Tx, audit, organisations, server_secrets};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Text};

use crate::support::Database;
use crate::support::process::{beside, number, run, texts};

fn open(url: &str) -> anyhow::Result<Db> {
    Db::open(url, Clock::System, Site::load(&Config::for_tests())?)
}

/// Leaves a trace that can be looked for.
fn mark(tx: &mut Tx<'_>, name: &str) -> Result<(), Error> {
    server_secrets::get_or_insert(tx, name, b"x").map(drop)
}

fn marks(database: &Database) -> BTreeSet<String> {
    texts(&mut beside(database), "SELECT name FROM server_secrets").into_iter().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Keeps the writer busy until the sender is used, so that what comes after shares one commit.
async fn hold(db: &Db) -> Sender<()> {
    let (release, released) = channel::<()>();
    let (running, runs) = channel();
    let held = db.clone();
    spawn(async move {
        let wait = move |_: &mut Tx<'_>| {
            running.send(()).unwrap();
            released.recv().map_err(Error::internal)
        };
        held.write(wait).await.unwrap();
    });
    settle().await;
    runs.recv_timeout(Duration::from_secs(5)).unwrap();
    release
}

/// Lets every future that is ready run.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_refused_or_panicking_write_leaves_nothing_while_its_neighbours_commit() {
    let database = Database::fresh();
    let db = open(&database.url).unwrap();
    let release = hold(&db).await;
    let write = |name: &'static str, end: fn() -> Result<(), Error>| {
        let db = db.clone();
        spawn(async move {
            db.write(move |tx| {
                mark(tx, name)?;
                tx.audit(event(name));
                end()
            })
            .await
        })
    };
    let first = write("first", || Ok(()));
    let refused = write("refused", || Err(Error::Stale));
    let panicked = write("panicked", || panic!("on purpose"));
    let faulty = {
        let db = db.clone();
        let fault = |tx: &mut Tx<'_>| {
            mark(tx, "faulty")?;
            diesel::sql_query("INSERT INTO nowhere VALUES (1)").execute(tx.conn)?;
            Ok(())
        };
        spawn(async move { db.write(fault).await })
    };
    let last = write("last", || Ok(()));
    settle().await;
    release.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    assert!(matches!(refused.await.unwrap(), Err(Error::Stale)));
    assert!(matches!(panicked.await.unwrap(), Err(Error::Internal(_))));
    assert!(matches!(faulty.await.unwrap(), Err(Error::Internal(_))));
    assert!(last.await.unwrap().is_ok());
    assert_eq!(marks(&database), set(&["first", "last"]));
    let log = db.read(|conn| audit::list_after(conn, 0, 100)).await.unwrap();
    let actions: BTreeSet<_> = log.into_iter().filter_map(|entry| entry.subject_id).collect();
    assert_eq!(actions, set(&["first", "last"]));
}

fn event(subject: &str) -> Event {
    Event {
        organisation_id: None,
        who: Who::Command,
        action: "test.happened",
        subject_id: Some(subject.to_owned()),
        detail: serde_json::json!({}),
    }
}

#[actix_web::test]
async fn sixty_four_parallel_writers_are_all_answered_and_time_never_goes_back() {
    let database = Database::fresh();
    let db = open(&database.url).unwrap();
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let db = db.clone();
            spawn(async move {
                for round in 0..3 {
                    let name = format!("{n}-{round}");
                    db.write(move |tx| {
                        mark(tx, &name)?;
                        tx.audit(event(&name));
                        Ok(())
                    })
                    .await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(marks(&database).len(), 64 * 3);
    let log = db.read(|conn| audit::list_after(conn, 0, 1000)).await.unwrap();
    assert_eq!(log.len(), 64 * 3);
    let times: Vec<DateTime<Utc>> = log.iter().map(|entry| entry.at).collect();
    // On PostgreSQL transactions overlap: numbers follow the commits, times the beginnings.
    if !database.is_postgres() {
        assert!(times.is_sorted(), "the log goes back in time: {times:?}");
    }
    assert!(times.iter().all(|at| at.timestamp_subsec_nanos() % 1000 == 0));
}

#[actix_web::test]
async fn an_answer_comes_only_after_the_commit() {
    let database = Database::fresh();
    let db = open(&database.url).unwrap();
    let mut conn = beside(&database);
    for n in 0..50 {
        let name = format!("seen {n}");
        let marked = name.clone();
        db.write(move |tx| mark(tx, &marked)).await.unwrap();
        let found = format!("SELECT count(*) FROM server_secrets WHERE name = '{name}'");
        assert_eq!(number(&mut conn, &found), 1, "answered before {name} could be seen");
    }
    // Nothing can be seen of a write that is still running.
    let (reached, reaches) = channel();
    let (release, released) = channel::<()>();
    let writer = db.clone();
    let running = spawn(async move {
        writer
            .write(move |tx| {
                mark(tx, "unfinished")?;
                reached.send(()).unwrap();
                released.recv().map_err(Error::internal)
            })
            .await
    });
    settle().await;
    reaches.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(!marks(&database).contains("unfinished"));
    release.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(marks(&database).contains("unfinished"));
}

/// Needs about 100 pages.
fn big(tx: &mut Tx<'_>, name: &str) -> Result<(), Error> {
    diesel::sql_query("INSERT INTO server_secrets (name, value) VALUES ($1, $2)")
        .bind::<Text, _>(name)
        .bind::<Binary, _>(vec![7_u8; 400_000])
        .execute(tx.conn)?;
    Ok(())
}

#[actix_web::test]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let database = Database::sqlite();
    let db = open(&database.url).unwrap();
    db.write(|tx| mark(tx, "before")).await.unwrap();
    db.write(|tx| {
        let pages = number(tx.conn, "SELECT page_count FROM pragma_page_count");
        number(tx.conn, &format!("PRAGMA max_page_count = {}", pages + 10));
        Ok(())
    })
    .await
    .unwrap();
    let release = hold(&db).await;
    let small = |name: &'static str| {
        let db = db.clone();
        spawn(async move { db.write(move |tx| mark(tx, name)).await })
    };
    let left = small("left");
    let full = {
        let db = db.clone();
        spawn(async move { db.write(|tx| big(tx, "big")).await })
    };
    let right = small("right");
    settle().await;
    release.send(()).unwrap();
    let full = full.await.unwrap().unwrap_err();
    assert!(matches!(full, Error::Busy | Error::Internal(_)), "{full:?}");
    // A neighbour may have to try again, but what it was told is true.
    let mut expected = set(&["before"]);
    for (name, answer) in [("left", left.await.unwrap()), ("right", right.await.unwrap())] {
        match answer {
            Ok(()) => assert!(expected.insert(name.to_owned())),
            Err(e) => assert!(matches!(e, Error::Busy), "{name}: {e:?}"),
        }
    }
    assert_eq!(marks(&database), expected);
    for n in 0..3 {
        assert!(db.write(move |tx| big(tx, "big")).await.is_err());
        let name = format!("small {n}");
        expected.insert(name.clone());
        db.write(move |tx| mark(tx, &name)).await.expect("small writes still fit");
    }
    db.write(|tx| {
        number(tx.conn, "PRAGMA max_page_count = 1000000");
        Ok(())
    })
    .await
    .unwrap();
    db.write(|tx| big(tx, "big")).await.unwrap();
    expected.insert("big".to_owned());
    assert_eq!(marks(&database), expected);
    assert_eq!(texts(&mut beside(&database), "PRAGMA integrity_check"), ["ok"]);
}

#[actix_web::test]
async fn reading_cannot_write_on_sqlite() {
    let database = Database::sqlite();
    let db = open(&database.url).unwrap();
    let insert = "INSERT INTO server_secrets (name, value) VALUES ('sneaked in', x'00')";
    let result = db.read(move |conn| Ok(diesel::sql_query(insert).execute(conn)?)).await;
    assert!(matches!(result, Err(Error::Internal(_))), "{result:?}");
    assert_eq!(marks(&database), set(&[]));
}

#[test]
fn a_database_that_is_not_there_is_an_error_with_its_cause_and_never_a_new_file() {
    let before = files();
    for (url, cause) in [
        ("postgres://nobody@127.0.0.1:1/nope", "refused"),
        ("postgres://nobody@localhost/nope?host=%2Fnonexistent", "/nonexistent"),
        ("postgresql://nobody@127.0.0.1:1/nope", "refused"),
    ] {
        let began = Instant::now();
        let error = format!("{:#}", open(url).err().unwrap());
        assert!(error.contains(cause), "{url}: {error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{url}: {:?}", began.elapsed());
    }
    assert_eq!(files(), before);
}

#[test]
fn an_address_of_another_kind_is_refused_and_never_a_new_file() {
    let before = files();
    let mut accepted = Vec::new();
    for url in ["postgres:nope", "mysql://root@localhost/x", "Postgres://localhost/x", "nope", ""] {
        if open(url).is_ok() {
            accepted.push(url);
        }
    }
    let made: Vec<_> = files().difference(&before).cloned().collect();
    for name in &made {
        let _ = std::fs::remove_file(name);
    }
    assert!(accepted.is_empty() && made.is_empty(), "accepted {accepted:?}, made {made:?}");
}

/// What is in the working folder.
fn files() -> BTreeSet<String> {
    let entries = std::fs::read_dir(Path::new(".")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[actix_web::test]
async fn a_database_that_goes_away_is_told_within_seconds_and_used_again_when_it_is_back() {
    let database = Database::fresh();
    if !database.is_postgres() {
        return a_locked_file_is_waited_for_and_then_told(database).await;
    }
    let db = open(&database.url).unwrap();
    db.write(|tx| mark(tx, "before")).await.unwrap();
    let elsewhere = Database::postgres();
    let mut admin = beside(&elsewhere);
    let name = database.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"));
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    assert!(number(&mut admin, &end) > 0);
    for _ in 0..2 {
        let began = Instant::now();
        let error = db.write(|tx| mark(tx, "lost")).await.unwrap_err();
        assert!(matches!(error, Error::Busy | Error::Internal(_)), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"));
    let began = Instant::now();
    while let Err(e) = db.write(|tx| mark(tx, "after")).await {
        assert!(began.elapsed() < Duration::from_secs(20), "{e:?}");
    }
    assert_eq!(marks(&database), set(&["before", "after"]));
}

#[actix_web::test]
async fn connections_that_died_while_idle_are_not_handed_out_for_ever() {
    let database = Database::fresh();
    let db = open(&database.url).unwrap();
    db.read(audit::head).await.unwrap();
    if !database.is_postgres() {
        return db.read(organisations::count).await.map(drop).unwrap();
    }
    let name = database.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    assert!(number(&mut beside(&Database::postgres()), &end) > 0);
    // A statement that these connections never prepared: diesel calls them well when it fails.
    let mut failures = 0;
    while db.read(organisations::count).await.is_err() {
        failures += 1;
        assert!(failures <= 16, "a dead connection stays in the pool");
    }
    assert!(failures > 0, "no connection died, so nothing was tested");
}

async fn a_locked_file_is_waited_for_and_then_told(database: Database) {
    let db = open(&database.url).unwrap();
    let mut other = beside(&database);
    run(&mut other, "BEGIN IMMEDIATE");
    let began = Instant::now();
    let error = db.write(|tx| mark(tx, "lost")).await.unwrap_err();
    assert!(matches!(error, Error::Busy), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    run(&mut other, "COMMIT");
    db.write(|tx| mark(tx, "after")).await.unwrap();
    assert_eq!(marks(&database), set(&["after"]));
}
