//! The wallet API: JSON for machines, opened by keys. No session, no cookie.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use chrono::SecondsFormat;
use serde_json::json;

use super::{State, client, error};
use crate::domain::money::Money;
use crate::domain::secret::PlainSecret;
use crate::domain::usage::Outcome;
use crate::enforce::usage::Noted;
use crate::enforce::{Call, Denial, Entry, evaluate};
use crate::error::Error;
use crate::{actions, store};

/// Why a call gets no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No key, or none that opens anything now: the same answer for every cause.
    #[error("Invalid or missing API key")]
    Unauthorized,
    /// A key that opens something, but not this.
    #[error("{}", .0.message())]
    Denied(Denial),
    /// The request itself is wrong.
    #[error("{1}")]
    Invalid(&'static str, &'static str),
    /// Something failed on our side.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::Denied(Denial::NotLive) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Invalid(..) => StatusCode::BAD_REQUEST,
            Self::Failed(e) => error::status(e),
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Unauthorized | Self::Denied(Denial::NotLive) => HttpResponse::Unauthorized()
                .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
                .json(json!({ "error": "Unauthorized", "message": "Invalid or missing API key" })),
            Self::Denied(denial) => problem(self.status_code(), denial.code(), denial.message()),
            Self::Invalid(code, message) => problem(self.status_code(), code, message),
            Self::Failed(e) => {
                error::log(e);
                let code = match e {
                    Error::Refused(refusal) => refusal.code(),
                    Error::NotFound => "not_found",
                    Error::Stale => "changed",
                    Error::Busy => "busy",
                    Error::Internal(_) => "internal",
                };
                let mut res = problem(self.status_code(), code, &e.to_string());
                error::add_retry_after(&mut res, e);
                res
            }
        }
    }
}

/// The body of every refusal but 401.
#[derive(serde::Serialize)]
struct Problem<'a> {
    error: &'a str,
    code: &'a str,
    message: &'a str,
}

/// A refusal in JSON.
pub(super) fn problem(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    let error = status.canonical_reason().unwrap_or("Error");
    HttpResponseBuilder::new(status).json(Problem { error, code, message })
}

/// What a call needs of its key.
struct Needs<'a> {
    /// What the call is counted as.
    endpoint: &'static str,
    api: Option<&'a str>,
    permission: Option<&'a str>,
    organisation: Option<&'a str>,
}

/// `GET /api/v1/distributors/{id}/balance`
pub(super) async fn balance(
    req: HttpRequest,
    state: Data<State>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs {
        endpoint: "balance",
        api: Some("wallet"),
        permission: Some("read_balance"),
        organisation: Some(&id),
    };
    let organisation = open(&req, &state, &needs).await?.key.organisation_id.clone();
    let balance = state.db.read(move |conn| store::wallets::balance(conn, &organisation)).await?;
    Ok(HttpResponse::Ok().json(json!({ "balance": balance.plain() })))
}

/// `GET /api/v1/keys/self`
pub(super) async fn key_self(
    req: HttpRequest,
    state: Data<State>,
) -> Result<HttpResponse, ApiError> {
    let needs = Needs { endpoint: "keys/self", api: None, permission: None, organisation: None };
    let entry = open(&req, &state, &needs).await?;
    let (key, grant) = (&entry.key, &entry.key.grant);
    let owner = key.organisation_id.clone();
    let currency =
        state.db.read(move |conn| store::organisations::get(conn, &owner)).await?.currency;
    let amount = |minor: Option<i64>| minor.map(|minor| Money::from_minor(minor, currency).plain());
    Ok(HttpResponse::Ok().json(json!({
        "id": key.id,
        "label": grant.label,
        "api": grant.api,
        "distributorID": key.organisation_id,
        "environment": grant.environment.as_str(),
        "accessType": grant.access_type,
        "permissions": grant.permissions,
        "limits": {
            "currency": currency.as_str(),
            "maxTransactionAmount": amount(grant.max_transaction),
            "maxDailyVolume": amount(grant.max_daily),
        },
        "restrictions": grant.restrictions,
        "allowedIPs": grant.allowed_ips.entries(),
        "expiresAt": key.expires_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        "lastFour": entry.last_four,
    })))
}

/// Any other path below `/api`.
pub(super) async fn unknown() -> HttpResponse {
    let message = "There is no such endpoint";
    std::future::ready(problem(StatusCode::NOT_FOUND, "not_found", message)).await
}

/// A known path with a method it does not have.
pub(super) async fn wrong_method() -> HttpResponse {
    let mut res = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This endpoint takes GET only",
    );
    res.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    std::future::ready(res).await
}

/// The entry of the key that came with the request, if it may make this call.
async fn open(
    req: &HttpRequest,
    state: &State,
    needs: &Needs<'_>,
) -> Result<std::sync::Arc<Entry>, ApiError> {
    if !state.index.is_fresh() {
        return Err(Error::Busy.into());
    }
    let presented = bearer(req)?.ok_or(ApiError::Unauthorized)?;
    let secret = PlainSecret::parse(presented).ok_or(ApiError::Unauthorized)?;
    let entry = state.index.find(&secret.hash()).ok_or(ApiError::Unauthorized)?;
    let now = state.db.clock().now();
    let call = Call {
        now,
        ip: client::ip(req, &state.settings.trusted_proxies),
        api: needs.api,
        permission: needs.permission,
        organisation: needs.organisation,
    };
    let noted = Noted {
        now,
        outcome: Outcome::Allowed,
        endpoint: needs.endpoint,
        amount: 0,
        ip: call.ip,
        agent: req.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
    };
    if let Err(denial) = evaluate(&entry.key, &call) {
        entry.note(&Noted { outcome: denial.into(), ..noted });
        return Err(ApiError::Denied(denial));
    }
    if entry.is_unsaved() {
        // Once in the life of a secret: from this call on it cannot be replaced by another reveal.
        let id = entry.secret_id.clone();
        if !state.db.write(move |tx| actions::keys::note_first_use(tx, &id)).await? {
            return Err(ApiError::Unauthorized);
        }
        entry.mark_saved();
    }
    entry.note(&noted);
    Ok(entry)
}

/// The secret after `Authorization: Bearer`. Two different ones leave open which is meant.
fn bearer(req: &HttpRequest) -> Result<Option<&str>, ApiError> {
    let mut found = None;
    for value in req.headers().get_all(header::AUTHORIZATION) {
        let secret =
            value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, rest)| {
                scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
            });
        match (found, secret) {
            (Some(before), Some(secret)) if before != secret => {
                return Err(ApiError::Invalid("invalid_request", "Send one API key, not several"));
            }
            (_, Some(_)) => found = secret,
            (_, None) => (),
        }
    }
    Ok(found)
}
