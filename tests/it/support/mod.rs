//! A whole app per test: its own database, its own clock, its own mailbox.

pub mod api;
pub mod browser;
pub mod database;
pub mod dump;
pub mod http;
pub mod process;
pub mod smtp;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix_http::Request;
use actix_web::body::to_bytes;
use actix_web::dev::{AppConfig, Service as _, ServiceFactory as _};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use countersign::actions::members::{self, NewMember};
use countersign::actions::organisations::{self, NewOrganisation};
use countersign::actions::wallets;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::domain::id::OrganisationId;
use countersign::domain::member::Role;
use countersign::mail::{Mailer, Message};
use countersign::site::Site;
use countersign::store::{self, Db};
use countersign::web::passwords::Passwords;
use countersign::web::{self, State};
use countersign::worker::Worker;
use zeroize::Zeroizing;

pub use api::Api;
pub use browser::{Browser, Page};
pub use database::Database;

/// The password of everybody.
pub const PASSWORD: &str = "two people agree";
/// The organisation most tests happen in.
pub const DEMO_ID: &str = "36e48800-22ce-4ea0-b37a-198f7978cd53";

type Answer = Pin<Box<dyn Future<Output = Page>>>;

/// A server without a socket, and everything a test may look at beside it.
pub struct TestApp {
    pub db: Db,
    pub clock: Clock,
    pub state: State,
    pub worker: Worker,
    pub demo: OrganisationId,
    pub other: OrganisationId,
    sent: Arc<Mutex<Vec<Message>>>,
    service: Rc<dyn Fn(Request) -> Answer>,
    // Last, so that it is dropped after every connection.
    pub database: Database,
}

/// When tests begin.
pub fn start_of_test() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

impl TestApp {
    /// An app with the people of the demo: maker, maker2, checker, checker2, both, admin, viewer
    /// `@demo.example`, and maker, checker `@other.example`.
    pub async fn start() -> Self {
        Self::with(Config::for_tests()).await
    }

    /// The same with other settings.
    pub async fn with(config: Config) -> Self {
        let database = Database::fresh();
        let clock = Clock::fixed(start_of_test());
        let site = Site::load(&config).unwrap();
        let db = Db::open(&database.url, clock.clone(), site).unwrap();
        let (demo, other) = people(&db).await;
        let state =
            State::load(db.clone(), &config, Passwords::for_tests().unwrap()).await.unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let worker = Worker {
            db: db.clone(),
            index: state.index.clone(),
            mailer: Mailer::Memory(Arc::clone(&sent)),
            from: config.mail_from.clone(),
        };
        let service = service(state.clone()).await;
        Self { db, clock, state, worker, demo, other, sent, service, database }
    }

    /// A browser of somebody who is not signed in.
    pub fn visitor(&self) -> Browser<'_> {
        Browser::new(self)
    }

    /// A browser of a member: `maker`, or `maker@other.example`.
    pub async fn sign_in(&self, who: &str) -> Browser<'_> {
        let mut browser = self.visitor();
        let page = browser.sign_in(&email(who), PASSWORD).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{who} could not sign in: {}", page.body);
        browser
    }

    /// A client of the wallet API with this key.
    pub fn api(&self, secret: &str) -> Api<'_> {
        Api::new(self, secret)
    }

    /// Lets the worker do what is due, and gives the mails that left by it.
    pub async fn work(&self) -> Vec<Message> {
        self.worker.run_once().await.unwrap();
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Page {
        (self.service)(request).await
    }

    /// The audit entries with this action.
    pub async fn audit(&self, action: &'static str) -> Vec<countersign::domain::audit::Entry> {
        let all = self.db.read(|conn| store::audit::list_after(conn, 0, 100_000)).await.unwrap();
        all.into_iter().filter(|entry| entry.action == action).collect()
    }
}

/// `maker` is `maker@demo.example`.
pub fn email(who: &str) -> String {
    if who.contains('@') { who.to_owned() } else { format!("{who}@demo.example") }
}

async fn people(db: &Db) -> (OrganisationId, OrganisationId) {
    use Role::{Admin, Checker, Maker, Viewer};
    let hash =
        Passwords::for_tests().unwrap().hash(Zeroizing::new(PASSWORD.to_owned())).await.unwrap();
    let demo = organisation(db, "Demo Distributor", Some(DEMO_ID), "100000").await;
    let other = organisation(db, "Other Distributor", None, "300000").await;
    let rows: &[(&OrganisationId, &str, &[Role])] = &[
        (&demo, "maker", &[Maker]),
        (&demo, "maker2", &[Maker]),
        (&demo, "checker", &[Checker]),
        (&demo, "checker2", &[Checker]),
        (&demo, "both", &[Maker, Checker]),
        (&demo, "admin", &[Admin]),
        (&demo, "viewer", &[Viewer]),
        (&other, "maker@other.example", &[Maker]),
        (&other, "checker@other.example", &[Checker]),
    ];
    for (organisation, who, roles) in rows {
        let new = NewMember {
            organisation_id: (*organisation).clone(),
            email: email(who).parse().unwrap(),
            name: format!("The {who}"),
            roles: roles.iter().copied().collect(),
        };
        let hash = hash.clone();
        db.write(move |tx| members::add_active(tx, &new, &hash)).await.unwrap();
    }
    let funded = demo.clone();
    db.write(move |tx| wallets::fund_organisation(tx, &funded, "50000.00")).await.unwrap();
    (demo, other)
}

async fn organisation(db: &Db, name: &str, id: Option<&str>, short_code: &str) -> OrganisationId {
    let new = NewOrganisation {
        id: id.map(|id| id.parse().unwrap()),
        name: name.to_owned(),
        currency: "NGN".to_owned(),
        short_code: short_code.to_owned(),
        time_zone: "Africa/Lagos".to_owned(),
    };
    db.write(move |tx| organisations::create(tx, &new)).await.unwrap()
}

/// The app as a function from request to page, whatever its type is called.
async fn service(state: State) -> Rc<dyn Fn(Request) -> Answer> {
    let service = Rc::new(web::server(state).new_service(AppConfig::default()).await.unwrap());
    Rc::new(move |request| {
        let service = Rc::clone(&service);
        Box::pin(async move {
            match service.call(request).await {
                Ok(res) => {
                    let (status, headers) = (res.status(), res.headers().clone());
                    page(status, headers, &to_bytes(res.into_body()).await.unwrap_or_default())
                }
                Err(e) => {
                    let res = e.error_response();
                    let (status, headers) = (res.status(), res.headers().clone());
                    page(status, headers, &to_bytes(res.into_body()).await.unwrap())
                }
            }
        })
    })
}

fn page(status: StatusCode, headers: HeaderMap, body: &[u8]) -> Page {
    Page { status, headers, body: String::from_utf8_lossy(body).into_owned() }
}
