//! Answers proxies that ask whether a call may pass to the service behind them. Fails closed.

mod asked;
mod shown;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use chrono::SecondsFormat;

use super::State;
use super::api::{self, ApiError};
use crate::enforce::{Call, Denial, Entry, evaluate};
use crate::error::Error;
use asked::{Asked, Proxy};

/// What the proxy's administrator wants of the key, whatever the path.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The one API whose keys are accepted.
    api: Option<String>,
    /// The permission it takes instead of the one of the route.
    permission: Option<String>,
}

/// `/auth/nginx`: `auth_request` knows 200, 401 and 403; anything else becomes a 500 there.
pub(super) async fn nginx(req: HttpRequest, state: Data<State>) -> HttpResponse {
    for_nginx(answer(Proxy::Nginx, &req, &state).await)
}

/// `/auth/forward`: Caddy and Traefik hand any refusal on to the client as it is.
pub(super) async fn forward(req: HttpRequest, state: Data<State>) -> HttpResponse {
    answer(Proxy::Forward, &req, &state).await
}

/// `/auth/envoy/{path}` and `/auth/envoy-for/{api}/{path}`: the call as it came, below a prefix.
pub(super) async fn envoy(req: HttpRequest, state: Data<State>) -> HttpResponse {
    answer(Proxy::Envoy, &req, &state).await
}

async fn answer(proxy: Proxy, req: &HttpRequest, state: &State) -> HttpResponse {
    let peer = req.peer_addr().map(|peer| peer.ip().to_canonical());
    let trusted = &state.settings.trusted_proxies;
    if !peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer))) {
        let message = "Only the proxies in TRUSTED_PROXIES may ask here";
        return api::problem(StatusCode::FORBIDDEN, "forbidden", message);
    }
    match decide(proxy, req, state).await {
        Ok(entry) => allowed(&entry),
        Err(e) => e.error_response(),
    }
}

async fn decide(proxy: Proxy, req: &HttpRequest, state: &State) -> Result<Arc<Entry>, ApiError> {
    let asked =
        Asked::read(proxy, req).map_err(|fault| ApiError::Invalid("invalid_request", fault))?;
    let wanted = wanted(proxy, req)?;
    if !state.index.is_fresh() {
        return Err(Error::Busy.into());
    }
    let entry = shown::find(req.headers(), state).await?;
    let grant = &entry.key.grant;
    let api = state.db.site().catalogue.find(&grant.api).ok_or(ApiError::Unauthorized)?;
    let route = api.find_route(&asked.method, &asked.target);
    let permission = match (&wanted.permission, &route) {
        (Some(slug), _) => slug.as_str(),
        (None, Some(route)) => route.permission,
        (None, None) => return Err(ApiError::Denied(Denial::InsufficientPermission)),
    };
    let call = Call {
        now: state.db.clock().now(),
        ip: super::client::ip(req, &state.settings.trusted_proxies),
        api: wanted.api.as_deref(),
        permission: Some(permission),
        organisation: None,
    };
    evaluate(&entry.key, &call).map_err(ApiError::Denied)?;
    Ok(entry)
}

/// What stands in the proxy's own configuration. Behind Envoy's prefix the query is the client's.
fn wanted(proxy: Proxy, req: &HttpRequest) -> Result<Wanted, ApiError> {
    if proxy == Proxy::Envoy {
        let api = req.match_info().get("api").map(str::to_owned);
        return Ok(Wanted { api, permission: None });
    }
    let wanted = Query::<Wanted>::from_query(req.query_string());
    wanted.map(Query::into_inner).map_err(|_| {
        ApiError::Invalid("invalid_request", "The proxy may ask for api and permission, once each")
    })
}

/// The yes, with everything the service may want to know of the key; all of it each time, because
/// some proxies let a header of the client stand where the answer has none.
fn allowed(entry: &Entry) -> HttpResponse {
    let (key, grant) = (&entry.key, &entry.key.grant);
    let words = |set: &std::collections::BTreeSet<String>, between: &str| {
        set.iter().map(String::as_str).collect::<Vec<_>>().join(between)
    };
    let lists =
        grant.restrictions.iter().map(|(slug, values)| format!("{slug}={}", words(values, ",")));
    let expires = key.expires_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    HttpResponse::Ok()
        .insert_header(("x-key-id", key.id.as_str()))
        .insert_header(("x-key-label", percent_encoded(&grant.label)))
        .insert_header(("x-key-organisation", key.organisation_id.as_str()))
        .insert_header(("x-key-api", grant.api.as_str()))
        .insert_header(("x-key-permissions", words(&grant.permissions, " ")))
        .insert_header(("x-key-restrictions", lists.collect::<Vec<_>>().join("; ")))
        .insert_header(("x-key-expires", expires.unwrap_or_default()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// A label in a header: letters and digits as they are, every other byte as `%` and two digits.
fn percent_encoded(text: &str) -> String {
    // The form's encoding differs in the blank only; a real plus sign is encoded already.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The same answer in the three words nginx knows; what was meant stands in `X-Key-Status`.
fn for_nginx(mut res: HttpResponse) -> HttpResponse {
    let meant = res.status();
    let status = match meant {
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return res,
        _ if meant.is_client_error() => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    *res.status_mut() = status;
    res.headers_mut()
        .insert(HeaderName::from_static("x-key-status"), HeaderValue::from(meant.as_u16()));
    res
}
