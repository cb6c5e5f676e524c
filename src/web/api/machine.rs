//! What goes round every answer to a machine: an id, few headers, and a net for panics. Round the
//! handler itself rather than in a layer, which would cost every call some microseconds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use super::ApiError;
use crate::error::Error;
use crate::web::State;
use crate::web::connections::InUse;
use crate::web::context::{Context, RequestId};
use crate::web::outer::{YEAR, survive};

/// Nothing in an answer to a machine is to be shown by a browser.
const CSP: &str = "default-src 'none'; frame-ancestors 'none'";

/// An answer on its way.
type Answer = Pin<Box<dyn Future<Output = HttpResponse>>>;

/// A handler for machines, dressed.
pub(in crate::web) fn machine<F, Fut>(
    handler: F,
) -> impl Fn(HttpRequest, Data<State>, Payload) -> Answer + Clone
where
    F: Fn(HttpRequest, Data<State>, Payload) -> Fut + Clone + 'static,
    Fut: Future<Output = Result<HttpResponse, ApiError>> + 'static,
{
    move |req, state, payload| {
        // A proxy hands refusals on under a name of its own, which may have no https.
        let secure = state.settings.secure && !req.path().starts_with("/auth/");
        let in_use = InUse::begin(req.conn_data());
        let answer = answer(secure, handler(req, state, payload));
        Box::pin(async move {
            let res = answer.await;
            drop(in_use);
            res
        })
    }
}

/// The dressed answer of a handler.
pub(in crate::web) async fn answer(
    secure: bool,
    handler: impl Future<Output = Result<HttpResponse, ApiError>>,
) -> HttpResponse {
    let context = Context::of_machine(secure);
    let id = context.request_id;
    let answer =
        async { survive(handler, ApiError::from).await.unwrap_or_else(|why| why.error_response()) };
    dress(context.scope(answer).await, id, secure)
}

/// The dressed answer of a handler that need not wait; nothing if it has to.
pub(in crate::web) fn answer_now(
    secure: bool,
    handler: impl FnOnce() -> Option<Result<HttpResponse, ApiError>>,
) -> Option<HttpResponse> {
    let context = Context::of_machine(secure);
    let id = context.request_id;
    let answer = context.scope_now(|| {
        let answer = catch_unwind(AssertUnwindSafe(handler));
        let panicked = |_| Some(Err(Error::internal("a handler panicked").into()));
        let answer = answer.unwrap_or_else(panicked)?;
        Some(answer.unwrap_or_else(|why| why.error_response()))
    });
    Some(dress(answer?, id, secure))
}

fn dress(mut res: HttpResponse, id: RequestId, secure: bool) -> HttpResponse {
    let headers = res.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(id) = id.to_header() {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, YEAR);
    }
    res
}
