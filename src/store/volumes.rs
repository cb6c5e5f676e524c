//! What keys have spent on each calendar day, as rows that hold the daily limit exactly on any number
//! of nodes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
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

/// The day that the spending of a key counts in.
#[derive(Clone, Debug)]
pub struct Day {
    /// The day, as stored.
    pub day: String,
    /// True if it has a row already.
    pub is_begun: bool,
}

impl Day {
    /// The newest day of a key that was begun, if it counts today, or else today. A day that was begun stays
    /// until it is over: a clock that steps back over midnight does not open yesterday's volume once more.
    pub(super) fn of(today: NaiveDate, newest: Option<&str>) -> Self {
        match newest.filter(|day| counts(today, day)) {
            Some(day) => Self { day: day.to_owned(), is_begun: true },
            None => Self { day: today.to_string(), is_begun: false },
        }
    }
}

/// True for today and two days after it, because 25 hours before half past midnight is the day before
/// yesterday; more than that is a clock that was wrong.
fn counts(today: NaiveDate, day: &str) -> bool {
    let last = today.checked_add_days(Days::new(2)).unwrap_or(today);
    (today.to_string().as_str()..=last.to_string().as_str()).contains(&day)
}

/// The first and the last day that can count now, anywhere on earth.
pub(super) fn days_around(now: DateTime<Utc>) -> [String; 2] {
    let today = now.date_naive();
    let first = today.pred_opt().unwrap_or(today);
    let last = today.checked_add_days(Days::new(3)).unwrap_or(today);
    [first.to_string(), last.to_string()]
}

/// Takes the locks of these days, in the order of their keys so that two nodes cannot wait for each other,
/// and tells what was used of each.
pub fn lock_all(tx: &mut Tx<'_>, days: &BTreeMap<KeyId, Day>) -> Result<Volumes, Error> {
    if days.values().all(|day| day.is_begun) {
        return lock_begun(tx, days);
    }
    let rows: Vec<[Value<'_>; 3]> = days.iter().map(|(key, day)| row(key, &day.day, 0)).collect();
    let mut volumes = Volumes::new();
    for (key, day, used) in values::insert_returning(tx.conn, Begin, &rows)? {
        volumes.insert(key.parse().map_err(Error::internal)?, Volume { day, used });
    }
    Ok(volumes)
}

/// Takes the locks of rows that are all there: that changes none of them.
fn lock_begun(tx: &mut Tx<'_>, begun: &BTreeMap<KeyId, Day>) -> Result<Volumes, Error> {
    let days: BTreeSet<&str> = begun.values().map(|day| day.day.as_str()).collect();
    let rows: Vec<(KeyId, String, i64)> = load_locked!(
        tx.conn,
        key_volumes::table
            .filter(key_volumes::key_id.eq_any(begun.keys().map(KeyId::as_str)))
            .filter(key_volumes::day.eq_any(days.iter().copied()))
            .order((key_volumes::key_id, key_volumes::day))
            .select((key_volumes::key_id, key_volumes::day, key_volumes::used))
    )?;
    let asked = |(key, day, _): &(KeyId, String, i64)| {
        begun.get(key).is_some_and(|begun| begun.day == *day)
    };
    let rows = rows.into_iter().filter(asked);
    Ok(rows.map(|(key, day, used)| (key, Volume { day, used })).collect())
}

/// The same for one key.
pub fn lock(tx: &mut Tx<'_>, key: &KeyId, day: Day) -> Result<Volume, Error> {
    let volume = lock_all(tx, &BTreeMap::from([(key.clone(), day)]))?.remove(key);
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
    let newest = begun.into_iter().find(|(day, _)| counts(today, day));
    Ok(newest.map_or(0, |(_, used)| used))
}

/// Gives an amount back to the day it was counted on.
pub fn give_back(tx: &mut Tx<'_>, key: &KeyId, day: &str, amount: i64) -> Result<(), Error> {
    diesel::update(key_volumes::table.find((key, day)))
        .set(key_volumes::used.eq(key_volumes::used - amount))
        .execute(tx.conn)?;
    Ok(())
}
