//! The description of everything below `/api`, for tools.

use actix_web::http::header::ContentType;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::ApiError;
use crate::web::State;

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// `GET /api/v1/openapi.json`
pub(super) async fn document(
    _: HttpRequest,
    _: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let res = HttpResponse::Ok().insert_header(ContentType::json()).body(DOCUMENT);
    std::future::ready(Ok(res)).await
}
