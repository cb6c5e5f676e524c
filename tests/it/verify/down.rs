//! A database that is down: nothing is let through, whether anybody asks meanwhile or not.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use countersign::store::Conn;
use serde_json::json;
use tokio::sync::watch;

use super::{ask, service, verdict};
use crate::support::api::OPERATES;
use crate::support::process::{beside, run, texts};
use crate::support::{Database, TestApp};

/// Within this a server knows, even if nobody calls.
const NOTICED: Duration = Duration::from_secs(5);

/// What lets a database that takes no writes go again, said through a connection beside it.
struct Down {
    conn: Conn,
    end: String,
    /// The database of that connection, if it is another one.
    _elsewhere: Option<Database>,
}

impl Down {
    fn begin(database: &Database) -> Self {
        if !database.is_postgres() {
            // Another process holds the lock of the file.
            let mut conn = beside(database);
            run(&mut conn, "BEGIN IMMEDIATE");
            return Self { conn, end: "ROLLBACK".to_owned(), _elsewhere: None };
        }
        let name = texts(&mut beside(database), "SELECT current_database()::text").remove(0);
        let elsewhere = Database::postgres();
        let mut conn = beside(&elsewhere);
        let allow = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS");
        run(&mut conn, &format!("{allow} false"));
        let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = ";
        texts(&mut conn, &format!("{end} '{name}'"));
        Self { conn, end: format!("{allow} true"), _elsewhere: Some(elsewhere) }
    }

    fn end(mut self) {
        run(&mut self.conn, &self.end);
    }
}

#[actix_web::test]
async fn without_its_database_it_never_says_yes() {
    let app = TestApp::start().await;
    let secret = service(&app).await;
    let client = app.api(&secret);
    let (_, key) = app.live_key("Asked", &[OPERATES]).await;
    let (stop, stopped) = watch::channel(false);
    let working = actix_web::rt::spawn(app.worker.clone().run(stopped));
    let asked = |more| ask(&client, &key, "perform_operations", more);
    assert_eq!(verdict(asked(json!({})).await), "valid");
    for idle in [true, false] {
        // What was counted is written down, so that an idle server has nothing to write.
        sleep(Duration::from_millis(2_500)).await;
        let down = Down::begin(&app.database);
        let began = Instant::now();
        while !idle && began.elapsed() < NOTICED {
            // Money is never promised from memory.
            let page = asked(json!({ "amount": "1.00" })).await;
            assert!(!page.status.is_success(), "spent without a database: {}", page.body);
            sleep(Duration::from_millis(50)).await;
        }
        sleep(NOTICED.saturating_sub(began.elapsed())).await;
        for _ in 0..5 {
            asked(json!({})).await.refused(503, "busy");
            asked(json!({ "amount": "1.00" })).await.refused(503, "busy");
            app.api(&key).about_itself().await.refused(503, "busy");
        }
        app.visitor().get("/readyz").await.is(503);
        down.end();
        let began = Instant::now();
        while asked(json!({})).await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(20), "down for ever");
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(app.used(), 0);
    assert_eq!(verdict(asked(json!({ "amount": "1.00" })).await), "valid");
    assert_eq!(app.used(), 100);
    stop.send(true).unwrap();
    working.await.unwrap();
}
