//! The APIs for machines: JSON, opened by keys. No session, no cookie.

mod balance;
mod body;
mod cashouts;
mod credentials;
mod error;
mod gate;
mod keys;
mod openapi;
mod operations;
mod spending;
mod verify;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{ServiceConfig, get, post, put, resource, to};
use actix_web::{HttpRequest, HttpResponse, Resource};

pub(super) use credentials::KeyHeaders;
pub(super) use error::ApiError;
pub(super) use spending::Till;

/// Every endpoint below `/api`; the most called first, because they are looked through in order.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(at("/v1/verify", "POST").route(post().to(verify::verify)))
        .service(at("/v1/distributors/{id}/balance", "GET, HEAD").route(get().to(balance::balance)))
        .service(
            at("/v1/distributors/{id}/operations", "GET, HEAD, POST")
                .route(get().to(operations::list))
                .route(post().to(operations::create)),
        )
        .service(at("/v1/distributors/{id}/cashouts", "GET, HEAD").route(get().to(cashouts::list)))
        .service(
            at("/v1/distributors/{id}/cashouts/{operation}", "PUT")
                .route(put().to(cashouts::process)),
        )
        .service(at("/v1/keys/self", "GET, HEAD").route(get().to(keys::show)))
        .service(at("/v1/keys/self/revoke", "POST").route(post().to(keys::revoke)))
        .service(at("/v1/openapi.json", "GET, HEAD").route(get().to(openapi::document)))
        .default_service(to(unknown));
}

/// A path that answers other methods than the `allowed` ones with 405.
fn at(path: &str, allowed: &'static str) -> Resource {
    resource(path).default_service(to(move |_: HttpRequest| async move {
        let message = format!("This endpoint takes {allowed} only");
        let mut res =
            error::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message, None);
        res.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        std::future::ready(res).await
    }))
}

/// Any other path.
async fn unknown() -> HttpResponse {
    let message = "There is no such endpoint";
    std::future::ready(error::problem(StatusCode::NOT_FOUND, "not_found", message, None)).await
}
