//! Operations: listing them, and asking for one.

use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::SecondsFormat;
use serde_json::json;

use super::gate::{Gate, Needs, organisation};
use super::spending::{attempt, attempt_name, verdict};
use super::{ApiError, body};
use crate::actions::operations::Wish;
use crate::domain::money::{Currency, Money};
use crate::domain::movement::Draft;
use crate::domain::operation::Operation;
use crate::store;
use crate::store::operations::Filter;
use crate::web::State;

/// What may stand in the query of a list; text, so that every mistake gets a sentence of ours.
#[derive(serde::Deserialize)]
pub(super) struct PageQuery {
    limit: Option<String>,
    offset: Option<String>,
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    /// The query of a request, each parameter once.
    pub(super) fn read(req: &HttpRequest) -> Result<Self, ApiError> {
        let read = Query::from_query(req.query_string()).map(Query::into_inner);
        read.map_err(|_| ApiError::invalid("", "The query of the address cannot be read"))
    }

    /// How many: 100 unless told, 1,000 at most.
    pub(super) fn limit(&self) -> Result<i64, ApiError> {
        number(self.limit.as_deref(), 100, 1..=1_000).ok_or_else(|| {
            ApiError::invalid("limit", "limit must be a whole number from 1 to 1000")
        })
    }

    fn offset(&self) -> Result<i64, ApiError> {
        number(self.offset.as_deref(), 0, 0..=i64::MAX)
            .ok_or_else(|| ApiError::invalid("offset", "offset must be a whole number, 0 or more"))
    }
}

fn number(text: Option<&str>, usual: i64, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let Some(text) = text else { return Some(usual) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && range.contains(n))
}

/// `GET /api/v1/distributors/{id}/operations?limit=100&offset=0`
pub(super) async fn list(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs::wallet("operations.list", "read_transactions", organisation(&req));
    let gate = Gate::open(req.head(), &state, needs)?;
    let page = PageQuery::read(&req).and_then(|page| Ok((page.offset()?, page.limit()?)));
    let page = page.map_err(|why| gate.refuse(why))?;
    let pass = gate.take().await?;
    let organisation = pass.gate.entry.rule().account.organisation.clone();
    let (owner, currency) = (organisation.id, organisation.currency);
    let found = state
        .db
        .read(move |conn| store::operations::list(conn, &owner, &Filter::default(), page))
        .await;
    match found {
        Ok(found) => {
            pass.allow(0);
            let shown: Vec<_> = found.iter().map(|one| Shown::new(one, currency)).collect();
            Ok(HttpResponse::Ok().json(shown))
        }
        Err(e) => Err(pass.refuse(e.into())),
    }
}

/// `POST /api/v1/distributors/{id}/operations`
pub(super) async fn create(
    req: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs::wallet("operations.create", "perform_operations", organisation(&req));
    let gate = Gate::open(req.head(), &state, needs)?;
    let name = attempt_name(&req).map_err(|why| gate.refuse(why))?;
    let draft: Draft = body::read(req.head(), payload.into_inner())
        .await
        .and_then(|body| body::parse(&body))
        .map_err(|why| gate.refuse(why))?;
    let currency = gate.entry.rule().account.organisation.currency;
    let movement = draft.parse(currency).map_err(|fault| gate.refuse(ApiError::Invalid(fault)))?;
    let amount = movement.amount;
    gate.check_amount(amount)?;
    let key_id = gate.entry.rule().id();
    let flight = name.as_ref().map(|name| state.till.board(key_id.as_str(), name)).transpose();
    let _flight = flight.map_err(|why| gate.refuse(why))?;
    let attempt = name.map(|name| attempt(key_id.as_str(), &name, "operations.create", &draft));
    let origin = gate.origin();
    let pass = gate.take().await?;
    match verdict(state.till.make(Wish { key_id, movement, attempt, origin }).await) {
        Ok(made) => {
            // An answer that is given again moves nothing more.
            pass.allow(if made.is_new { amount } else { 0 });
            Ok(HttpResponse::Ok().json(json!({ "operationID": format!("op_{}", made.id) })))
        }
        Err(why) => Err(pass.refuse(why)),
    }
}

/// An operation as the wallet API shows it; what does not apply is left out.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(rename = "operationID")]
    operation_id: String,
    #[serde(rename = "distributorID")]
    distributor_id: &'a str,
    operation_type: &'a str,
    status: &'a str,
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_short_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cash_out_fulfillment_type: Option<&'a str>,
    #[serde(rename = "cashOutFulfillmentID", skip_serializing_if = "Option::is_none")]
    cash_out_fulfillment_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memo: Option<&'a str>,
    #[serde(rename = "walletOperationID", skip_serializing_if = "Option::is_none")]
    wallet_operation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<i64>,
    #[serde(rename = "blockchainID", skip_serializing_if = "Option::is_none")]
    blockchain_id: Option<String>,
    last_error: Option<&'a str>,
    created_at: String,
    updated_at: String,
}

impl<'a> Shown<'a> {
    fn new(operation: &'a Operation, currency: Currency) -> Self {
        let other = &operation.counterparty;
        let to_us = operation.kind.fulfillment_type().is_some();
        let phone = other.phone.as_deref();
        let merchant = other.short_code.as_deref();
        let transfer = operation.transfer.as_ref();
        let time =
            |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self {
            operation_id: format!("op_{}", operation.id),
            distributor_id: operation.organisation_id.as_str(),
            operation_type: operation.kind.as_str(),
            status: operation.status.as_str(),
            amount: Money::from_minor(operation.amount, currency).plain(),
            phone_to: phone.filter(|_| !to_us),
            phone_from: phone.filter(|_| to_us),
            merchant_to: merchant.map(|_| other.wallet_id.as_str()),
            merchant_name: merchant.map(|_| other.name.as_str()),
            merchant_short_code: merchant.and_then(|code| code.parse().ok()),
            cash_out_fulfillment_type: operation.kind.fulfillment_type(),
            cash_out_fulfillment_id: operation.fulfillment_id.as_deref(),
            memo: operation.memo.as_deref(),
            wallet_operation_id: transfer.map(|transfer| format!("wo_{}", transfer.id)),
            sequence_number: transfer.map(|transfer| transfer.sequence),
            blockchain_id: transfer
                .map(|transfer| format!("tx_{}", transfer.fingerprint(operation))),
            last_error: operation.last_error.as_deref(),
            created_at: time(operation.created_at),
            updated_at: time(operation.updated_at),
        }
    }
}
