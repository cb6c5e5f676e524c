//! Keys as the index of every node wants them: with the secrets that open them right now.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::Row;
use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::error::Error;
use crate::store::schema::{keys, secrets};
use crate::store::secrets::LiveSecret;
use crate::store::{Change, Conn, Tx};

/// Snapshots are read in pages of so many: what a page takes while it is read is not given back.
pub const PAGE: i64 = 500;

/// A key and the secrets that open it right now: all that enforcement needs.
#[derive(Clone, Debug)]
pub struct KeySnapshot {
    /// The key.
    pub key: Key,
    /// Its secrets that have not ended.
    pub secrets: Vec<LiveSecret>,
}

/// Tells the key index of every node about a key, once the transaction has committed.
pub fn announce(tx: &mut Tx<'_>, key: Key) -> Result<(), Error> {
    let secrets = crate::store::secrets::list_live(tx.conn, &key.id)?;
    tx.changed(Change::Key(Box::new(KeySnapshot { key, secrets })));
    Ok(())
}

/// One key as the index wants it.
pub fn find_snapshot(conn: &mut Conn, id: &KeyId) -> Result<Option<KeySnapshot>, Error> {
    let row = keys::table.find(id).select(Row::as_select()).get_result(conn).optional()?;
    let Some(key) = row.map(Row::parse).transpose()? else { return Ok(None) };
    let secrets = crate::store::secrets::list_live(conn, id)?;
    Ok(Some(KeySnapshot { key, secrets }))
}

/// Every key that could open something, in pages by id: those after `after`.
pub fn list_snapshots(
    conn: &mut Conn,
    after: Option<&KeyId>,
    limit: i64,
) -> Result<Vec<KeySnapshot>, Error> {
    let mut query = keys::table
        .filter(keys::state.ne("revoked"))
        .order(keys::id)
        .limit(limit)
        .select(Row::as_select())
        .into_boxed::<crate::store::pool::MultiBackend>();
    if let Some(after) = after {
        query = query.filter(keys::id.gt(after.clone()));
    }
    let rows = query.load::<Row>(conn)?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let live = secrets::table
        .filter(secrets::key_id.eq_any(ids))
        .filter(secrets::ended_at.is_null())
        .select((secrets::key_id, LiveSecret::as_select()))
        .load::<(KeyId, LiveSecret)>(conn)?;
    let mut by_key: std::collections::HashMap<KeyId, Vec<LiveSecret>> =
        std::collections::HashMap::new();
    for (key, secret) in live {
        by_key.entry(key).or_default().push(secret);
    }
    rows.into_iter()
        .map(|row| {
            let secrets = by_key.remove(&row.id).unwrap_or_default();
            Ok(KeySnapshot { key: row.parse()?, secrets })
        })
        .collect()
}

/// Keys that were revoked at `since` or later: they open nothing any more.
pub fn list_revoked_since(
    conn: &mut Conn,
    since: DateTime<Utc>,
) -> Result<Vec<KeySnapshot>, Error> {
    let rows = keys::table
        .filter(keys::state.eq("revoked"))
        .filter(keys::revoked_at.ge(since.naive_utc()))
        .select(Row::as_select())
        .load::<Row>(conn)?;
    rows.into_iter().map(|row| Ok(KeySnapshot { key: row.parse()?, secrets: Vec::new() })).collect()
}
