//! What keys have spent on each calendar day, as rows that hold the daily limit exactly on any number
//! of nodes.

use chrono::{Days, NaiveDate};
use diesel::prelude::*;

use super::schema::key_volumes;
use super::{Conn, Tx};
use crate::domain::id::KeyId;
use crate::error::Error;

/// A key's spending on one day; while the transaction lives, nobody else changes it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// The day, as stored.
    pub day: String,
    /// Minor units.
    pub used: i64,
}

/// Takes the lock of a key's day and tells what was used of it. A day that was begun stays until it is
/// over: a clock that steps back over midnight does not open yesterday's volume once more.
pub fn lock(tx: &mut Tx<'_>, key: &KeyId, today: NaiveDate) -> Result<Volume, Error> {
    let day = newest(tx.conn, key, today)?.unwrap_or_else(|| today.to_string());
    let begun = diesel::sql_query(
        "INSERT INTO key_volumes (key_id, day, used) VALUES ($1, $2, 0) \
         ON CONFLICT (key_id, day) DO UPDATE SET used = key_volumes.used",
    );
    begun
        .bind::<diesel::sql_types::Text, _>(key.as_str())
        .bind::<diesel::sql_types::Text, _>(&day)
        .execute(tx.conn)?;
    let used = key_volumes::table.find((key, &day)).select(key_volumes::used).first(tx.conn)?;
    Ok(Volume { day, used })
}

/// What a key used of `today`.
pub fn used(conn: &mut Conn, key: &KeyId, today: NaiveDate) -> Result<i64, Error> {
    let day = newest(conn, key, today)?.unwrap_or_else(|| today.to_string());
    let row = key_volumes::table.find((key, &day)).select(key_volumes::used).first(conn);
    Ok(row.optional()?.unwrap_or(0))
}

/// The newest day on or after `today` that was begun. Two days ahead, because 25 hours before half past
/// midnight is the day before yesterday; more than that is a clock that was wrong.
fn newest(conn: &mut Conn, key: &KeyId, today: NaiveDate) -> Result<Option<String>, Error> {
    let last = today.checked_add_days(Days::new(2)).unwrap_or(today);
    let day = key_volumes::table
        .filter(key_volumes::key_id.eq(key))
        .filter(key_volumes::day.ge(today.to_string()))
        .filter(key_volumes::day.le(last.to_string()))
        .order(key_volumes::day.desc())
        .select(key_volumes::day)
        .first(conn);
    Ok(day.optional()?)
}

/// Writes what was used of a day whose lock is held.
pub fn set(tx: &mut Tx<'_>, key: &KeyId, volume: &Volume) -> Result<(), Error> {
    diesel::update(key_volumes::table.find((key, &volume.day)))
        .set(key_volumes::used.eq(volume.used))
        .execute(tx.conn)?;
    Ok(())
}

/// Gives an amount back to the day it was counted on.
pub fn give_back(tx: &mut Tx<'_>, key: &KeyId, day: &str, amount: i64) -> Result<(), Error> {
    diesel::update(key_volumes::table.find((key, day)))
        .set(key_volumes::used.eq(key_volumes::used - amount))
        .execute(tx.conn)?;
    Ok(())
}
