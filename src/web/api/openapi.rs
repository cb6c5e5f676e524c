//! The description of everything below `/api`, for tools.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// `GET /api/v1/openapi.json`
pub(super) async fn document() -> HttpResponse {
    let res = HttpResponse::Ok().insert_header(ContentType::json()).body(DOCUMENT);
    std::future::ready(res).await
}
