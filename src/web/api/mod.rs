//! The APIs for machines: JSON, opened by keys. No session, no cookie.

pub(super) mod balance;
mod body;
mod cashouts;
mod credentials;
mod error;
mod gate;
mod keys;
pub(super) mod machine;
mod openapi;
mod operations;
mod spending;
pub(super) mod verify;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{ServiceConfig, get, head, post, put, resource, scope, to};
use actix_web::{HttpResponse, Resource};

pub(super) use credentials::KeyHeaders;
pub(super) use error::ApiError;
pub(super) use gate::{Gate, Needs, find_key, refused};
pub(super) use spending::Till;

use machine::machine;

/// What every answer with a body is.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Every endpoint below `/api`; the most called first, because they are looked through in order, and
/// without a layer round them, because each costs every call as much as a check.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    let distributor = |tail: &str| format!("/api/v1/distributors/{{id}}/{tail}");
    cfg.service(at("/api/v1/verify", "POST").route(post().to(machine(verify::verify))))
        .service(
            at(&distributor("balance"), "GET, HEAD")
                .route(get().to(machine(balance::balance)))
                .route(head().to(machine(balance::balance))),
        )
        .service(
            at(&distributor("operations"), "GET, HEAD, POST")
                .route(get().to(machine(operations::list)))
                .route(head().to(machine(operations::list)))
                .route(post().to(machine(operations::create))),
        )
        .service(
            at(&distributor("cashouts"), "GET, HEAD")
                .route(get().to(machine(cashouts::list)))
                .route(head().to(machine(cashouts::list))),
        )
        .service(
            at(&distributor("cashouts/{operation}"), "PUT")
                .route(put().to(machine(cashouts::process))),
        )
        .service(
            at("/api/v1/keys/self", "GET, HEAD")
                .route(get().to(machine(keys::show)))
                .route(head().to(machine(keys::show))),
        )
        .service(at("/api/v1/keys/self/revoke", "POST").route(post().to(machine(keys::revoke))))
        .service(
            at("/api/v1/openapi.json", "GET, HEAD")
                .route(get().to(machine(openapi::document)))
                .route(head().to(machine(openapi::document))),
        )
        .service(scope("/api").default_service(to(machine(unknown))));
}

/// A path that answers other methods than the `allowed` ones with 405.
fn at(path: &str, allowed: &'static str) -> Resource {
    resource(path).default_service(to(machine(move |_, _, _| async move {
        let message = format!("This endpoint takes {allowed} only");
        let mut res =
            error::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message, None);
        res.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        std::future::ready(Ok::<_, ApiError>(res)).await
    })))
}

/// Any other path.
pub(super) async fn unknown(
    _: actix_web::HttpRequest,
    _: actix_web::web::Data<super::State>,
    _: actix_web::web::Payload,
) -> Result<HttpResponse, ApiError> {
    let message = "There is no such endpoint";
    let res = error::problem(StatusCode::NOT_FOUND, "not_found", message, None);
    std::future::ready(Ok(res)).await
}
