//! Several nodes on one PostgreSQL: a change on one is heard on all, and a deaf node refuses. SQLite
//! has one node only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{AppConfig, Service as _, ServiceFactory as _};
use actix_web::test::TestRequest;
use countersign::config::Config;
use countersign::domain::secret::SecretHash;
use countersign::enforce::KeyIndex;
use countersign::site::Site;
use countersign::store::{Conn, Db};
use countersign::web::passwords::Passwords;
use countersign::web::{self, State};

use crate::support::process::{beside, number, run, texts};
use crate::support::{DEMO_ID, Database, TestApp};

const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// A second node on the database of the first.
struct Node {
    state: State,
    /// Its connection that listens, as PostgreSQL calls it.
    listener: String,
}

impl Node {
    async fn beside(app: &TestApp) -> Self {
        let mut conn = beside(&app.database);
        // The first node's own has to be there before another one can be told from it.
        let patience = HEARD_WITHIN * 5;
        let before = soon(patience, "the first node to listen", || {
            Some(listeners(&mut conn)).filter(|found| found.len() == 1)
        });
        let config = Config::for_tests();
        let site = Site::load(&config).unwrap();
        let db = Db::open(&app.database.url, app.clock.clone(), site).unwrap();
        let state = State::load(db, &config, Passwords::for_tests().unwrap()).await.unwrap();
        let listener = soon(patience, "the second node to listen", || {
            listeners(&mut conn).into_iter().find(|pid| !before.contains(pid))
        });
        Self { state, listener }
    }

    /// What this node answers to a path with a key.
    async fn answer(&self, path: &str, secret: &str) -> u16 {
        let server = web::server(self.state.clone());
        let server = server.new_service(AppConfig::default()).await.unwrap();
        let request = TestRequest::with_uri(path)
            .peer_addr("203.0.113.10:50000".parse().unwrap())
            .insert_header(("Authorization", format!("Bearer {secret}")));
        server.call(request.to_request()).await.unwrap().status().as_u16()
    }

    async fn balance(&self, secret: &str) -> u16 {
        self.answer(&format!("/api/v1/distributors/{DEMO_ID}/balance"), secret).await
    }

    fn knows(&self, secret: &str) -> bool {
        self.state.index.find(&SecretHash::of_presented(secret).unwrap()).is_some()
    }

    fn deafen(&self, conn: &mut Conn) {
        let end = format!("SELECT pg_terminate_backend({})::int::bigint", self.listener);
        assert_eq!(number(conn, &end), 1);
    }
}

/// The connections that wait for news of keys.
pub(crate) fn listeners(conn: &mut Conn) -> Vec<String> {
    texts(
        conn,
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() \
         AND pid <> pg_backend_pid() AND query IN ('LISTEN countersign_keys', 'SELECT 1')",
    )
}

/// Waits for something that has to come in time.
#[track_caller]
pub(crate) fn soon<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < patience, "{what} took longer than {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn revoke(app: &TestApp, key: &str, label: &str) {
    let mut admin = app.sign_in("admin").await;
    admin.get(key).await.is(200);
    let fields = [("reason", "Leaked"), ("confirm_label", label)];
    admin.submit(&format!("{key}/revoke"), &fields).await.is(303);
}

async fn live_key(app: &TestApp, label: &str) -> (String, String) {
    app.live_key(label, &[("permissions", "read_balance")]).await
}

/// An app if this is PostgreSQL; on SQLite there is nobody to follow, which is all there is to see.
async fn first_node() -> Option<TestApp> {
    let app = TestApp::start().await;
    assert!(app.state.index.is_fresh());
    if app.database.is_postgres() {
        return Some(app);
    }
    assert!(app.db.follow().unwrap().is_none());
    None
}

#[actix_web::test]
async fn sqlite_has_nobody_to_follow_and_is_always_fresh() {
    let database = Database::sqlite();
    let clock = countersign::clock::Clock::System;
    let db = Db::open(&database.url, clock, Site::load(&Config::for_tests()).unwrap()).unwrap();
    assert!(db.follow().unwrap().is_none());
    let index: Arc<KeyIndex> = KeyIndex::load(&db).await.unwrap();
    assert!(index.is_fresh() && index.is_empty());
}

#[actix_web::test]
async fn a_key_revealed_on_one_node_opens_on_the_other_and_one_revoked_is_refused_within_a_second()
{
    let Some(app) = first_node().await else { return };
    let other = Node::beside(&app).await;
    for n in 0..5 {
        let label = format!("Everywhere {n}");
        let (key, secret) = live_key(&app, &label).await;
        soon(HEARD_WITHIN, "hearing of the reveal", || other.knows(&secret).then_some(()));
        assert_eq!(other.balance(&secret).await, 200);
        revoke(&app, &key, &label).await;
        soon(HEARD_WITHIN, "hearing of the revocation", || (!other.knows(&secret)).then_some(()));
        assert_eq!(other.balance(&secret).await, 401);
    }
}

#[actix_web::test]
async fn a_secret_that_was_used_on_one_node_is_not_replaced_on_the_other() {
    let Some(app) = first_node().await else { return };
    let other = Node::beside(&app).await;
    let (key, secret) = live_key(&app, "Used elsewhere").await;
    soon(HEARD_WITHIN, "hearing of the reveal", || other.knows(&secret).then_some(()));
    assert_eq!(other.balance(&secret).await, 200);
    let mut maker = app.sign_in("maker").await;
    maker.get(&key).await.is(200);
    maker.submit(&format!("{key}/reveal"), &[]).await.is(409);
    app.api(&secret).balance().await.is(200);
}

#[actix_web::test]
async fn a_node_that_lost_its_feed_catches_up_with_what_happened_meanwhile() {
    let Some(app) = first_node().await else { return };
    let other = Node::beside(&app).await;
    let (key, revoked) = live_key(&app, "Revoked meanwhile").await;
    let (_, kept) = live_key(&app, "Kept").await;
    soon(HEARD_WITHIN, "hearing of both", || {
        (other.knows(&revoked) && other.knows(&kept)).then_some(())
    });
    other.deafen(&mut beside(&app.database));
    revoke(&app, &key, "Revoked meanwhile").await;
    let (_, fresh) = live_key(&app, "Revealed meanwhile").await;
    soon(Duration::from_secs(3), "catching up", || {
        (!other.knows(&revoked) && other.knows(&fresh)).then_some(())
    });
    assert!(other.state.index.is_fresh());
    assert_eq!(other.balance(&revoked).await, 401);
    assert_eq!(other.balance(&fresh).await, 200);
    assert_eq!(other.balance(&kept).await, 200);
}

#[actix_web::test]
async fn a_node_that_cannot_hear_refuses_at_once_until_it_hears_again() {
    let Some(app) = first_node().await else { return };
    let other = Node::beside(&app).await;
    let (key, revoked) = live_key(&app, "Revoked meanwhile").await;
    let (_, kept) = live_key(&app, "Kept").await;
    soon(HEARD_WITHIN, "hearing of both", || {
        (other.knows(&revoked) && other.knows(&kept)).then_some(())
    });
    assert_eq!(other.balance(&kept).await, 200);
    let name = texts(&mut beside(&app.database), "SELECT current_database()::text").remove(0);
    let elsewhere = Database::postgres();
    let mut admin = beside(&elsewhere);
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"));
    other.deafen(&mut admin);
    soon(HEARD_WITHIN, "noticing that it is deaf", || {
        (!other.state.index.is_fresh()).then_some(())
    });
    revoke(&app, &key, "Revoked meanwhile").await;
    assert_eq!(other.balance(&revoked).await, 503);
    assert_eq!(other.balance(&kept).await, 503);
    assert_eq!(other.answer("/readyz", "").await, 503);
    assert_eq!(other.answer("/livez", "").await, 200);
    run(&mut admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"));
    soon(Duration::from_secs(3), "hearing again", || other.state.index.is_fresh().then_some(()));
    assert_eq!(other.balance(&revoked).await, 401);
    assert_eq!(other.balance(&kept).await, 200);
    assert_eq!(other.answer("/readyz", "").await, 200);
}
