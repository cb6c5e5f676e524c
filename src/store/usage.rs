//! How often keys were used, as rows that the worker adds to in batches.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::schema::key_usage;
use super::{Conn, Tx};
use crate::domain::id::KeyId;
use crate::domain::key::Usage;
use crate::error::Error;

/// Calls of one key since the last flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// The key.
    pub key_id: KeyId,
    /// Calls that were allowed.
    pub allowed: i64,
    /// Calls that were denied.
    pub denied: i64,
    /// The last allowed one.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Starts the count of a new key.
pub fn insert(tx: &mut Tx<'_>, key: &KeyId) -> Result<(), Error> {
    diesel::insert_into(key_usage::table)
        .values((
            key_usage::key_id.eq(key),
            key_usage::allowed.eq(0_i64),
            key_usage::denied.eq(0_i64),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Adds calls to the count of their key.
pub fn add(tx: &mut Tx<'_>, calls: &Calls) -> Result<(), Error> {
    let row = key_usage::table.find(&calls.key_id);
    diesel::update(row)
        .set((
            key_usage::allowed.eq(key_usage::allowed + calls.allowed),
            key_usage::denied.eq(key_usage::denied + calls.denied),
        ))
        .execute(tx.conn)?;
    if let Some(at) = calls.last_used_at.map(|at| at.naive_utc()) {
        // Another node may have flushed a later call already.
        let earlier =
            key_usage::last_used_at.is_null().or(key_usage::last_used_at.lt(at).assume_not_null());
        diesel::update(row.filter(earlier)).set(key_usage::last_used_at.eq(at)).execute(tx.conn)?;
    }
    Ok(())
}

/// The counts of these keys.
pub fn list(conn: &mut Conn, keys: &[&KeyId]) -> Result<Vec<(KeyId, Usage)>, Error> {
    type Columns = (KeyId, i64, i64, Option<NaiveDateTime>);
    let rows: Vec<Columns> = key_usage::table
        .filter(key_usage::key_id.eq_any(keys.iter().map(|id| id.as_str())))
        .select((key_usage::key_id, key_usage::allowed, key_usage::denied, key_usage::last_used_at))
        .load(conn)?;
    let usage = |(id, allowed, denied, last): Columns| {
        (id, Usage { allowed, denied, last_used_at: last.map(|at| at.and_utc()) })
    };
    Ok(rows.into_iter().map(usage).collect())
}
