//! Usage of many keys at once, first written down as it was taken and added to the counts later: a key that
//! is in use all the time then costs one change of its rows in a round of all parts, not one a second.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;
use chrono::DateTime;
use diesel::prelude::*;

use super::pool::load_locked;
use super::pool::values::{self, Statement, Value};
use super::schema::usage_journal;
use super::{Conn, Tx, usage};
use crate::domain::id::KeyId;
use crate::domain::usage::{Count, LastUse, Seen, Taken};
use crate::error::Error;

/// Keys are added to the counts in so many parts, each key always in the same one.
pub const PARTS: i64 = 20;
/// Keys in one row at most.
const KEYS: usize = 250;
/// Rows that are added in one transaction at most.
const ROWS: i64 = 100;

/// What was counted, as the texts of rows to write down.
pub struct Lines(Vec<(i64, String)>);

impl Lines {
    /// Puts what was counted into words: outside of a transaction, because it takes its time.
    pub fn new(batch: &[(KeyId, Taken)]) -> Result<Self, Error> {
        let mut parts: BTreeMap<i64, Vec<Noted<'_>>> = BTreeMap::new();
        for (key, taken) in batch {
            parts.entry(part_of(key)).or_default().push(note(key, taken));
        }
        let rows =
            parts.iter().flat_map(|(part, keys)| keys.chunks(KEYS).map(|keys| (*part, keys)));
        let text = |keys| serde_json::to_string(keys).map_err(Error::internal);
        rows.map(|(part, keys)| Ok((part, text(keys)?))).collect::<Result<_, _>>().map(Self)
    }
}

fn part_of(key: &KeyId) -> i64 {
    let hash = |sum: i64, byte| sum.wrapping_mul(31).wrapping_add(i64::from(byte));
    key.as_str().bytes().fold(0, hash).rem_euclid(PARTS)
}

/// What was counted for one key, without names, because there is so much of it: the key, its counts, its last
/// use, its addresses. Times are microseconds since 1970, as fine as they are kept.
type Noted<'a> = (Cow<'a, str>, Vec<NotedCount<'a>>, Option<NotedUse<'a>>, Vec<NotedAddress>);
/// Hour, endpoint, outcome, calls, amount.
type NotedCount<'a> = (i64, Cow<'a, str>, Cow<'a, str>, i64, i64);
/// When, from where, with what.
type NotedUse<'a> = (i64, Option<IpAddr>, Option<Cow<'a, str>>);
/// Address, first call, last call, calls, denied.
type NotedAddress = (IpAddr, i64, i64, i64, i64);

fn note<'a>(key: &'a KeyId, taken: &'a Taken) -> Noted<'a> {
    let counts = taken.counts.iter().map(|count| {
        let (endpoint, outcome) = (Cow::from(&*count.endpoint), Cow::from(count.outcome.as_str()));
        (count.hour, endpoint, outcome, count.calls, count.amount)
    });
    let last = taken
        .last
        .as_ref()
        .map(|last| (last.at.timestamp_micros(), last.ip, last.agent.as_deref().map(Cow::from)));
    let addresses = taken.addresses.iter().map(|seen| {
        let (first, last) = (seen.first.timestamp_micros(), seen.last.timestamp_micros());
        (seen.ip, first, last, seen.calls, seen.denied)
    });
    (Cow::from(key.as_str()), counts.collect(), last, addresses.collect())
}

/// Reads what [`note`] wrote.
fn read((key, counts, last, addresses): Noted<'_>) -> anyhow::Result<(KeyId, Taken)> {
    let time = |micros| DateTime::from_timestamp_micros(micros).context("no time");
    let count = |(hour, endpoint, outcome, calls, amount): NotedCount<'_>| {
        let outcome = outcome.parse().map_err(anyhow::Error::msg)?;
        Ok(Count { hour, endpoint: endpoint.into(), outcome, calls, amount })
    };
    let used = |(at, ip, agent): NotedUse<'_>| {
        Ok::<_, anyhow::Error>(LastUse { at: time(at)?, ip, agent: agent.map(Cow::into_owned) })
    };
    let seen = |(ip, first, last, calls, denied): NotedAddress| {
        Ok(Seen { ip, first: time(first)?, last: time(last)?, calls, denied })
    };
    let taken = Taken {
        counts: counts.into_iter().map(count).collect::<anyhow::Result<_>>()?,
        last: last.map(used).transpose()?,
        addresses: addresses.into_iter().map(seen).collect::<anyhow::Result<_>>()?,
    };
    Ok((key.parse()?, taken))
}

fn read_all(text: &str) -> anyhow::Result<Vec<(KeyId, Taken)>> {
    serde_json::from_str::<Vec<Noted<'_>>>(text)?.into_iter().map(read).collect()
}

/// Writes down what was counted.
pub fn append(tx: &mut Tx<'_>, Lines(lines): &Lines) -> Result<(), Error> {
    let rows: Vec<_> = lines
        .iter()
        .map(|(part, text)| [Value::Number(*part), Value::from(text.as_str())])
        .collect();
    values::insert(tx.conn, Append, &rows)?;
    Ok(())
}

struct Append;

impl Statement for Append {
    const BEFORE: &'static str = "INSERT INTO usage_journal (part, batch)";
}

/// True if something of a part waits to be added to the counts.
pub fn has(conn: &mut Conn, part: i64) -> Result<bool, Error> {
    let rows = usage_journal::table.filter(usage_journal::part.eq(part));
    Ok(diesel::select(diesel::dsl::exists(rows)).get_result(conn)?)
}

/// Adds to the counts what was written down of a part, the oldest first; gives how many rows that were.
/// What makes no sense is set aside.
pub fn fold(tx: &mut Tx<'_>, part: i64) -> Result<usize, Error> {
    // Another node that wants the same part waits here, and then finds only what is left.
    let rows: Vec<(i64, String)> = load_locked!(
        tx.conn,
        usage_journal::table
            .filter(usage_journal::part.eq(part))
            .order(usage_journal::id)
            .limit(ROWS)
            .select((usage_journal::id, usage_journal::batch))
    )?;
    let (mut batch, mut added, mut senseless) = (Vec::new(), Vec::new(), Vec::new());
    for (id, text) in &rows {
        match read_all(text) {
            Ok(keys) => {
                batch.extend(keys);
                added.push(*id);
            }
            Err(e) => {
                tracing::error!(row = id, cause = %e, "usage that cannot be read stays in usage_journal, without its part");
                senseless.push(*id);
            }
        }
    }
    usage::flush(tx, &batch)?;
    diesel::update(usage_journal::table.filter(usage_journal::id.eq_any(senseless)))
        .set(usage_journal::part.eq(None::<i64>))
        .execute(tx.conn)?;
    diesel::delete(usage_journal::table.filter(usage_journal::id.eq_any(added)))
        .execute(tx.conn)?;
    Ok(rows.len())
}
