//! What goes round every answer: an id, security headers, one log line, and a net for panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error as ActixError, HttpResponse, ResponseError as _};

use super::State;
use super::connections::InUse;
use super::context::{Context, RequestId};
use super::error::{PageError, forbidden_origin};
use crate::error::Error;

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; \
    require-trusted-types-for 'script'";

pub(super) const YEAR: HeaderValue =
    HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// Headers of every page, errors included.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    // Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    ("referrer-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), \
         publickey-credentials-get=(self), publickey-credentials-create=(self)",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("x-frame-options", "DENY"),
];

/// The outermost layer.
pub(super) async fn wrap(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let secure = req.app_data::<Data<State>>().is_some_and(|state| state.settings.secure);
    let context = Context::new(&req, secure);
    let _in_use = InUse::begin(req.request().conn_data());
    if req.method() == Method::HEAD {
        // Answered like GET; the connection leaves the body out by itself.
        req.head_mut().method = Method::GET;
    }
    let (method, started) = (req.method().clone(), std::time::Instant::now());
    let id = context.request_id;
    let result = context
        .scope(async {
            // Answered here, where the request still has its id.
            let fault = |e| PageError::from(e).into();
            survive(next.call(req), fault).await.map_err(|e| answer(&e))
        })
        .await;
    match result {
        Ok(mut res) => {
            let route = res.request().match_pattern().unwrap_or_else(|| "none".to_owned());
            tracing::info!(
                request_id = id.as_str(), %method, route, status = res.status().as_u16(),
                ms = started.elapsed().as_millis(), "answered"
            );
            dress(res.headers_mut(), id, secure);
            Ok(res)
        }
        Err(mut res) => {
            tracing::info!(request_id = id.as_str(), %method, status = res.status().as_u16(), "answered with an error");
            dress(res.headers_mut(), id, secure);
            Err(InternalError::from_response("answered", res).into())
        }
    }
}

/// The answer to a request that failed outside its handler: a panic, another site, the session store.
fn answer(e: &ActixError) -> HttpResponse {
    if e.as_error::<PageError>().is_some() {
        return e.error_response();
    }
    // What the session store failed with arrives wrapped; its text says if it was only busy.
    let busy = e.to_string().contains(&Error::Busy.to_string());
    let error = if busy { Error::Busy } else { Error::internal(e) };
    PageError::from(error).error_response()
}

/// Refuses unsafe requests that a page of another site sent (Fetch Metadata, or Origin where a
/// browser lacks it). Forms carry a token besides.
pub(super) async fn same_site_only(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let origin = req
        .app_data::<Data<State>>()
        .map(|state| state.settings.origin.clone())
        .unwrap_or_default();
    if req.method().is_safe() || is_same_site(req.headers(), &origin) {
        next.call(req).await
    } else {
        Err(forbidden_origin().into())
    }
}

fn is_same_site(headers: &HeaderMap, own: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
        None => true,
        // Beyond loopback and without https browsers send no Fetch Metadata; then the page's own host counts.
        Some(Ok(origin)) => origin == own || is_own_host(headers, origin, own),
        Some(Err(_)) => false,
    }
}

/// True if a page of plain http names the very host it was opened under. Over https only the
/// configured address counts.
fn is_own_host(headers: &HeaderMap, origin: &str, own: &str) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    own.starts_with("http://") && host.is_some() && origin.strip_prefix("http://") == host
}

/// Turns a panic into an error, so that the connection gets an answer.
pub(super) async fn survive<T, E>(
    future: impl Future<Output = Result<T, E>>,
    fault: fn(Error) -> E,
) -> Result<T, E> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(fault(Error::internal("a handler panicked")))))
    })
    .await
}

fn dress(headers: &mut HeaderMap, request_id: RequestId, secure: bool) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(id) = request_id.to_header() {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, YEAR);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// An empty answer that leads elsewhere.
pub(super) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}
