//! Secrets as rows: the hash, the last four characters, and what became of each.

use chrono::NaiveDateTime;
use diesel::prelude::*;

use super::pool::load_listed;
use super::schema::secrets;
use super::{Conn, Tx};
use crate::domain::id::{KeyId, SecretId};
use crate::domain::key::Secret;
use crate::domain::secret::SecretHash;
use crate::error::Error;

/// A secret that opens its key right now.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = secrets)]
pub struct LiveSecret {
    /// Its id.
    pub id: SecretId,
    /// The last four characters.
    pub last_four: String,
    #[diesel(column_name = hash)]
    raw_hash: Vec<u8>,
    confirmed_at: Option<NaiveDateTime>,
    first_used_at: Option<NaiveDateTime>,
}

impl LiveSecret {
    /// The hash calls are looked up by.
    pub fn hash(&self) -> Option<SecretHash> {
        self.raw_hash.as_slice().try_into().ok().map(SecretHash)
    }

    /// True while the first call with it has to be written down before it is answered.
    pub fn is_unsaved(&self) -> bool {
        self.confirmed_at.is_none() && self.first_used_at.is_none()
    }
}

/// Adds a secret.
pub fn insert(tx: &mut Tx<'_>, secret: &Secret, hash: SecretHash) -> Result<(), Error> {
    diesel::insert_into(secrets::table)
        .values((
            secrets::id.eq(&secret.id),
            secrets::key_id.eq(&secret.key_id),
            secrets::hash.eq(hash.0.to_vec()),
            secrets::last_four.eq(&secret.last_four),
            secrets::minted_at.eq(secret.minted_at.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Every secret of a key: those that open it first, then the newest.
pub fn list(conn: &mut Conn, key: &KeyId) -> Result<Vec<Secret>, Error> {
    Ok(of_keys(conn, &[key])?)
}

/// Every secret of these keys: those that open them first, then the newest.
pub fn of_keys(conn: &mut Conn, keys: &[&KeyId]) -> QueryResult<Vec<Secret>> {
    let ids = keys.iter().map(|id| id.as_str());
    let newest =
        (secrets::ended_at.is_null().desc(), secrets::minted_at.desc(), secrets::id.desc());
    let rows: Vec<Row> = load_listed!(
        conn,
        secrets::table.filter(secrets::key_id.eq_any(ids)).order(newest).select(Row::as_select())
    )?;
    Ok(rows.into_iter().map(Row::into_secret).collect())
}

/// The secrets that open a key right now.
pub fn list_live(conn: &mut Conn, key: &KeyId) -> QueryResult<Vec<LiveSecret>> {
    secrets::table
        .filter(secrets::key_id.eq(key))
        .filter(secrets::ended_at.is_null())
        .select(LiveSecret::as_select())
        .load(conn)
}

/// Ends the secrets of a key that were shown but neither saved nor used.
pub fn end_unsaved(tx: &mut Tx<'_>, key: &KeyId) -> Result<usize, Error> {
    let unsaved = secrets::table
        .filter(secrets::key_id.eq(key))
        .filter(secrets::ended_at.is_null())
        .filter(secrets::confirmed_at.is_null())
        .filter(secrets::first_used_at.is_null());
    Ok(diesel::update(unsaved).set(secrets::ended_at.eq(tx.now.naive_utc())).execute(tx.conn)?)
}

/// Ends every secret of a key.
pub fn end_all(tx: &mut Tx<'_>, key: &KeyId) -> Result<usize, Error> {
    let live = secrets::table.filter(secrets::key_id.eq(key)).filter(secrets::ended_at.is_null());
    Ok(diesel::update(live).set(secrets::ended_at.eq(tx.now.naive_utc())).execute(tx.conn)?)
}

/// Notes that the maker saved what was shown; gives how many secrets that was about.
pub fn confirm(tx: &mut Tx<'_>, key: &KeyId) -> Result<usize, Error> {
    let shown = secrets::table
        .filter(secrets::key_id.eq(key))
        .filter(secrets::ended_at.is_null())
        .filter(secrets::confirmed_at.is_null());
    Ok(diesel::update(shown).set(secrets::confirmed_at.eq(tx.now.naive_utc())).execute(tx.conn)?)
}

/// Notes the first call with a secret; false if the secret has ended meanwhile.
pub fn note_first_use(tx: &mut Tx<'_>, id: &SecretId) -> Result<bool, Error> {
    let live = secrets::table.find(id).filter(secrets::ended_at.is_null());
    let marked = diesel::update(live.filter(secrets::first_used_at.is_null()))
        .set(secrets::first_used_at.eq(tx.now.naive_utc()))
        .execute(tx.conn)?;
    if marked == 1 {
        return Ok(true);
    }
    // Another call was first: then the row is there, and the secret still opens its key.
    Ok(live.count().get_result::<i64>(tx.conn)? == 1)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = secrets)]
struct Row {
    id: SecretId,
    key_id: KeyId,
    last_four: String,
    minted_at: NaiveDateTime,
    confirmed_at: Option<NaiveDateTime>,
    first_used_at: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
}

impl Row {
    fn into_secret(self) -> Secret {
        let utc = |at: Option<NaiveDateTime>| at.map(|at| at.and_utc());
        Secret {
            id: self.id,
            key_id: self.key_id,
            last_four: self.last_four,
            minted_at: self.minted_at.and_utc(),
            confirmed_at: utc(self.confirmed_at),
            first_used_at: utc(self.first_used_at),
            ended_at: utc(self.ended_at),
        }
    }
}
