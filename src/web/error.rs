//! Turns an [`Error`] into the page a person sees, and logs the cause of a fault once.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use askama::Template;

use super::context::Context;
use super::outer::see_other;
use super::page::html;
use crate::domain::refusal::Refusal;
use crate::error::Error;

#[derive(Template)]
#[template(path = "errors/problem.html")]
struct ProblemPage<'a> {
    status: u16,
    title: &'a str,
    message: &'a str,
    request_id: &'a str,
    theme: &'a str,
    /// The page to go back to; empty if unknown.
    back: &'a str,
}

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// An action or a read failed.
    #[error(transparent)]
    Failed(#[from] Error),
    /// Nobody is signed in; holds the page to come back to.
    #[error("sign in first")]
    SignInFirst(String),
    /// The request itself is not acceptable.
    #[error("{1}")]
    BadRequest(StatusCode, &'static str),
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(Error::Refused(refusal))
    }
}

impl PageError {
    fn title(&self) -> &'static str {
        match self.status_code().as_u16() {
            403 => "You may not do this",
            404 => "Page not found",
            405 => "That does not work here",
            409 => "It has changed",
            429 => "Too many attempts",
            503 => "The server is busy",
            500 => "Something went wrong",
            _ => "That did not work",
        }
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Failed(e) => status(e),
            Self::SignInFirst(_) => StatusCode::SEE_OTHER,
            Self::BadRequest(status, _) => *status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::SignInFirst(next) = self {
            return see_other(&super::sign_in::url(next));
        }
        if let Self::Failed(e) = self {
            log(e);
        }
        let context = Context::current();
        let page = ProblemPage {
            status: self.status_code().as_u16(),
            title: self.title(),
            message: &self.to_string(),
            request_id: context.request_id.as_str(),
            theme: context.theme,
            back: &context.came_from,
        };
        let mut res = html(self.status_code(), &page);
        if let Self::Failed(e) = self {
            add_retry_after(&mut res, e);
        }
        res
    }
}

/// Says when to come back, where that is known.
pub(super) fn add_retry_after(res: &mut HttpResponse, e: &Error) {
    let seconds = match e {
        Error::Refused(Refusal::Throttled(seconds)) => *seconds,
        Error::Busy => 1,
        Error::Refused(_) | Error::NotFound | Error::Stale | Error::Internal(_) => return,
    };
    res.headers_mut().insert(header::RETRY_AFTER, seconds.into());
}

/// The status of an error, for pages and JSON alike.
pub(super) fn status(e: &Error) -> StatusCode {
    match e {
        Error::Refused(refusal) => refusal_status(refusal),
        Error::NotFound => StatusCode::NOT_FOUND,
        Error::Stale => StatusCode::CONFLICT,
        Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refusal_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::RoleMissing(_) | Refusal::OwnRequest | Refusal::NotYourRequest => {
            StatusCode::FORBIDDEN
        }
        Refusal::AlreadyClosed(_)
        | Refusal::AlreadyVoted
        | Refusal::RequestExpired
        | Refusal::AlreadyRevealed
        | Refusal::NothingToConfirm
        | Refusal::SecretReplaced
        | Refusal::NobodyCanApprove(_)
        | Refusal::CapReached(..)
        | Refusal::KeyEnded(_) => StatusCode::CONFLICT,
        Refusal::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::ReasonMissing
        | Refusal::LabelMismatch
        | Refusal::BadCredentials
        | Refusal::InvitationOver
        | Refusal::WeakPassword(_)
        | Refusal::EmailTaken(_)
        | Refusal::RolesDiffer(..)
        | Refusal::ShortCodeTaken(_)
        | Refusal::WalletTaken(_)
        | Refusal::NotEnoughMoney
        | Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Logs a fault of ours with its whole chain; the person only gets the request id.
pub(super) fn log(e: &Error) {
    let id = Context::current().request_id;
    let request_id = id.as_str();
    match e {
        Error::Internal(cause) => {
            tracing::error!(request_id, cause = format!("{cause:#}"), "internal error");
        }
        Error::Busy => tracing::warn!(request_id, "busy"),
        Error::Refused(_) | Error::NotFound | Error::Stale => (),
    }
}

/// The answer to an unsafe request from another site.
pub(super) fn forbidden_origin() -> PageError {
    PageError::BadRequest(
        StatusCode::FORBIDDEN,
        "This was sent by another site, so nothing was done. Open Countersign itself and try again.",
    )
}

/// The answer to a query string that means nothing.
pub(super) fn strange_query() -> PageError {
    PageError::BadRequest(
        StatusCode::BAD_REQUEST,
        "The part of the address after the question mark means nothing here.",
    )
}

/// Any path that no page has.
pub(super) async fn unknown_page(req: HttpRequest) -> Result<HttpResponse, PageError> {
    drop(req);
    std::future::ready(Err(Error::NotFound.into())).await
}

/// A known path with a method it does not have.
pub(super) async fn wrong_method(req: HttpRequest) -> HttpResponse {
    let allow = allowed_methods(&req);
    let mut res = PageError::BadRequest(
        StatusCode::METHOD_NOT_ALLOWED,
        "This address does not take that kind of request.",
    )
    .error_response();
    res.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    std::future::ready(res).await
}

/// What a page route takes: only lists and forms take GET, only their targets take POST.
fn allowed_methods(req: &HttpRequest) -> &'static str {
    let path = req.match_pattern().unwrap_or_default();
    let both = ["/login", "/invitation/{token}", "/settings/api-keys", "/operations"];
    let posts = ["/logout", "/reveal", "/confirm", "/revoke", "/approve", "/reject", "/withdraw"];
    if both.contains(&path.as_str()) {
        "GET, HEAD, POST"
    } else if posts.iter().any(|end| path.ends_with(end)) {
        "POST"
    } else {
        "GET, HEAD"
    }
}
