//! What keys have spent on each calendar day, as rows that hold the daily limit exactly on any number
//! of nodes.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use diesel::prelude::*;

use super::pool::load_locked;
use super::pool::values::{self, Statement, Value};
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

/// What keys have spent on their days.
pub type Volumes = BTreeMap<KeyId, Volume>;

/// Takes the locks of the days of these keys, in the order of their ids so that two nodes cannot wait for
/// each other, and tells what was used of each. A day that was begun stays until it is over: a clock that
/// steps back over midnight does not open yesterday's volume once more.
pub fn lock_all(tx: &mut Tx<'_>, keys: &BTreeMap<KeyId, NaiveDate>) -> Result<Volumes, Error> {
    let Some(first) = keys.values().min() else { return Ok(Volumes::new()) };
    let begun: Vec<(KeyId, String, i64)> = load_locked!(
        tx.conn,
        key_volumes::table
            .filter(key_volumes::key_id.eq_any(keys.keys().map(KeyId::as_str)))
            .filter(key_volumes::day.ge(first.to_string()))
            .order((key_volumes::key_id, key_volumes::day))
            .select((key_volumes::key_id, key_volumes::day, key_volumes::used))
    )?;
    // Later days replace earlier ones.
    let begun = begun.into_iter().filter(|(key, day, _)| counts(keys, key, day));
    let mut volumes: Volumes = begun.map(|(key, day, used)| (key, Volume { day, used })).collect();
    let days: Vec<(&KeyId, String)> = keys
        .iter()
        .filter(|(key, _)| !volumes.contains_key(*key))
        .map(|(key, today)| (key, today.to_string()))
        .collect();
    let rows: Vec<[Value<'_>; 3]> = days.iter().map(|(key, day)| row(key, day, 0)).collect();
    for (key, day, used) in values::insert_returning(tx.conn, Begin, &rows)? {
        volumes.insert(key.parse().map_err(Error::internal)?, Volume { day, used });
    }
    Ok(volumes)
}

/// True for the today of the key, and for two days after it, because 25 hours before half past midnight is
/// the day before yesterday; more than that is a clock that was wrong.
fn counts(keys: &BTreeMap<KeyId, NaiveDate>, key: &KeyId, day: &str) -> bool {
    keys.get(key).is_some_and(|today| {
        let last = today.checked_add_days(Days::new(2)).unwrap_or(*today);
        (today.to_string().as_str()..=last.to_string().as_str()).contains(&day)
    })
}

/// The same for one key.
pub fn lock(tx: &mut Tx<'_>, key: &KeyId, today: NaiveDate) -> Result<Volume, Error> {
    let volume = lock_all(tx, &BTreeMap::from([(key.clone(), today)]))?.remove(key);
    volume.ok_or_else(|| Error::internal("a volume was not locked"))
}

/// Writes what was used of days whose locks are held.
pub fn set_all(tx: &mut Tx<'_>, volumes: &Volumes) -> Result<(), Error> {
    values::insert(tx.conn, Replace, &rows(volumes))?;
    Ok(())
}

/// What was used, as rows.
pub(super) fn rows(volumes: &Volumes) -> Vec<[Value<'_>; 3]> {
    volumes.iter().map(|(key, volume)| row(key, &volume.day, volume.used)).collect()
}

struct Begin;

impl Statement for Begin {
    const BEFORE: &'static str = "INSERT INTO key_volumes (key_id, day, used)";
    const AFTER: &'static str = "ON CONFLICT (key_id, day) DO UPDATE SET used = key_volumes.used \
                                 RETURNING key_id, day, used";
}

/// Rows that may be there already, and what they shall hold.
pub(super) struct Replace;

impl Statement for Replace {
    const BEFORE: &'static str = Begin::BEFORE;
    const AFTER: &'static str = "ON CONFLICT (key_id, day) DO UPDATE SET used = excluded.used";
}

fn row<'a>(key: &'a KeyId, day: &'a str, used: i64) -> [Value<'a>; 3] {
    [key.as_str().into(), day.into(), Value::Number(used)]
}

/// What a key used of `today`.
pub fn used(conn: &mut Conn, key: &KeyId, today: NaiveDate) -> Result<i64, Error> {
    let begun: Vec<(String, i64)> = key_volumes::table
        .filter(key_volumes::key_id.eq(key))
        .filter(key_volumes::day.ge(today.to_string()))
        .order(key_volumes::day.desc())
        .select((key_volumes::day, key_volumes::used))
        .load(conn)?;
    let keys = BTreeMap::from([(key.clone(), today)]);
    let newest = begun.into_iter().find(|(day, _)| counts(&keys, key, day));
    Ok(newest.map_or(0, |(_, used)| used))
}

/// Gives an amount back to the day it was counted on.
pub fn give_back(tx: &mut Tx<'_>, key: &KeyId, day: &str, amount: i64) -> Result<(), Error> {
    diesel::update(key_volumes::table.find((key, day)))
        .set(key_volumes::used.eq(key_volumes::used - amount))
        .execute(tx.conn)?;
    Ok(())
}
