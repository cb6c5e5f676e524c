//! What is known of the HTTP request being answered, wherever in the answering one is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::ServiceRequest;
use actix_web::http::header;

tokio::task_local! {
    static CURRENT: Context;
}

/// The id of a request and the look its page should have.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// As in `X-Request-Id`.
    pub(super) request_id: String,
    /// `light` or `dark` if the person chose one, else empty.
    pub(super) theme: &'static str,
    /// The page of ours that the request came from, as a path; empty if it came from elsewhere.
    pub(super) came_from: String,
    /// Whether people come over https, so that cookies can insist on it.
    pub(super) secure: bool,
}

impl Context {
    /// A new context; the id is ours, never the client's, so that it can be trusted in logs.
    pub(super) fn new(req: &ServiceRequest, secure: bool) -> Self {
        let theme = match req.cookie("theme").as_ref().map(actix_web::cookie::Cookie::value) {
            Some("light") => "light",
            Some("dark") => "dark",
            _ => "",
        };
        Self { request_id: new_request_id(), theme, came_from: came_from(req), secure }
    }

    /// The context of a call by a machine, which has no look.
    pub(super) fn of_machine(secure: bool) -> Self {
        Self { request_id: new_request_id(), secure, ..Self::default() }
    }

    /// Runs a future inside this context.
    pub(super) async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The context of the request being answered; empty outside of one.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }
}

/// The id of the request being answered; empty outside of one.
pub(super) fn request_id() -> String {
    CURRENT.try_with(|context| context.request_id.clone()).unwrap_or_default()
}

/// An id that no other request of any node has: no secret, so no fresh randomness is spent on it.
fn new_request_id() -> String {
    static NODE: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let node = NODE.get_or_init(|| uuid::Uuid::new_v4().as_u64_pair().0);
    format!("{node:016x}{:016x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The path of the `Referer`, if it names the host that was asked.
fn came_from(req: &ServiceRequest) -> String {
    let text = |name| req.headers().get(name).and_then(|value| value.to_str().ok());
    let page = text(header::REFERER).and_then(|page| url::Url::parse(page).ok());
    let ours = page.filter(|page| {
        text(header::HOST) == Some(&page[url::Position::BeforeHost..url::Position::AfterPort])
    });
    ours.map_or_else(String::new, |page| {
        page[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
    })
}
