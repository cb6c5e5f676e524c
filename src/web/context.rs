//! What is known of the HTTP request being answered, wherever in the answering one is.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderValue};

tokio::task_local! {
    static CURRENT: Context;
}

/// The id of a request and the look its page should have.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// As in `X-Request-Id`.
    pub(super) request_id: RequestId,
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
        Self { request_id: RequestId::next(), theme, came_from: came_from(req), secure }
    }

    /// The context of a call by a machine, which has no look.
    pub(super) fn of_machine(secure: bool) -> Self {
        Self { request_id: RequestId::next(), secure, ..Self::default() }
    }

    /// Runs what need not wait inside this context.
    pub(super) fn scope_now<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
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
pub(super) fn request_id() -> RequestId {
    CURRENT.try_with(|context| context.request_id).unwrap_or_default()
}

/// An id that no other request of any node has: no secret, so no fresh randomness is spent on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestId(Option<[u8; 32]>);

impl RequestId {
    fn next() -> Self {
        static NODE: OnceLock<[u8; 16]> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let node = NODE.get_or_init(|| hexadecimal(uuid::Uuid::new_v4().as_u64_pair().0));
        let mut id = [0; 32];
        let (first, second) = id.split_at_mut(16);
        first.copy_from_slice(node);
        second.copy_from_slice(&hexadecimal(NEXT.fetch_add(1, Ordering::Relaxed)));
        Self(Some(id))
    }

    /// 32 hexadecimal digits, or nothing outside of a request.
    pub(super) fn as_str(&self) -> &str {
        let digits = self.0.as_ref().map(|id| std::str::from_utf8(id).unwrap_or_default());
        digits.unwrap_or_default()
    }

    /// The same for a header.
    pub(super) fn to_header(self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.as_str().as_bytes()).ok()
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    // As many as there is room for.
    let _ = write!(digits.as_mut_slice(), "{number:016x}");
    digits
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
