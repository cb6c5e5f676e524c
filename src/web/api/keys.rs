//! What a key can ask about itself.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::SecondsFormat;
use serde_json::json;
use uuid::Uuid;

use super::ApiError;
use super::gate::{Gate, Needs};
use crate::actions;
use crate::domain::addresses::AllowedIps;
use crate::domain::money::Money;
use crate::enforce::{Entry, Restrictions};
use crate::web::State;

/// `GET /api/v1/keys/self`
pub(super) async fn show(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let pass = Gate::open(req.head(), &state, Needs::any("keys/self"))?.take().await?;
    let answer = HttpResponse::Ok().json(Shown::new(&pass.gate.entry));
    pass.allow(0);
    Ok(answer)
}

/// `POST /api/v1/keys/self/revoke`
pub(super) async fn revoke(
    req: HttpRequest,
    state: Data<State>,
    _: Payload,
) -> Result<HttpResponse, ApiError> {
    let pass = Gate::open(req.head(), &state, Needs::any("keys/self/revoke"))?.take_uncounted();
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
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    id: Uuid,
    label: &'a str,
    api: &'a str,
    #[serde(rename = "distributorID")]
    distributor_id: &'a str,
    environment: &'a str,
    access_type: Option<&'a str>,
    permissions: Vec<&'a str>,
    limits: Limits<'a>,
    rate_limit: Option<Rate>,
    restrictions: &'a Restrictions,
    #[serde(rename = "allowedIPs")]
    allowed_ips: Vec<String>,
    expires_at: Option<String>,
    last_four: &'a str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits<'a> {
    currency: &'a str,
    max_transaction_amount: Option<String>,
    max_daily_volume: Option<String>,
}

#[derive(serde::Serialize)]
struct Rate {
    calls: u32,
    seconds: u32,
}

impl<'a> Shown<'a> {
    /// What is shown of a key.
    pub(super) fn new(entry: &'a Entry) -> Self {
        static NONE: Restrictions = Restrictions::new();
        let rule = entry.rule();
        let organisation = &rule.account.organisation;
        let amount = |minor: Option<i64>| {
            minor.map(|minor| Money::from_minor(minor, organisation.currency).plain())
        };
        let expires = rule.expires_at().map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        Self {
            id: rule.key_id,
            label: &rule.label,
            api: &rule.api.slug,
            distributor_id: organisation.id.as_str(),
            environment: rule.environment.as_str(),
            access_type: rule.access_type().map(|access| access.slug.as_str()),
            permissions: rule.permissions().collect(),
            limits: Limits {
                currency: organisation.currency.as_str(),
                max_transaction_amount: amount(rule.max_transaction()),
                max_daily_volume: amount(rule.max_daily()),
            },
            rate_limit: rule
                .api
                .rate_limit
                .map(|limit| Rate { calls: limit.calls, seconds: limit.seconds }),
            restrictions: rule.restrictions().unwrap_or(&NONE),
            allowed_ips: rule.allowed_ips().map(AllowedIps::entries).unwrap_or_default(),
            expires_at: expires,
            last_four: entry.last_four(),
        }
    }
}
