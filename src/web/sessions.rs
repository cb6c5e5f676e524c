//! Sessions in the database, behind actix-session. Its own cookie store cannot end a session.

use std::collections::HashMap;

use actix_session::config::{BrowserSession, CookieContentSecurity};
use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::HttpRequest;
use actix_web::cookie::SameSite;
use actix_web::cookie::time::Duration;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::State;
use crate::actions::sign_in::{SESSION_IDLE, SESSION_LIVES};
use crate::domain::id::MemberId;
use crate::error::Error;
use crate::store::{Db, sessions};

/// A session is written down as used at most so often.
const TOUCH: TimeDelta = TimeDelta::minutes(1);

const MEMBER: &str = "member";
const CSRF: &str = "csrf";

type Values = HashMap<String, String>;

/// The session layer: an opaque cookie, everything else here.
pub(super) fn middleware(state: &State) -> SessionMiddleware<DbSessions> {
    let secure = state.settings.secure;
    // The prefix makes browsers insist on https, this host and the whole path.
    let name = if secure { "__Host-countersign" } else { "countersign" };
    SessionMiddleware::builder(
        DbSessions { db: state.db.clone() },
        state.settings.cookie_key.clone(),
    )
    .cookie_name(name.to_owned())
    .cookie_secure(secure)
    .cookie_http_only(true)
    .cookie_same_site(SameSite::Lax)
    .cookie_path("/".to_owned())
    .cookie_content_security(CookieContentSecurity::Signed)
    .session_lifecycle(BrowserSession::default())
    .build()
}

/// The values of a session, spelled once.
pub(super) struct TypedSession(Session);

impl TypedSession {
    pub(super) fn of(req: &HttpRequest) -> Self {
        Self(req.get_session())
    }

    /// Whose session it is.
    pub(super) fn member(&self) -> Option<MemberId> {
        self.0.get::<String>(MEMBER).ok().flatten()?.parse().ok()
    }

    /// What forms of this session carry.
    pub(super) fn csrf(&self) -> Option<String> {
        self.0.get(CSRF).ok().flatten()
    }

    /// Begins a session of this member under a new id.
    pub(super) fn begin(&self, member: &MemberId, csrf: &str) -> Result<(), Error> {
        self.0.renew();
        self.0.insert(MEMBER, member.as_str()).map_err(Error::internal)?;
        self.0.insert(CSRF, csrf).map_err(Error::internal)
    }

    /// Ends the session.
    pub(super) fn end(&self) {
        self.0.purge();
    }
}

/// Rows of the table `sessions`, found by the hash of the session's id.
pub(super) struct DbSessions {
    db: Db,
}

impl SessionStore for DbSessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<Values>, LoadError> {
        let (hash, now) = (hash(key), self.db.clock().now());
        let id = hash.clone();
        let found =
            self.db.read(move |conn| sessions::find(conn, &id)).await.map_err(load_error)?;
        let Some(session) = found else { return Ok(None) };
        if session.seen_at + SESSION_IDLE <= now || session.created_at + SESSION_LIVES <= now {
            self.db.write(move |tx| sessions::delete(tx, &hash)).await.map_err(load_error)?;
            return Ok(None);
        }
        if session.seen_at + TOUCH <= now {
            self.db.write(move |tx| sessions::touch(tx, &hash)).await.map_err(load_error)?;
        }
        serde_json::from_str(&session.state)
            .map(Some)
            .map_err(|e| LoadError::Deserialization(e.into()))
    }

    async fn save(&self, values: Values, _ttl: &Duration) -> Result<SessionKey, SaveError> {
        let key = generate_session_key();
        let hash = hash(&key);
        let state =
            serde_json::to_string(&values).map_err(|e| SaveError::Serialization(e.into()))?;
        self.db
            .write(move |tx| sessions::insert(tx, &hash, member(&values).as_ref(), &state))
            .await
            .map_err(|e| SaveError::Other(e.into()))?;
        Ok(key)
    }

    async fn update(
        &self,
        key: SessionKey,
        values: Values,
        _ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let hash = hash(&key);
        let state =
            serde_json::to_string(&values).map_err(|e| UpdateError::Serialization(e.into()))?;
        // A session that was ended while this request ran stays ended: no row, no change.
        self.db
            .write(move |tx| sessions::update(tx, &hash, member(&values).as_ref(), &state))
            .await
            .map_err(|e| UpdateError::Other(e.into()))?;
        Ok(key)
    }

    async fn update_ttl(&self, _key: &SessionKey, _ttl: &Duration) -> Result<(), anyhow::Error> {
        // `load` keeps the time of the last request; there is nothing else to extend.
        std::future::ready(Ok(())).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let hash = hash(key);
        Ok(self.db.write(move |tx| sessions::delete(tx, &hash)).await?)
    }
}

fn hash(key: &SessionKey) -> Vec<u8> {
    Sha256::digest(key.as_ref().as_bytes()).to_vec()
}

fn load_error(e: Error) -> LoadError {
    LoadError::Other(e.into())
}

fn member(values: &Values) -> Option<MemberId> {
    serde_json::from_str::<String>(values.get(MEMBER)?).ok()?.parse().ok()
}
