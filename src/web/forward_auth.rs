//! Answers proxies that ask whether a call may pass to the service behind them. Fails closed.

mod asked;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Data, Payload, Query, ServiceConfig, resource, scope, to};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use chrono::SecondsFormat;

use super::State;
use super::api::{self, ApiError, Gate, Needs, find_key, machine::machine, refused};
use crate::domain::catalogue::is_canonical;
use crate::enforce::{Entry, Rule};
use asked::{Asked, Proxy};

/// Every endpoint below `/auth`; each takes any method, and never reads a body.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/auth/nginx").route(to(machine(nginx))))
        .service(resource("/auth/forward").route(to(machine(forward))))
        .service(resource("/auth/envoy/{path:.*}").route(to(machine(envoy))))
        .service(resource("/auth/envoy-for/{api}/{path:.*}").route(to(machine(envoy))))
        .service(scope("/auth").default_service(to(machine(api::unknown))));
}

/// What the proxy's administrator wants of the key, whatever the path.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The one API whose keys are accepted.
    api: Option<String>,
    /// The permission it takes instead of the one of the route.
    permission: Option<String>,
}

type Answer = Result<HttpResponse, ApiError>;

/// `auth_request` knows 200, 401 and 403; anything else becomes a 500 there.
async fn nginx(req: HttpRequest, state: Data<State>, _: Payload) -> Answer {
    Ok(for_nginx(answer(Proxy::Nginx, &req, &state).await))
}

/// Caddy and Traefik hand any refusal on to the client as it is.
async fn forward(req: HttpRequest, state: Data<State>, _: Payload) -> Answer {
    Ok(answer(Proxy::Forward, &req, &state).await)
}

/// The call as it came, below a prefix.
async fn envoy(req: HttpRequest, state: Data<State>, _: Payload) -> Answer {
    Ok(answer(Proxy::Envoy, &req, &state).await)
}

async fn answer(proxy: Proxy, req: &HttpRequest, state: &State) -> HttpResponse {
    match decide(proxy, req, state).await {
        Ok(entry) => allowed(entry.rule()),
        Err(why) => why.error_response(),
    }
}

/// The key, if the call that the proxy asks about may pass.
async fn decide(proxy: Proxy, req: &HttpRequest, state: &State) -> Result<Entry, ApiError> {
    let peer = req.peer_addr().map(|peer| peer.ip().to_canonical());
    let trusted = &state.settings.trusted_proxies;
    if !peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer))) {
        let message = "Only the proxies in TRUSTED_PROXIES may ask here";
        return Err(ApiError::Status(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let asked = Asked::read(proxy, req).map_err(|fault| ApiError::invalid("", fault))?;
    let wanted = wanted(proxy, req)?;
    let entry = find_key(req.head(), state).map_err(|why| refused(req.head(), state, why))?;
    let api = &entry.rule().api;
    let route = api.find_route(&asked.method, &asked.target);
    let permission = match (&wanted.permission, &route) {
        (Some(slug), _) if is_canonical(&asked.target) => slug,
        (None, Some(route)) => route.permission,
        // No key has a permission without a name.
        (Some(_), _) | (None, None) => "",
    };
    let needs = Needs {
        // Counted by permission: paths are too many, and the client's to choose.
        endpoint: api.permission(permission).map_or("unlisted", |known| known.slug.as_str()),
        api: wanted.api.as_deref(),
        permission: Some(permission),
        organisation: None,
        restrictions: route.as_ref().map(|route| &route.restrictions),
    };
    Gate::with(req.head(), state, entry.clone(), needs)?.take().await?.allow(0);
    Ok(entry)
}

/// What stands in the proxy's own configuration. Behind Envoy's prefix the query is the client's.
fn wanted(proxy: Proxy, req: &HttpRequest) -> Result<Wanted, ApiError> {
    if proxy == Proxy::Envoy {
        let api = req.match_info().get("api").map(str::to_owned);
        return Ok(Wanted { api, permission: None });
    }
    let wanted = Query::<Wanted>::from_query(req.query_string());
    wanted
        .map(Query::into_inner)
        .map_err(|_| ApiError::invalid("", "The proxy may ask for api and permission, once each"))
}

/// The yes, with everything the service may want to know of the key; all of it each time, because
/// some proxies let a header of the client stand where the answer has none.
fn allowed(rule: &Rule) -> HttpResponse {
    let lists = rule.restrictions().into_iter().flatten().map(|(slug, values)| {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        format!("{slug}={}", values.join(","))
    });
    let expires = rule.expires_at().map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    HttpResponse::Ok()
        .insert_header(("x-key-id", rule.key_id.to_string()))
        .insert_header(("x-key-label", percent_encoded(&rule.label)))
        .insert_header(("x-key-organisation", rule.account.organisation.id.as_str()))
        .insert_header(("x-key-api", rule.api.slug.as_str()))
        .insert_header(("x-key-permissions", rule.permissions().collect::<Vec<_>>().join(" ")))
        .insert_header(("x-key-restrictions", lists.collect::<Vec<_>>().join("; ")))
        .insert_header(("x-key-expires", expires.unwrap_or_default()))
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
