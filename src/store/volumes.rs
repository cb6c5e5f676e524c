//! What keys have spent on each calendar day, as rows that hold the daily limit exactly on any number
//! of nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{Days, NaiveDate};
use diesel::prelude::*;

use super::pool::values::{self, Statement, Value};
use super::pool::{load_listed, load_locked};
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
    let begun = newest(tx.conn, keys)?;
    if begun.len() == keys.len() {
        return lock_begun(tx, &begun);
    }
    let days: Vec<(&KeyId, String)> = keys
        .iter()
        .map(|(key, today)| (key, begun.get(key).cloned().unwrap_or_else(|| today.to_string())))
        .collect();
    let rows: Vec<[Value<'_>; 3]> = days.iter().map(|(key, day)| row(key, day, 0)).collect();
    let mut volumes = Volumes::new();
    for (key, day, used) in values::insert_returning(tx.conn, Begin, &rows)? {
        volumes.insert(key.parse().map_err(Error::internal)?, Volume { day, used });
    }
    Ok(volumes)
}

/// Takes the locks of rows that are all there: that changes none of them.
fn lock_begun(tx: &mut Tx<'_>, begun: &HashMap<KeyId, String>) -> Result<Volumes, Error> {
    let days: BTreeSet<&str> = begun.values().map(String::as_str).collect();
    let rows: Vec<(KeyId, String, i64)> = load_locked!(
        tx.conn,
        key_volumes::table
            .filter(key_volumes::key_id.eq_any(begun.keys().map(KeyId::as_str)))
            .filter(key_volumes::day.eq_any(days.iter().copied()))
            .order((key_volumes::key_id, key_volumes::day))
            .select((key_volumes::key_id, key_volumes::day, key_volumes::used))
    )?;
    let of_today = rows.into_iter().filter(|(key, day, _)| begun.get(key) == Some(day));
    Ok(of_today.map(|(key, day, used)| (key, Volume { day, used })).collect())
}

/// The same for one key.
pub fn lock(tx: &mut Tx<'_>, key: &KeyId, today: NaiveDate) -> Result<Volume, Error> {
    let volume = lock_all(tx, &BTreeMap::from([(key.clone(), today)]))?.remove(key);
    volume.ok_or_else(|| Error::internal("a volume was not locked"))
}

/// Writes what was used of days whose locks are held.
pub fn set_all(tx: &mut Tx<'_>, volumes: &Volumes) -> Result<(), Error> {
    let rows: Vec<[Value<'_>; 3]> =
        volumes.iter().map(|(key, volume)| row(key, &volume.day, volume.used)).collect();
    values::insert(tx.conn, Replace, &rows)?;
    Ok(())
}

struct Begin;

impl Statement for Begin {
    const BEFORE: &'static str = "INSERT INTO key_volumes (key_id, day, used)";
    const AFTER: &'static str = "ON CONFLICT (key_id, day) DO UPDATE SET used = key_volumes.used \
                                 RETURNING key_id, day, used";
}

struct Replace;

impl Statement for Replace {
    const BEFORE: &'static str = Begin::BEFORE;
    const AFTER: &'static str = "ON CONFLICT (key_id, day) DO UPDATE SET used = excluded.used";
}

fn row<'a>(key: &'a KeyId, day: &'a str, used: i64) -> [Value<'a>; 3] {
    [key.as_str().into(), day.into(), Value::Number(used)]
}

/// What a key used of `today`.
pub fn used(conn: &mut Conn, key: &KeyId, today: NaiveDate) -> Result<i64, Error> {
    let begun = newest(conn, &BTreeMap::from([(key.clone(), today)]))?.remove(key);
    let day = begun.unwrap_or_else(|| today.to_string());
    let row = key_volumes::table.find((key, &day)).select(key_volumes::used).first(conn);
    Ok(row.optional()?.unwrap_or(0))
}

/// The newest day of each key, on or after its today, that was begun. Two days ahead, because 25 hours
/// before half past midnight is the day before yesterday; more than that is a clock that was wrong.
fn newest(
    conn: &mut Conn,
    keys: &BTreeMap<KeyId, NaiveDate>,
) -> Result<HashMap<KeyId, String>, Error> {
    let Some(first) = keys.values().min() else { return Ok(HashMap::new()) };
    let found: Vec<(KeyId, String)> = load_listed!(
        conn,
        key_volumes::table
            .filter(key_volumes::key_id.eq_any(keys.keys().map(KeyId::as_str)))
            .filter(key_volumes::day.ge(first.to_string()))
            .order(key_volumes::day)
            .select((key_volumes::key_id, key_volumes::day))
    )?;
    let counts = |(key, day): &(KeyId, String)| {
        keys.get(key).is_some_and(|today| {
            let last = today.checked_add_days(Days::new(2)).unwrap_or(*today);
            (today.to_string()..=last.to_string()).contains(day)
        })
    };
    // Later days replace earlier ones.
    Ok(found.into_iter().filter(counts).collect())
}

/// Gives an amount back to the day it was counted on.
pub fn give_back(tx: &mut Tx<'_>, key: &KeyId, day: &str, amount: i64) -> Result<(), Error> {
    diesel::update(key_volumes::table.find((key, day)))
        .set(key_volumes::used.eq(key_volumes::used - amount))
        .execute(tx.conn)?;
    Ok(())
}
