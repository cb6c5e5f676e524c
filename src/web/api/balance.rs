//! What the wallet of a distributor holds.

use actix_web::http::header::ContentType;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::ApiError;
use super::gate::{Gate, Needs};
use crate::web::State;

/// `GET /api/v1/distributors/{id}/balance`
pub(super) async fn balance(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let gate = Gate::open(&req, &state, Needs::wallet("balance", "read_balance", &req))?;
    let pass = gate.take().await?;
    let balance = pass.gate.entry.rule().account.balance();
    pass.allow(0);
    let body = format!("{{\"balance\":\"{}\"}}", balance.plain());
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(body))
}
