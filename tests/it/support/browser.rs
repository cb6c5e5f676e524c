//! A person at a browser.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use actix_web::cookie::Cookie;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use scraper::{Html, Selector};

use super::TestApp;

/// What came back.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Page {
    /// Where it leads, for redirects.
    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of every element that fits a CSS selector, spaces folded.
    pub fn all(&self, css: &str) -> Vec<String> {
        let fold = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let html = Html::parse_document(&self.body);
        let selector = Selector::parse(css).unwrap();
        html.select(&selector).map(|element| fold(element.text().collect())).collect()
    }

    /// The text of the page's main part.
    pub fn text(&self) -> String {
        self.all("main").join(" ")
    }

    /// An attribute of the first element that fits a CSS selector.
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let html = Html::parse_document(&self.body);
        let selector = Selector::parse(css).unwrap();
        html.select(&selector).next().and_then(|element| element.attr(name)).map(str::to_owned)
    }

    /// The proof that forms of this page carry.
    pub fn csrf(&self) -> Option<String> {
        self.attribute("input[name=csrf]", "value")
    }

    /// The secret on a reveal page.
    pub fn secret(&self) -> Option<String> {
        self.attribute("input#api-key", "value")
    }

    /// Fails the test unless the page has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} -> {}", self.text(), self.location());
        self
    }

    /// Fails the test unless the page says this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.text().contains(text), "“{text}” is not in: {}", self.text());
        self
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A browser: keeps cookies, sends what browsers send, and finds the proof for its forms itself.
#[derive(Clone)]
pub struct Browser<'a> {
    app: &'a TestApp,
    pub cookies: BTreeMap<String, String>,
    pub csrf: String,
    pub peer: SocketAddr,
}

impl<'a> Browser<'a> {
    pub(super) fn new(app: &'a TestApp) -> Self {
        let peer = "203.0.113.10:50000".parse().unwrap();
        Self { app, cookies: BTreeMap::new(), csrf: String::new(), peer }
    }

    /// Opens a page and remembers the proof its forms carry.
    pub async fn get(&mut self, path: &str) -> Page {
        let page = self.send(self.request(Method::GET, path)).await;
        if let Some(csrf) = page.csrf() {
            self.csrf = csrf;
        }
        page
    }

    /// Sends a form with the proof of the last page.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = self.form(path, fields);
        let page = self.send(request).await;
        if let Some(csrf) = page.csrf() {
            self.csrf = csrf;
        }
        page
    }

    /// Opens where a redirect leads.
    pub async fn follow(&mut self, page: &Page) -> Page {
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
        self.get(page.location()).await
    }

    /// Signs in.
    pub async fn sign_in(&mut self, email: &str, password: &str) -> Page {
        self.get("/login").await;
        let page = self.submit("/login", &[("email", email), ("password", password)]).await;
        if page.status == StatusCode::SEE_OTHER {
            // Forms of the session carry another proof than those of a visitor.
            self.get("/").await;
        }
        page
    }

    /// A form as a browser sends it, for tests that change something about it first.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> TestRequest {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("csrf", &self.csrf).extend_pairs(fields);
        self.request(Method::POST, path)
            .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
            .insert_header(("sec-fetch-site", "same-origin"))
            .set_payload(body.finish())
    }

    /// A request with this browser's cookies.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let request = TestRequest::with_uri(path).method(method).peer_addr(self.peer);
        self.cookies.iter().fold(request, |request, (name, value)| {
            request.cookie(Cookie::new(name.clone(), value.clone()))
        })
    }

    /// Sends a request and keeps the cookies of the answer.
    pub async fn send(&mut self, request: TestRequest) -> Page {
        let page = self.app.answer(request.to_request()).await;
        for line in page.headers.get_all(header::SET_COOKIE) {
            let cookie = Cookie::parse_encoded(line.to_str().unwrap().to_owned()).unwrap();
            if cookie.max_age().is_some_and(actix_web::cookie::time::SignedDuration::is_zero) {
                self.cookies.remove(cookie.name());
            } else {
                self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
        page
    }

    /// Asks for a key with a label; gives the path of the request.
    pub async fn ask_for_key(&mut self, label: &str) -> String {
        self.ask_with(label, &[("permissions", "read_balance")]).await
    }

    /// Asks for a key with further fields, which replace the usual ones.
    pub async fn ask_with(&mut self, label: &str, fields: &[(&str, &str)]) -> String {
        let usual = [("environment", "production"), ("expires_in_days", "365"), ("api", "wallet")];
        let mut all = vec![("label", label)];
        all.extend(
            usual.into_iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name)),
        );
        all.extend(fields);
        self.get("/settings/api-keys/new").await.is(200);
        self.submit("/settings/api-keys", &all).await.is(303).location().to_owned()
    }

    /// Approves a request as it stands on its page.
    pub async fn approve(&mut self, request: &str) -> Page {
        let version = self.version_of(request).await;
        self.submit(&format!("{request}/approve"), &[("version", &version), ("comment", "")]).await
    }

    /// Rejects a request as it stands on its page.
    pub async fn reject(&mut self, request: &str, reason: &str) -> Page {
        let version = self.version_of(request).await;
        self.submit(&format!("{request}/reject"), &[("version", &version), ("reason", reason)])
            .await
    }

    async fn version_of(&mut self, request: &str) -> String {
        let page = self.get(request).await;
        page.attribute("input[name=version]", "value").unwrap_or_else(|| "1".to_owned())
    }

    /// Reveals a key; gives its secret.
    pub async fn reveal(&mut self, key: &str) -> String {
        self.get(key).await.is(200);
        let page = self.submit(&format!("{key}/reveal"), &[]).await.is(200);
        page.secret().expect("the page shows the key")
    }
}

impl TestApp {
    /// The path of the key that an approved request led to.
    pub async fn key_of(&self, request: &str) -> String {
        let id = request.trim_start_matches("/requests/").parse().unwrap();
        let key =
            self.db.read(move |c| countersign::store::keys::find_of_request(c, &id)).await.unwrap();
        format!("/settings/api-keys/{}", key.expect("the request led to a key").id)
    }

    /// A key of `maker` with these fields of the form, approved by `checker` and revealed: its path
    /// and its secret.
    pub async fn live_key(&self, label: &str, fields: &[(&str, &str)]) -> (String, String) {
        let mut maker = self.sign_in("maker").await;
        let request = maker.ask_with(label, fields).await;
        self.sign_in("checker").await.approve(&request).await.is(303);
        let key = self.key_of(&request).await;
        let secret = maker.reveal(&key).await;
        (key, secret)
    }
}
