//! HTTP: pages and JSON, who is asking, and what goes round every answer. Every route is listed here.

mod api;
mod assets;
mod chart;
pub mod client;
pub mod connections;
mod context;
mod docs;
mod error;
mod form;
mod forward_auth;
mod front;
mod health;
mod home;
mod invitations;
mod keys;
mod operations;
mod outer;
mod page;
pub mod passwords;
mod requests;
mod sessions;
mod sign_in;
mod signed_in;
mod story;
mod usage;
mod view;

use std::sync::Arc;

use actix_http::Request;
use actix_service::IntoServiceFactory as _;
use actix_web::App;
use actix_web::body::BoxBody;
use actix_web::cookie::Key as CookieKey;
use actix_web::dev::{AppConfig, Response, ServiceFactory};
use actix_web::middleware::from_fn;
use actix_web::web::{
    Data, PayloadConfig, QueryConfig, ServiceConfig, get, post, resource, scope, to,
};
use ipnet::IpNet;

use crate::config::Config;
use crate::enforce::KeyIndex;
use crate::enforce::strangers::Strangers;
use crate::error::Error;
use crate::store::{Db, server_secrets};
use front::Front;
use passwords::Passwords;

/// The largest form; actix's default of 256 KiB is more than any of ours needs.
const FORM_MAX: usize = 16 * 1024;

/// What every handler can reach.
#[derive(Clone)]
pub struct State {
    /// The database.
    pub db: Db,
    /// The keys in memory.
    pub index: Arc<KeyIndex>,
    /// Hashes passwords, a few at a time.
    pub passwords: Passwords,
    settings: Arc<Settings>,
    /// Where operations that keys ask for wait to be written.
    till: api::Till,
    /// Refused calls, by address.
    strangers: Arc<Strangers>,
}

struct Settings {
    /// Scheme, host and port as browsers send them in `Origin`.
    origin: String,
    /// Whether people come over https, so that cookies can insist on it.
    secure: bool,
    trusted_proxies: Vec<IpNet>,
    cookie_key: CookieKey,
    /// The headers that keys arrive in.
    key_headers: api::KeyHeaders,
}

impl State {
    /// Loads the keys and the cookie key that all nodes share.
    pub async fn load(db: Db, config: &Config, passwords: Passwords) -> Result<Self, Error> {
        let index = KeyIndex::load(&db).await?;
        let mut fresh = [0_u8; 64];
        getrandom::fill(&mut fresh).map_err(Error::internal)?;
        let key =
            db.write(move |tx| server_secrets::get_or_insert(tx, "cookie_key", &fresh)).await?;
        let cookie_key = CookieKey::try_from(key.as_slice()).map_err(Error::internal)?;
        let settings = Settings {
            origin: config.public_url.origin().ascii_serialization(),
            secure: config.cookie_secure(),
            trusted_proxies: config.trusted_proxies.clone(),
            cookie_key,
            key_headers: api::KeyHeaders::of(&db.site().catalogue),
        };
        let (settings, till) = (Arc::new(settings), api::Till::start(&db));
        Ok(Self { db, index, passwords, settings, till, strangers: Arc::default() })
    }
}

/// The whole server, as a listener or a test calls it.
pub fn server(
    state: State,
) -> impl ServiceFactory<
    Request,
    Config = AppConfig,
    Response = Response<BoxBody>,
    Error = actix_web::Error,
    InitError = (),
> {
    let app = App::new().configure(routes(state.clone()));
    Front::new(app.into_factory(), state)
}

/// Everything this server answers, with what goes round it: outermost first.
pub fn routes(state: State) -> impl FnOnce(&mut ServiceConfig) {
    move |cfg| {
        let sessions = sessions::middleware(&state);
        let queries = QueryConfig::default().error_handler(|_, _| error::strange_query().into());
        cfg.app_data(Data::new(state))
            .app_data(PayloadConfig::new(FORM_MAX))
            .app_data(queries)
            .configure(api::routes)
            .configure(forward_auth::routes)
            .service(
                scope("").wrap(from_fn(outer::wrap)).configure(plain_routes).service(
                    scope("")
                        .wrap(from_fn(outer::same_site_only))
                        .wrap(sessions)
                        .configure(page_routes),
                ),
            );
    }
}

/// What needs to know nobody.
fn plain_routes(cfg: &mut ServiceConfig) {
    let wrong_method = || to(error::wrong_method);
    cfg.service(resource("/livez").route(get().to(health::live)).default_service(wrong_method()))
        .service(resource("/readyz").route(get().to(health::ready)).default_service(wrong_method()))
        .service(
            resource("/static/{name}")
                .route(get().to(assets::file))
                .default_service(wrong_method()),
        );
}

/// For people: sessions, and nothing unsafe from another site.
fn page_routes(cfg: &mut ServiceConfig) {
    let page = |path: &str| resource(path).default_service(to(error::wrong_method));
    cfg.service(page("/").route(get().to(home::show)))
        .service(page("/login").route(get().to(sign_in::form)).route(post().to(sign_in::submit)))
        .service(page("/logout").route(post().to(sign_in::sign_out)))
        .service(
            page("/invitation/{token}")
                .route(get().to(invitations::form))
                .route(post().to(invitations::submit)),
        )
        .service(
            page("/settings/api-keys").route(get().to(keys::index)).route(post().to(keys::submit)),
        )
        .service(page("/settings/api-keys/new").route(get().to(keys::form)))
        .service(page("/settings/api-keys/{key}").route(get().to(keys::show)))
        .service(page("/settings/api-keys/{key}/check").route(get().to(keys::check)))
        .service(page("/settings/api-keys/{key}/usage.csv").route(get().to(usage::csv)))
        .service(page("/settings/api-keys/{key}/reveal").route(post().to(keys::reveal)))
        .service(page("/settings/api-keys/{key}/confirm").route(post().to(keys::confirm)))
        .service(page("/settings/api-keys/{key}/revoke").route(post().to(keys::revoke)))
        .service(
            page("/operations")
                .route(get().to(operations::list))
                .route(post().to(operations::submit)),
        )
        .service(page("/operations/new").route(get().to(operations::form)))
        .service(page("/docs").route(get().to(docs::show)))
        .service(page("/requests").route(get().to(requests::list)))
        .service(page("/requests/{id}").route(get().to(requests::show)))
        .service(page("/requests/{id}/approve").route(post().to(requests::approve)))
        .service(page("/requests/{id}/reject").route(post().to(requests::reject)))
        .service(page("/requests/{id}/withdraw").route(post().to(requests::withdraw)))
        .default_service(to(error::unknown_page));
}
