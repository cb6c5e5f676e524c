//! Where keys were used from, and which of those places nobody has been told of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::pool::load_locked;
use super::pool::values::{self, Statement, Value};
use super::schema::{key_addresses, key_usage};
use super::{Conn, Tx};
use crate::domain::id::KeyId;
use crate::domain::usage::{Address, Seen, Taken};
use crate::error::Error;

/// Addresses kept for one key; beyond it those go that have been silent for longest.
const MOST: i64 = 1_000;
/// Values in one list of a statement.
const LIST: usize = 1_000;
/// New addresses that are read at a time: those of a few keys at least.
const READ: i64 = 5 * MOST;

/// Addresses nobody was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// How many there are.
    pub total: i64,
    /// The newest of them.
    pub newest: Vec<Address>,
}

/// Adds calls to the addresses they came from; gives the addresses that are new to their key.
/// The rows of the keys in `key_usage` must be this transaction's already.
pub(super) fn add(
    tx: &mut Tx<'_>,
    batch: &[(KeyId, Taken)],
) -> Result<Vec<(KeyId, IpAddr)>, Error> {
    let mut sums: BTreeMap<(&str, IpAddr), Seen> = BTreeMap::new();
    for (key, taken) in batch {
        for seen in &taken.addresses {
            let sum = sums.entry((key.as_str(), seen.ip));
            sum.and_modify(|sum| sum.add(seen)).or_insert(*seen);
        }
    }
    let named: Vec<_> =
        sums.iter().map(|((key, ip), seen)| (*key, *seen, ip.to_string())).collect();
    let new = add_rows(tx, &named)?;
    note_news(tx, &new)?;
    Ok(new)
}

struct See;

impl Statement for See {
    const BEFORE: &'static str =
        "INSERT INTO key_addresses (key_id, ip, first_seen_at, last_seen_at, calls, denied)";
    const AFTER: &'static str = "ON CONFLICT (key_id, ip) DO UPDATE SET \
        calls = key_addresses.calls + excluded.calls, \
        denied = key_addresses.denied + excluded.denied, \
        first_seen_at = CASE WHEN key_addresses.first_seen_at < excluded.first_seen_at \
        THEN key_addresses.first_seen_at ELSE excluded.first_seen_at END, \
        last_seen_at = CASE WHEN key_addresses.last_seen_at > excluded.last_seen_at \
        THEN key_addresses.last_seen_at ELSE excluded.last_seen_at END \
        RETURNING key_id, ip, calls";
    const AT_ONCE: usize = 8;
}

struct AddNews;

impl Statement for AddNews {
    const BEFORE: &'static str = "INSERT INTO key_usage (key_id, allowed, denied, new_addresses)";
    const AFTER: &'static str = "ON CONFLICT (key_id) DO UPDATE SET \
        new_addresses = key_usage.new_addresses + excluded.new_addresses";
}

fn add_rows(
    tx: &mut Tx<'_>,
    chunk: &[(&str, Seen, String)],
) -> Result<Vec<(KeyId, IpAddr)>, Error> {
    let mut rows = Vec::with_capacity(chunk.len());
    for (key, seen, ip) in chunk {
        rows.push([
            Value::Text(Some(key)),
            Value::Text(Some(ip)),
            Value::Time(Some(seen.first.naive_utc())),
            Value::Time(Some(seen.last.naive_utc())),
            Value::Number(seen.calls),
            Value::Number(seen.denied),
        ]);
    }
    let written = values::insert_returning(tx.conn, See, &rows)?;
    let sent: BTreeMap<(&str, &str), Seen> =
        chunk.iter().map(|(key, seen, ip)| ((*key, ip.as_str()), *seen)).collect();
    // A row that was there before had calls of its own.
    let new = written.into_iter().filter_map(|(key, ip, calls)| {
        let seen = sent.get(&(key.as_str(), ip.as_str()))?;
        (seen.calls == calls).then(|| Ok((key.parse().map_err(Error::internal)?, seen.ip)))
    });
    new.collect()
}

/// Counts the new addresses of each key, and drops what is too much.
fn note_news(tx: &mut Tx<'_>, new: &[(KeyId, IpAddr)]) -> Result<(), Error> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, _) in new {
        let count = counts.entry(key.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    let rows: Vec<_> = counts
        .iter()
        .map(|(key, count)| {
            let zero = || Value::Number(0);
            [Value::Text(Some(key)), zero(), zero(), Value::Number(*count)]
        })
        .collect();
    values::insert(tx.conn, AddNews, &rows)?;
    let keys: Vec<&str> = counts.into_keys().collect();
    keys.chunks(LIST).try_for_each(|keys| drop_silent(tx, keys))
}

/// Drops the addresses beyond the most that a key may have.
fn drop_silent(tx: &mut Tx<'_>, keys: &[&str]) -> Result<(), Error> {
    let full: Vec<KeyId> = key_addresses::table
        .filter(key_addresses::key_id.eq_any(keys))
        .group_by(key_addresses::key_id)
        .having(diesel::dsl::count_star().gt(MOST))
        .select(key_addresses::key_id)
        .load(tx.conn)?;
    for key in full {
        let silent: Vec<String> = key_addresses::table
            .filter(key_addresses::key_id.eq(&key))
            .order((key_addresses::last_seen_at.desc(), key_addresses::ip))
            // SQLite knows no offset without a limit.
            .limit(i64::MAX)
            .offset(MOST)
            .select(key_addresses::ip)
            .load(tx.conn)?;
        for ips in silent.chunks(LIST) {
            let rows = key_addresses::table
                .filter(key_addresses::key_id.eq(&key))
                .filter(key_addresses::ip.eq_any(ips));
            diesel::delete(rows).execute(tx.conn)?;
        }
    }
    Ok(())
}

/// The addresses of a key, the one that called last first.
pub fn list(conn: &mut Conn, key: &KeyId, limit: i64) -> Result<Vec<Address>, Error> {
    let rows = key_addresses::table
        .filter(key_addresses::key_id.eq(key))
        .order((key_addresses::last_seen_at.desc(), key_addresses::ip))
        .limit(limit)
        .select(Row::as_select())
        .load::<Row>(conn)?;
    Ok(rows.into_iter().map(Address::from).collect())
}

/// How many addresses of a key are kept.
pub fn count(conn: &mut Conn, key: &KeyId) -> Result<i64, Error> {
    Ok(key_addresses::table.filter(key_addresses::key_id.eq(key)).count().get_result(conn)?)
}

/// True if there are keys with addresses nobody was told of, about which nobody was told anything since `since`.
pub fn has_news(conn: &mut Conn, since: DateTime<Utc>) -> Result<bool, Error> {
    Ok(diesel::select(diesel::dsl::exists(with_news(since.naive_utc()))).get_result(conn)?)
}

#[diesel::dsl::auto_type(no_type_alias)]
fn with_news(since: NaiveDateTime) -> _ {
    let mailed_at = key_usage::addresses_mailed_at;
    // Written out, because the index that holds nothing else is only used if the condition is no parameter.
    let has_news: SqlLiteral<Bool> = sql("key_usage.new_addresses > 0");
    key_usage::table
        .filter(has_news)
        .filter(mailed_at.is_null().or(mailed_at.le(since).assume_not_null()))
}

/// Takes the news of so many such keys, so that nobody else tells of them, with the newest addresses of each.
pub fn take_news(
    tx: &mut Tx<'_>,
    since: DateTime<Utc>,
    (keys, listed): (i64, usize),
) -> Result<BTreeMap<KeyId, News>, Error> {
    let rows: Vec<(KeyId, i64)> = load_locked!(
        tx.conn,
        with_news(since.naive_utc())
            .order(key_usage::key_id)
            .limit(keys)
            .select((key_usage::key_id, key_usage::new_addresses))
    )?;
    let mut news = BTreeMap::new();
    let mut read = 0_i64;
    for (key, total) in rows {
        // The others have their turn later.
        read = read.saturating_add(total.min(MOST));
        if read <= READ {
            news.insert(key, News { total, newest: Vec::new() });
        }
    }
    let ids: Vec<&str> = news.keys().map(KeyId::as_str).collect();
    let now = tx.now.naive_utc();
    diesel::update(key_usage::table.filter(key_usage::key_id.eq_any(&ids)))
        .set((key_usage::new_addresses.eq(0_i64), key_usage::addresses_mailed_at.eq(now)))
        .execute(tx.conn)?;
    let untold = || {
        let theirs = key_addresses::table.filter(key_addresses::key_id.eq_any(&ids));
        theirs.filter(key_addresses::mailed_at.is_null())
    };
    let seen: Vec<(KeyId, Row)> = untold()
        .order((key_addresses::first_seen_at.desc(), key_addresses::ip))
        .select((key_addresses::key_id, Row::as_select()))
        .load(tx.conn)?;
    diesel::update(untold()).set(key_addresses::mailed_at.eq(now)).execute(tx.conn)?;
    for (key, row) in seen {
        let newest = news.get_mut(&key).map(|news| &mut news.newest);
        if let Some(newest) = newest.filter(|newest| newest.len() < listed) {
            newest.push(row.into());
        }
    }
    Ok(news)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = key_addresses)]
struct Row {
    ip: String,
    first_seen_at: NaiveDateTime,
    last_seen_at: NaiveDateTime,
    calls: i64,
    denied: i64,
}

impl From<Row> for Address {
    fn from(row: Row) -> Self {
        Self {
            ip: row.ip,
            first_seen_at: row.first_seen_at.and_utc(),
            last_seen_at: row.last_seen_at.and_utc(),
            calls: row.calls,
            denied: row.denied,
        }
    }
}
