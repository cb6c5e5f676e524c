//! What is known of the HTTP request being answered, wherever in the answering one is.

use actix_web::dev::ServiceRequest;

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
        Self { request_id: uuid::Uuid::new_v4().simple().to_string(), theme, secure }
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
