//! Keys as rows.

mod snapshots;
mod spending;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

pub use snapshots::{
    KeySnapshot, PAGE, announce, find_snapshot, list_revoked_since, list_snapshots,
};
pub use spending::{SpendingKey, lock_shared};

use super::requests::{COUNTED, one};
use super::schema::{key_usage, keys};
use super::{Conn, Tx};
use crate::domain::addresses::AllowedIps;
use crate::domain::id::{KeyId, MemberId, OrganisationId, RequestId};
use crate::domain::key::{Grant, Key, KeyState};
use crate::domain::text::Email;
use crate::error::Error;

/// Which keys a list shows, as of some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Not expired, not revoked.
    Live,
    /// Ran out.
    Expired,
    /// Ended by somebody.
    Revoked,
}

/// Which keys of an organisation a list shows.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// By where they stand.
    pub which: Listed,
    /// The moment that decides what has expired.
    pub now: DateTime<Utc>,
    /// Only those that open this API.
    pub api: Option<&'a str>,
    /// Only those of this access type.
    pub access_type: Option<&'a str>,
}

impl Filter<'_> {
    /// All that stand there now.
    pub fn of(which: Listed, now: DateTime<Utc>) -> Self {
        Self { which, now, api: None, access_type: None }
    }
}

/// The key with this id, if it belongs to the organisation.
pub fn get(conn: &mut Conn, organisation: &OrganisationId, id: &KeyId) -> Result<Key, Error> {
    keys::table
        .find(id)
        .filter(keys::organisation_id.eq(organisation))
        .select(Row::as_select())
        .get_result(conn)?
        .parse()
}

/// The key under its lock, taken by an update that changes nothing, so that whoever wants to change
/// it at the same time queues up and then sees it as it is.
pub fn lock(tx: &mut Tx<'_>, organisation: &OrganisationId, id: &KeyId) -> Result<Key, Error> {
    diesel::update(keys::table.find(id).filter(keys::organisation_id.eq(organisation)))
        .set(keys::version.eq(keys::version))
        .execute(tx.conn)?;
    get(tx.conn, organisation, id)
}

/// The keys with these ids, in the order of those.
pub fn list_by_id<'a>(
    conn: &mut Conn,
    ids: impl Iterator<Item = &'a KeyId>,
) -> Result<Vec<Key>, Error> {
    let these = keys::table.filter(keys::id.eq_any(ids.map(KeyId::as_str)));
    let rows = these.order(keys::id).select(Row::as_select()).load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// The key a request led to.
pub fn find_of_request(conn: &mut Conn, request: &RequestId) -> Result<Option<Key>, Error> {
    let row =
        keys::table.filter(keys::request_id.eq(request)).select(Row::as_select()).get_result(conn);
    row.optional()?.map(Row::parse).transpose()
}

/// Keys of an organisation, newest first; those that expired last first.
pub fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: Filter<'_>,
    (offset, limit): (i64, i64),
) -> Result<Vec<Key>, Error> {
    let query = listed(organisation, filter);
    let query = match filter.which {
        Listed::Live | Listed::Revoked => query.order((keys::created_at.desc(), keys::id.desc())),
        Listed::Expired => query.order((keys::expires_at.desc(), keys::id.desc())),
    };
    let rows = query.offset(offset).limit(limit).select(Row::as_select()).load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// Keys a maker has not revealed yet, oldest first.
pub fn list_to_reveal(
    conn: &mut Conn,
    organisation: &OrganisationId,
    maker: &MemberId,
    now: DateTime<Utc>,
) -> Result<Vec<Key>, Error> {
    let rows = listed(organisation, Filter::of(Listed::Live, now))
        .filter(keys::maker_id.eq(maker.clone()))
        .filter(keys::state.eq("approved"))
        .order((keys::created_at, keys::id))
        .limit(20)
        .select(Row::as_select())
        .load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// Keys that end before `until`, soonest first.
pub fn list_expiring(
    conn: &mut Conn,
    organisation: &OrganisationId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Key>, Error> {
    let rows = listed(organisation, Filter::of(Listed::Live, now))
        .filter(keys::expires_at.lt(until.naive_utc()))
        .order((keys::expires_at, keys::id))
        .limit(20)
        .select(Row::as_select())
        .load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// Keys revealed before `since` that never made a call, oldest first.
pub fn list_never_used(
    conn: &mut Conn,
    organisation: &OrganisationId,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> Result<Vec<Key>, Error> {
    // Looked up key by key: a list of every key that was used would be long.
    let used = key_usage::table
        .filter(key_usage::key_id.eq(keys::id))
        .filter(key_usage::last_used_at.is_not_null());
    let rows = listed(organisation, Filter::of(Listed::Live, now))
        .filter(keys::state.eq("active"))
        .filter(keys::created_at.lt(since.naive_utc()))
        .filter(diesel::dsl::not(diesel::dsl::exists(used)))
        .order((keys::created_at, keys::id))
        .limit(20)
        .select(Row::as_select())
        .load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// How many keys [`list`] would find without a limit; counted like requests, so far as is read.
pub fn count(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: Filter<'_>,
) -> Result<i64, Error> {
    count_to(conn, organisation, filter, COUNTED + 1)
}

/// The same, counted to `most`.
pub fn count_to(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: Filter<'_>,
    most: i64,
) -> Result<i64, Error> {
    let rows = || listed(organisation, filter);
    // Not one row of what is too much leaves the database.
    let last = rows().select(one()).offset(most.saturating_sub(1)).limit(1);
    if last.first::<i32>(conn).optional()?.is_some() {
        return Ok(most);
    }
    Ok(rows().count().get_result(conn)?)
}

type Boxed = keys::BoxedQuery<'static, super::pool::MultiBackend>;

fn listed(organisation: &OrganisationId, filter: Filter<'_>) -> Boxed {
    let now = filter.now.naive_utc();
    let mut query = keys::table.filter(keys::organisation_id.eq(organisation.clone())).into_boxed();
    if let Some(api) = filter.api {
        query = query.filter(keys::api.eq(api.to_owned()));
    }
    if let Some(access_type) = filter.access_type {
        query = query.filter(keys::access_type.eq(access_type.to_owned()));
    }
    match filter.which {
        Listed::Live => query
            .filter(keys::state.ne("revoked"))
            .filter(keys::expires_at.is_null().or(keys::expires_at.gt(now).assume_not_null())),
        Listed::Expired => query.filter(keys::state.ne("revoked")).filter(keys::expires_at.le(now)),
        Listed::Revoked => query.filter(keys::state.eq("revoked")),
    }
}

/// Adds a key.
pub fn insert(tx: &mut Tx<'_>, key: &Key) -> Result<(), Error> {
    diesel::insert_into(keys::table).values(Row::try_from(key)?).execute(tx.conn)?;
    Ok(())
}

/// Writes the state of a key, unless somebody changed it since it was read.
pub fn update(tx: &mut Tx<'_>, key: &Key) -> Result<(), Error> {
    let row = Row::try_from(key)?;
    let changed = diesel::update(keys::table.find(&key.id))
        .filter(keys::version.eq(key.version.saturating_sub(1)))
        .set((
            keys::state.eq(row.state),
            keys::version.eq(row.version),
            keys::revoked_at.eq(row.revoked_at),
            keys::revoked_by.eq(row.revoked_by),
            keys::revoke_reason.eq(row.revoke_reason),
        ))
        .execute(tx.conn)?;
    if changed == 1 { Ok(()) } else { Err(Error::Stale) }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = keys)]
struct Row {
    id: KeyId,
    organisation_id: OrganisationId,
    request_id: RequestId,
    maker_id: MemberId,
    api: String,
    label: String,
    contact_email: Option<Email>,
    system: Option<String>,
    environment: String,
    access_type: Option<String>,
    permissions: String,
    restrictions: String,
    max_transaction: Option<i64>,
    max_daily: Option<i64>,
    allowed_ips: String,
    expires_in_days: Option<i32>,
    expires_at: Option<NaiveDateTime>,
    state: String,
    version: i32,
    created_at: NaiveDateTime,
    revoked_at: Option<NaiveDateTime>,
    revoked_by: Option<MemberId>,
    revoke_reason: Option<String>,
}

impl TryFrom<&Key> for Row {
    type Error = Error;

    fn try_from(key: &Key) -> Result<Self, Error> {
        let (revoked_at, revoked_by, revoke_reason) = match &key.state {
            KeyState::Revoked { at, by, reason } => {
                (Some(at.naive_utc()), by.clone(), Some(reason.clone()))
            }
            KeyState::Approved | KeyState::Active | KeyState::Suspended => (None, None, None),
        };
        let grant = key.grant.clone();
        Ok(Self {
            id: key.id.clone(),
            organisation_id: key.organisation_id.clone(),
            request_id: key.request_id.clone(),
            maker_id: key.maker_id.clone(),
            api: grant.api,
            label: grant.label,
            contact_email: grant.contact_email,
            system: grant.system,
            environment: grant.environment.as_str().to_owned(),
            access_type: grant.access_type,
            permissions: grant.permissions.into_iter().collect::<Vec<_>>().join(" "),
            restrictions: serde_json::to_string(&grant.restrictions).map_err(Error::internal)?,
            max_transaction: grant.max_transaction,
            max_daily: grant.max_daily,
            allowed_ips: grant.allowed_ips.to_string(),
            expires_in_days: grant.expires_in_days,
            expires_at: key.expires_at.map(|at| at.naive_utc()),
            state: key.state.name().to_owned(),
            version: key.version,
            created_at: key.created_at.naive_utc(),
            revoked_at,
            revoked_by,
            revoke_reason,
        })
    }
}

impl Row {
    fn parse(self) -> Result<Key, Error> {
        let corrupt = |what: String| Error::internal(format!("key {}: {what}", self.id));
        let revoked_at = self.revoked_at.map(|at| at.and_utc());
        let state = match (self.state.as_str(), revoked_at, self.revoke_reason) {
            ("approved", None, None) => KeyState::Approved,
            ("active", None, None) => KeyState::Active,
            ("suspended", None, None) => KeyState::Suspended,
            ("revoked", Some(at), Some(reason)) => {
                KeyState::Revoked { at, by: self.revoked_by, reason }
            }
            (state, ..) => {
                return Err(corrupt(format!("state {state} does not match its columns")));
            }
        };
        let permissions: BTreeSet<String> =
            self.permissions.split_whitespace().map(str::to_owned).collect();
        let grant = Grant {
            environment: self.environment.parse().map_err(|e: &str| corrupt(e.to_owned()))?,
            restrictions: serde_json::from_str(&self.restrictions)
                .map_err(|e| corrupt(e.to_string()))?,
            allowed_ips: AllowedIps::parse(&self.allowed_ips).map_err(corrupt)?,
            api: self.api,
            label: self.label,
            contact_email: self.contact_email,
            system: self.system,
            access_type: self.access_type,
            permissions,
            max_transaction: self.max_transaction,
            max_daily: self.max_daily,
            expires_in_days: self.expires_in_days,
        };
        Ok(Key {
            id: self.id,
            organisation_id: self.organisation_id,
            request_id: self.request_id,
            maker_id: self.maker_id,
            grant,
            expires_at: self.expires_at.map(|at| at.and_utc()),
            state,
            version: self.version,
            created_at: self.created_at.and_utc(),
        })
    }
}
