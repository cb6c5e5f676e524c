//! What goes round every answer to a machine: an id, few headers, and a net for panics. Round the
//! handler itself rather than in a layer, which would cost every call some microseconds.

use std::pin::Pin;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use super::ApiError;
use crate::web::State;
use crate::web::connections::InUse;
use crate::web::context::Context;
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
        let context = Context::of_machine(secure);
        let id = HeaderValue::from_str(&context.request_id).ok();
        let in_use = InUse::begin(&req);
        let answer = survive(handler(req, state, payload), ApiError::from);
        Box::pin(async move {
            let answer = async { answer.await.unwrap_or_else(|why| why.error_response()) };
            let mut res = context.scope(answer).await;
            dress(&mut res, id, secure);
            drop(in_use);
            res
        })
    }
}

fn dress(res: &mut HttpResponse, id: Option<HeaderValue>, secure: bool) {
    let headers = res.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(id) = id {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, YEAR);
    }
}
