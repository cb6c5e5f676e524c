//! A program that calls the wallet API with a key, and the wallets it moves money between.

use std::net::SocketAddr;

use actix_web::http::{Method, header};
use actix_web::test::TestRequest;
use actix_web::web::Bytes;
use countersign::actions::{cashouts, wallets};
use countersign::config::Config;
use countersign::domain::id::{CashoutId, OrganisationId};
use countersign::domain::member::{Actor, Origin};
use countersign::store;
use serde_json::{Value, json};

use super::{DEMO_ID, Page, TestApp, email};

/// The body of every 401.
pub const REFUSED: &str = r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#;
/// An end user with money, and one without.
pub const RICH: &str = "+234 8123456781";
pub const POOR: &str = "+234 8123456782";
/// The merchant.
pub const MERCHANT: &str = "200000";
/// Fields of a key that may ask for operations.
pub const OPERATES: (&str, &str) = ("permissions", "perform_operations");

/// A client with a key.
pub struct Api<'a> {
    app: &'a TestApp,
    secret: String,
    pub peer: SocketAddr,
}

impl<'a> Api<'a> {
    pub(super) fn new(app: &'a TestApp, secret: &str) -> Self {
        Self { app, secret: secret.to_owned(), peer: "203.0.113.10:50000".parse().unwrap() }
    }

    /// The same client at another address.
    pub fn at(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    /// A request with the key.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::with_uri(path)
            .method(method)
            .peer_addr(self.peer)
            .insert_header((header::AUTHORIZATION, format!("Bearer {}", self.secret)))
    }

    /// A request with the key and a body that says it is JSON.
    pub fn json(&self, method: Method, path: &str, body: impl Into<Bytes>) -> TestRequest {
        let json = (header::CONTENT_TYPE, "application/json");
        self.request(method, path).insert_header(json).set_payload(body)
    }

    /// Sends a request.
    pub async fn send(&self, request: TestRequest) -> Page {
        self.app.answer(request.to_request()).await
    }

    /// `GET` with the key.
    pub async fn get(&self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` of an object.
    pub async fn post(&self, path: &str, body: &Value) -> Page {
        self.send(self.json(Method::POST, path, body.to_string())).await
    }

    /// `PUT` of an object.
    pub async fn put(&self, path: &str, body: &Value) -> Page {
        self.send(self.json(Method::PUT, path, body.to_string())).await
    }

    /// `GET …/balance` of the demo's distributor.
    pub async fn balance(&self) -> Page {
        self.get(&path("balance")).await
    }

    /// `GET /api/v1/keys/self`.
    pub async fn about_itself(&self) -> Page {
        self.get("/api/v1/keys/self").await
    }

    /// Asks for a cash-in to the end user with money.
    pub async fn cash_in(&self, amount: &str) -> Page {
        self.post(&path("operations"), &cash_in(amount)).await
    }

    /// The same under a name.
    pub async fn cash_in_as(&self, amount: &str, name: &str) -> Page {
        self.send(self.named_cash_in(amount, name)).await
    }

    /// The request of that.
    pub fn named_cash_in(&self, amount: &str, name: &str) -> TestRequest {
        let request = self.json(Method::POST, &path("operations"), cash_in(amount).to_string());
        request.insert_header(("idempotency-key", name))
    }
}

/// A path of the demo's distributor.
pub fn path(rest: &str) -> String {
    format!("/api/v1/distributors/{DEMO_ID}/{rest}")
}

/// The body of a cash-in to the end user with money.
pub fn cash_in(amount: &str) -> Value {
    json!({ "operationType": "cash-in", "amount": amount, "phoneTo": RICH })
}

/// The body of a cash-out of the end user with money.
pub fn cash_out(amount: &str) -> Value {
    json!({ "operationType": "cash-out-fulfillment", "amount": amount, "phoneFrom": RICH,
        "cashOutFulfillmentType": "cash" })
}

/// The embedded catalogue with another rate limit for the wallet API.
pub fn with_rate_limit(calls: u32, seconds: u32) -> (Config, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let usual = "rate_limit = { calls = 1000, seconds = 10 }";
    let wallet = include_str!("../../../catalogue/wallet.toml");
    assert!(wallet.contains(usual));
    let other = format!("rate_limit = {{ calls = {calls}, seconds = {seconds} }}");
    std::fs::write(dir.path().join("wallet.toml"), wallet.replace(usual, &other)).unwrap();
    let countersign = include_str!("../../../catalogue/countersign.toml");
    std::fs::write(dir.path().join("countersign.toml"), countersign).unwrap();
    (Config { catalogue_dir: Some(dir.path().to_owned()), ..Config::for_tests() }, dir)
}

impl Page {
    /// The stable code of a refusal, empty if there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails the test unless this is a refusal of the API in its documented shape.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(!self.header("x-request-id").is_empty());
        if status == 401 {
            assert_eq!((self.body.as_str(), self.header("www-authenticate")), (REFUSED, "Bearer"));
            return self;
        }
        let body = self.json();
        assert_eq!(body["error"].as_str(), self.status.canonical_reason());
        assert!(body["message"].as_str().is_some_and(|text| text.len() > 5), "{body}");
        let known = ["error", "code", "message", "field"];
        assert!(body.as_object().unwrap().keys().all(|name| known.contains(&name.as_str())));
        self
    }

    /// The id of the operation that was made, without its prefix.
    #[track_caller]
    pub fn operation(&self) -> String {
        assert_eq!(self.status.as_u16(), 200, "{}", self.body);
        let body = self.json();
        let id = body["operationID"].as_str().unwrap().strip_prefix("op_").unwrap().to_owned();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        id.parse::<uuid::Uuid>().unwrap();
        id
    }
}

impl TestApp {
    /// The end users and the merchant of the demo, beside the 50,000.00 of its distributor.
    pub async fn open_wallets(&self) {
        let demo = self.demo.clone();
        let opened = self.db.write(move |tx| {
            let ngn = store::organisations::get(tx.conn, &demo)?.currency;
            let rich = wallets::open_for_person(tx, RICH, "End user 1", ngn)?;
            wallets::fund(tx, &rich, "20000.00", None)?;
            wallets::open_for_person(tx, POOR, "End user 2", ngn)?;
            wallets::open_for_merchant(tx, MERCHANT, "ABC Store", ngn)
        });
        opened.await.unwrap();
    }

    /// The app with the wallets of the demo.
    pub async fn with_wallets() -> Self {
        let app = Self::start().await;
        app.open_wallets().await;
        app
    }

    /// A customer asks the organisation for cash.
    pub async fn ask_cashout(&self, owner: &OrganisationId, amount: &str) -> CashoutId {
        let (owner, amount) = (owner.clone(), amount.to_owned());
        let memo = Some("ATM withdrawal".to_owned());
        let asked = self.db.write(move |tx| cashouts::ask(tx, &owner, RICH, &amount, memo));
        asked.await.unwrap()
    }

    /// A member as the one who acts.
    pub async fn actor(&self, who: &str) -> Actor {
        let email = email(who).parse().unwrap();
        let found = self.db.read(move |conn| store::members::find_by_email(conn, &email));
        Actor { member: found.await.unwrap().unwrap().0, origin: Origin::default() }
    }

    /// A checker approves an operation on its page.
    pub async fn approve_operation(&self, id: &str) {
        self.sign_in("checker").await.approve(&format!("/requests/{id}")).await.is(303);
    }

    /// A checker rejects an operation on its page.
    pub async fn reject_operation(&self, id: &str) {
        let path = format!("/requests/{id}");
        self.sign_in("checker").await.reject(&path, "Not today").await.is(303);
    }

    /// What the wallet with this phone number or short code holds, in minor units.
    pub fn holds(&self, party: &str) -> i64 {
        self.number(&format!(
            "SELECT balance FROM wallets WHERE phone = '{party}' OR short_code = '{party}'"
        ))
    }

    /// What the demo's distributor holds, in minor units.
    pub fn own_balance(&self) -> i64 {
        self.number(&format!("SELECT balance FROM wallets WHERE organisation_id = '{DEMO_ID}'"))
    }

    /// What keys have used of all days together, in minor units.
    pub fn used(&self) -> i64 {
        self.number("SELECT coalesce(sum(used), 0) FROM key_volumes")
    }

    /// How many operations there are.
    pub fn operations(&self) -> i64 {
        self.number("SELECT count(*) FROM operations")
    }
}
