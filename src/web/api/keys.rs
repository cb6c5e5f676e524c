//! What a key can ask about itself.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::ApiError;
use super::gate::{Gate, Needs};
use crate::actions;
use crate::domain::addresses::AllowedIps;
use crate::domain::money::Money;
use crate::enforce::Entry;
use crate::web::State;

/// `GET /api/v1/keys/self`
pub(super) async fn show(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let pass = Gate::open(&req, &state, Needs::any("keys/self"))?.take().await?;
    let answer = describe(&pass.gate.entry);
    pass.allow(0);
    Ok(HttpResponse::Ok().json(answer))
}

/// `POST /api/v1/keys/self/revoke`
pub(super) async fn revoke(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let pass = Gate::open(&req, &state, Needs::any("keys/self/revoke"))?.take().await?;
    let rule = pass.gate.entry.rule();
    let (id, owner) = (rule.id(), rule.account.organisation.id.clone());
    let origin = pass.gate.origin();
    let revoked =
        state.db.write(move |tx| actions::keys::revoke_self(tx, &owner, &id, &origin)).await;
    match revoked {
        Ok(()) => {
            pass.allow(0);
            Ok(HttpResponse::Ok().json(json!({ "status": "revoked" })))
        }
        Err(e) => Err(pass.refuse(e.into())),
    }
}

/// A key as it may be shown to its bearer: never the secret.
pub(super) fn describe(entry: &Entry) -> Value {
    let rule = entry.rule();
    let organisation = &rule.account.organisation;
    let amount = |minor: Option<i64>| {
        minor.map(|minor| Money::from_minor(minor, organisation.currency).plain())
    };
    let rate = rule.api.rate_limit;
    json!({
        "id": rule.id(),
        "label": rule.label,
        "api": rule.api.slug,
        "distributorID": organisation.id,
        "environment": rule.environment.as_str(),
        "accessType": rule.access_type().map(|access| &access.slug),
        "permissions": rule.permissions().collect::<Vec<_>>(),
        "limits": {
            "currency": organisation.currency.as_str(),
            "maxTransactionAmount": amount(rule.max_transaction()),
            "maxDailyVolume": amount(rule.max_daily()),
        },
        "rateLimit": rate.map(|limit| json!({ "calls": limit.calls, "seconds": limit.seconds })),
        "restrictions": rule.restrictions().cloned().unwrap_or_default(),
        "allowedIPs": rule.allowed_ips().map(AllowedIps::entries).unwrap_or_default(),
        "expiresAt": rule.expires_at().map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "lastFour": entry.last_four(),
    })
}
