//! Cash that customers asked for: listing what waits, and saying that it was handed over.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use chrono::SecondsFormat;
use serde_json::json;

use super::gate::{Gate, Needs, organisation};
use super::operations::PageQuery;
use super::spending::{attempt, attempt_name, verdict};
use super::{ApiError, body};
use crate::actions::cashouts::{self, Report};
use crate::domain::cashout::{Cashout, ProcessingDraft, parse_place};
use crate::domain::id::CashoutId;
use crate::domain::money::{Currency, Money};
use crate::error::Error;
use crate::store;
use crate::web::State;

/// Padded, so that anybody's base64 can read it; the padding may be lost on the way through an address.
const CURSOR: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `GET /api/v1/distributors/{id}/cashouts?cursor=&limit=100`
pub(super) async fn list(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs::wallet("cashouts.list", "read_transactions", organisation(&req));
    let gate = Gate::open(req.head(), &state, needs)?;
    let query = PageQuery::read(&req).map_err(|why| gate.refuse(why))?;
    let limit = query.limit().map_err(|why| gate.refuse(why))?;
    let cursor = query.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let after = match cursor.map(|cursor| decode(cursor).ok_or(())) {
        None => None,
        Some(Ok(place)) => Some(place),
        Some(Err(())) => {
            let why = ApiError::invalid("cursor", "cursor must be one that an earlier answer gave");
            return Err(gate.refuse(why));
        }
    };
    let pass = gate.take().await?;
    let organisation = pass.gate.entry.rule().account.organisation.clone();
    let (owner, currency) = (organisation.id, organisation.currency);
    // One more than asked for tells whether there is a next page.
    let more = limit.saturating_add(1);
    let found = state
        .db
        .read(move |conn| store::cashouts::list_waiting(conn, &owner, after.as_ref(), more));
    let mut found = match found.await {
        Ok(found) => found,
        Err(e) => return Err(pass.refuse(e.into())),
    };
    pass.allow(0);
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > page;
    found.truncate(page);
    let next = found.last().filter(|_| has_more).map(encode).unwrap_or_default();
    let items: Vec<_> = found.iter().map(|one| show(one, currency)).collect();
    Ok(HttpResponse::Ok().json(json!({ "items": items, "nextCursor": next, "limit": limit })))
}

/// `PUT /api/v1/distributors/{id}/cashouts/{operation}`
pub(super) async fn process(
    req: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs::wallet("cashouts.process", "perform_operations", organisation(&req));
    let gate = Gate::open(req.head(), &state, needs)?;
    let name = attempt_name(&req).map_err(|why| gate.refuse(why))?;
    let draft: ProcessingDraft = body::read(req.head(), payload.into_inner())
        .await
        .and_then(|body| body::parse(&body))
        .map_err(|why| gate.refuse(why))?;
    let processing = draft.parse().map_err(|fault| gate.refuse(ApiError::Invalid(fault)))?;
    let id = req.match_info().get("operation").unwrap_or_default();
    let id: Result<CashoutId, _> = id.strip_prefix("op_").unwrap_or(id).parse();
    let cashout_id = id.map_err(|_| gate.refuse(Error::NotFound.into()))?;
    let rule = gate.entry.rule();
    let (key_id, organisation_id) = (rule.id(), rule.account.organisation.id.clone());
    let flight = name.as_ref().map(|name| state.till.board(key_id.as_str(), name)).transpose();
    let _flight = flight.map_err(|why| gate.refuse(why))?;
    let call = format!("cashouts.process {cashout_id}");
    let attempt = name.map(|name| attempt(key_id.as_str(), &name, &call, &draft));
    let origin = gate.origin();
    let answer = json!({ "operationID": format!("op_{cashout_id}") });
    let pass = gate.take().await?;
    let report = Report { key_id, organisation_id, cashout_id, processing, attempt, origin };
    match verdict(state.db.write(move |tx| cashouts::process(tx, &report)).await) {
        Ok(amount) => {
            pass.allow(amount);
            Ok(HttpResponse::Ok().json(answer))
        }
        Err(why) => Err(pass.refuse(why)),
    }
}

fn show(cashout: &Cashout, currency: Currency) -> serde_json::Value {
    json!({
        "cursor": encode(cashout),
        "operationID": format!("op_{}", cashout.id),
        "type": "cash-out",
        "from": cashout.from,
        "amount": Money::from_minor(cashout.amount, currency).plain(),
        "memo": cashout.memo,
        "createdAt": cashout.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    })
}

fn encode(cashout: &Cashout) -> String {
    CURSOR.encode(cashout.place())
}

fn decode(cursor: &str) -> Option<(chrono::DateTime<chrono::Utc>, CashoutId)> {
    parse_place(&String::from_utf8(CURSOR.decode(cursor).ok()?).ok()?)
}
