//! What the wallet of a distributor holds.

use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::gate::{Gate, Needs, Pass, organisation};
use super::{ApiError, JSON};
use crate::web::State;

/// `GET /api/v1/distributors/{id}/balance`
pub(super) async fn balance(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs::wallet("balance", "read_balance", organisation(&req));
    let pass = Gate::open(req.head(), &state, needs)?.take().await?;
    Ok(answer(pass))
}

/// The distributor whose balance is asked for, if the address is as plain as it usually is.
pub(in crate::web) fn organisation_of(req: &RequestHead) -> Option<&str> {
    let id = req.uri.path().strip_prefix("/api/v1/distributors/")?.strip_suffix("/balance")?;
    let is_plain = !id.is_empty() && !id.contains(['/', '%']);
    (is_plain && req.method == Method::GET).then_some(id)
}

/// The same answer at once; nothing if the call is the first of its key, which is written down.
pub(in crate::web) fn answer_now(
    req: &RequestHead,
    state: &State,
    organisation: &str,
) -> Option<Result<HttpResponse, ApiError>> {
    let needs = Needs::wallet("balance", "read_balance", organisation);
    let pass = match Gate::open(req, state, needs) {
        Ok(gate) => gate.take_now()?,
        Err(why) => Err(why),
    };
    Some(pass.map(answer))
}

fn answer(pass: Pass<'_>) -> HttpResponse {
    let balance = pass.gate.entry.rule().account.balance();
    pass.allow(0);
    let body = ["{\"balance\":\"", &balance.plain(), "\"}"].concat();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(body)
}
