//! How often keys were used, as rows that the worker adds to in batches.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::pool::load_listed;
use super::pool::values::{self, Statement, Value};
use super::schema::{key_usage, usage_hours};
use super::{Conn, Tx, addresses};
use crate::domain::id::KeyId;
use crate::domain::usage::{LastUse, Outcome, Taken, Usage, hour_of, start_of_hour};
use crate::error::Error;

/// The same number in statements.
macro_rules! most {
    () => {
        4000000000000000000
    };
}

/// Sums stop growing here: one that overflowed could never be written again.
const MOST: i64 = most!();

/// Calls of one kind within one hour, all nodes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// When the hour begins.
    pub at: DateTime<Utc>,
    /// What was called.
    pub endpoint: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How often.
    pub calls: i64,
    /// What the allowed ones moved, in minor units.
    pub amount: i64,
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

/// Adds what was counted to the rows of its keys, a few statements for all of them; gives the
/// addresses that had never called with their key before.
pub fn flush(tx: &mut Tx<'_>, batch: &[(KeyId, Taken)]) -> Result<Vec<(KeyId, IpAddr)>, Error> {
    // These rows come first and in the same order on every node: whoever has one of them may go on
    // to the other tables, and no two flushes wait for each other.
    add_totals(tx, batch)?;
    add_hours(tx, batch)?;
    addresses::add(tx, batch)
}

/// What is added to one row of `key_usage`.
#[derive(Default)]
struct Total<'a> {
    allowed: i64,
    denied: i64,
    amount: i64,
    last: Option<&'a LastUse>,
}

fn add_totals(tx: &mut Tx<'_>, batch: &[(KeyId, Taken)]) -> Result<(), Error> {
    let mut totals: BTreeMap<&str, Total<'_>> = BTreeMap::new();
    for (key, taken) in batch {
        let total = totals.entry(key.as_str()).or_default();
        for count in &taken.counts {
            let allowed = count.outcome == Outcome::Allowed;
            let sum = if allowed { &mut total.allowed } else { &mut total.denied };
            *sum = sum.saturating_add(count.calls);
            total.amount = total.amount.saturating_add(count.amount).min(MOST);
        }
        total.last = total.last.into_iter().chain(&taken.last).max_by_key(|last| last.at);
    }
    let texts: Vec<_> = totals
        .into_iter()
        .map(|(key, total)| {
            let ip = total.last.and_then(|last| last.ip).map(|ip| ip.to_string());
            (key, total, ip)
        })
        .collect();
    let rows: Vec<_> = texts.iter().map(|(key, total, ip)| total.row(key, ip.as_deref())).collect();
    values::insert(tx.conn, AddTotals, &rows)?;
    Ok(())
}

struct AddTotals;

/// What a column becomes whose value belongs to the last use.
macro_rules! newest {
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN excluded.last_used_at IS NOT NULL AND (key_usage.last_used_at IS NULL \
             OR key_usage.last_used_at <= excluded.last_used_at) THEN excluded.",
            $column,
            " ELSE key_usage.",
            $column,
            " END"
        )
    };
}

/// What an amount becomes.
macro_rules! sum_up_to_most {
    ($table:literal) => {
        concat!(
            "amount = CASE WHEN ",
            $table,
            ".amount > ",
            most!(),
            " - excluded.amount THEN ",
            most!(),
            " ELSE ",
            $table,
            ".amount + excluded.amount END"
        )
    };
}

impl Statement for AddTotals {
    const BEFORE: &'static str = "INSERT INTO key_usage \
        (key_id, allowed, denied, amount, last_used_at, last_ip, last_agent)";
    const AFTER: &'static str = concat!(
        "ON CONFLICT (key_id) DO UPDATE SET allowed = key_usage.allowed + excluded.allowed, \
         denied = key_usage.denied + excluded.denied, ",
        sum_up_to_most!("key_usage"),
        ", ",
        newest!("last_ip"),
        ", ",
        newest!("last_agent"),
        ", ",
        newest!("last_used_at"),
    );
    const AT_ONCE: usize = 8;
}

impl Total<'_> {
    fn row<'a>(&'a self, key: &'a str, ip: Option<&'a str>) -> [Value<'a>; 7] {
        let agent = self.last.and_then(|last| last.agent.as_deref());
        [
            Value::Text(Some(key)),
            Value::Number(self.allowed),
            Value::Number(self.denied),
            Value::Number(self.amount),
            Value::Time(self.last.map(|last| last.at.naive_utc())),
            Value::Text(ip),
            Value::Text(agent),
        ]
    }
}

fn add_hours(tx: &mut Tx<'_>, batch: &[(KeyId, Taken)]) -> Result<(), Error> {
    let mut sums: BTreeMap<(&str, i64, &str, Outcome), (i64, i64)> = BTreeMap::new();
    for (key, taken) in batch {
        for count in &taken.counts {
            let kind = (key.as_str(), count.hour, &*count.endpoint, count.outcome);
            let (calls, amount) = sums.entry(kind).or_default();
            *calls = calls.saturating_add(count.calls);
            *amount = amount.saturating_add(count.amount).min(MOST);
        }
    }
    let row = |((key, hour, endpoint, outcome), (calls, amount)): ((_, _, _, Outcome), _)| {
        [
            Value::Text(Some(key)),
            Value::Time(Some(start_of_hour(hour).naive_utc())),
            Value::Text(Some(endpoint)),
            Value::Text(Some(outcome.as_str())),
            Value::Number(calls),
            Value::Number(amount),
        ]
    };
    let rows: Vec<_> = sums.into_iter().map(row).collect();
    values::insert(tx.conn, AddHours, &rows)?;
    Ok(())
}

struct AddHours;

impl Statement for AddHours {
    const BEFORE: &'static str =
        "INSERT INTO usage_hours (key_id, hour, endpoint, outcome, calls, amount)";
    const AFTER: &'static str = concat!(
        "ON CONFLICT (key_id, hour, endpoint, outcome) DO UPDATE SET \
         calls = usage_hours.calls + excluded.calls, ",
        sum_up_to_most!("usage_hours"),
    );
    const AT_ONCE: usize = 8;
}

/// The counts of these keys.
pub fn list(conn: &mut Conn, keys: &[&KeyId]) -> Result<Vec<(KeyId, Usage)>, Error> {
    let ids = keys.iter().map(|id| id.as_str());
    let rows: Vec<(KeyId, Row)> = load_listed!(
        conn,
        key_usage::table
            .filter(key_usage::key_id.eq_any(ids))
            .select((key_usage::key_id, Row::as_select()))
    )?;
    Ok(rows.into_iter().map(|(id, row)| (id, row.into())).collect())
}

/// Calls of these keys since the hour that `since` belongs to: all, and those denied. A key without
/// any is left out.
pub fn list_calls_since(
    conn: &mut Conn,
    keys: &[&KeyId],
    since: DateTime<Utc>,
) -> Result<Vec<(KeyId, i64, i64)>, Error> {
    let since = start_of_hour(hour_of(since)).naive_utc();
    // Sums of BIGINT are NUMERIC on PostgreSQL.
    let all = sql::<BigInt>("CAST(SUM(calls) AS BIGINT)");
    let denied =
        sql::<BigInt>("CAST(SUM(CASE WHEN outcome = 'allowed' THEN 0 ELSE calls END) AS BIGINT)");
    let ids = keys.iter().map(|id| id.as_str());
    Ok(load_listed!(
        conn,
        usage_hours::table
            .filter(usage_hours::key_id.eq_any(ids))
            .filter(usage_hours::hour.ge(since))
            .group_by(usage_hours::key_id)
            .select((usage_hours::key_id, all, denied))
    )?)
}

/// The hours of a key from `since` on, oldest first.
pub fn list_hours(conn: &mut Conn, key: &KeyId, since: DateTime<Utc>) -> Result<Vec<Hour>, Error> {
    type Columns = (NaiveDateTime, String, String, i64, i64);
    let rows: Vec<Columns> = usage_hours::table
        .filter(usage_hours::key_id.eq(key))
        .filter(usage_hours::hour.ge(since.naive_utc()))
        .order((usage_hours::hour, usage_hours::endpoint, usage_hours::outcome))
        .select((
            usage_hours::hour,
            usage_hours::endpoint,
            usage_hours::outcome,
            usage_hours::calls,
            usage_hours::amount,
        ))
        .load(conn)?;
    rows.into_iter()
        .map(|(at, endpoint, outcome, calls, amount)| {
            let outcome = outcome.parse().map_err(Error::internal)?;
            Ok(Hour { at: at.and_utc(), endpoint, outcome, calls, amount })
        })
        .collect()
}

/// Forgets hours that began before `before`.
pub fn sweep(tx: &mut Tx<'_>, before: DateTime<Utc>) -> Result<usize, Error> {
    let old = usage_hours::table.filter(usage_hours::hour.lt(before.naive_utc()));
    Ok(diesel::delete(old).execute(tx.conn)?)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = key_usage)]
struct Row {
    allowed: i64,
    denied: i64,
    amount: i64,
    last_used_at: Option<NaiveDateTime>,
    last_ip: Option<String>,
    last_agent: Option<String>,
}

impl From<Row> for Usage {
    fn from(row: Row) -> Self {
        let Row { allowed, denied, amount, last_used_at, last_ip, last_agent } = row;
        let last_used_at = last_used_at.map(|at| at.and_utc());
        Self { allowed, denied, amount, last_used_at, last_ip, last_agent }
    }
}
