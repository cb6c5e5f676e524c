//! Usage of many keys at once, first written down as it was taken and added to the counts later: a key that
//! is in use all the time then costs one change of its rows in a round of all parts, not one a second.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chrono::serde::ts_microseconds;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::pool::values::{self, Statement, Value};
use super::pool::{load_listed, load_locked};
use super::schema::{keys, usage_journal};
use super::{Conn, Tx, usage};
use crate::domain::id::KeyId;
use crate::domain::usage::{Count, LastUse, Outcome, Seen, Taken};
use crate::error::Error;
use crate::patience::patiently;

/// Keys are added to the counts in so many parts, neighbours in the same one: their rows share pages.
pub const PARTS: u8 = 20;
/// Keys in one row at most.
const KEYS: usize = 250;
/// Rows that are added in one transaction at most.
const ROWS: i64 = 100;

/// What was counted, as the texts of rows to write down.
pub struct Lines(Vec<(i64, String)>);

impl Lines {
    /// Puts what was counted into words: outside of a transaction, because it takes its time.
    pub fn new(batch: &[(KeyId, Taken)]) -> Result<Self, Error> {
        let mut sorted: Vec<_> = batch.iter().collect();
        sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let (mut lines, mut rest) = (Vec::new(), sorted.as_slice());
        for part in patiently(0..PARTS, 2) {
            let (keys, others) = rest.split_at(rest.len().div_ceil(usize::from(PARTS - part)));
            rest = others;
            for keys in keys.chunks(KEYS) {
                let noted = patiently(keys, 100).map(|(key, taken)| note(key, taken));
                let noted: Vec<_> = noted.collect();
                let text = serde_json::to_string(&noted).map_err(Error::internal)?;
                lines.push((i64::from(part), text));
            }
        }
        Ok(Self(lines))
    }
}

/// What was counted for one key, without names, because there is so much of it: the key, its counts, its last
/// use, its addresses. Texts are read where they are, without a copy.
#[derive(Serialize, Deserialize)]
struct Noted<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Vec<NotedCount<'a>>,
    #[serde(borrow)] Option<NotedUse<'a>>,
    Vec<NotedAddress>,
);

/// Hour, endpoint, outcome, calls, amount.
#[derive(Serialize, Deserialize)]
struct NotedCount<'a>(i64, #[serde(borrow)] Cow<'a, str>, Outcome, i64, i64);

/// When, from where, with what.
#[derive(Serialize, Deserialize)]
struct NotedUse<'a>(
    #[serde(with = "ts_microseconds")] DateTime<Utc>,
    Option<IpAddr>,
    #[serde(borrow)] Option<NotedAgent<'a>>,
);

/// A type of its own, because serde would copy a text that may be missing.
#[derive(Serialize, Deserialize)]
struct NotedAgent<'a>(#[serde(borrow)] Cow<'a, str>);

/// Address, first call, last call, calls, denied.
#[derive(Serialize, Deserialize)]
struct NotedAddress(
    IpAddr,
    #[serde(with = "ts_microseconds")] DateTime<Utc>,
    #[serde(with = "ts_microseconds")] DateTime<Utc>,
    i64,
    i64,
);

fn note<'a>(key: &'a KeyId, taken: &'a Taken) -> Noted<'a> {
    let counts = taken.counts.iter().map(|count| {
        let endpoint = Cow::from(&*count.endpoint);
        NotedCount(count.hour, endpoint, count.outcome, count.calls, count.amount)
    });
    let last = taken.last.as_ref().map(|last| {
        let agent = last.agent.as_deref().map(|agent| NotedAgent(agent.into()));
        NotedUse(last.at, last.ip, agent)
    });
    let address =
        |seen: &Seen| NotedAddress(seen.ip, seen.first, seen.last, seen.calls, seen.denied);
    let addresses = taken.addresses.iter().map(address).collect();
    Noted(key.as_str().into(), counts.collect(), last, addresses)
}

/// What several rows say of one key.
#[derive(Default)]
struct Sum<'a> {
    counts: BTreeMap<(i64, Cow<'a, str>, Outcome), (i64, i64)>,
    last: Option<NotedUse<'a>>,
    addresses: BTreeMap<IpAddr, Seen>,
}

impl<'a> Sum<'a> {
    fn add(&mut self, Noted(_, counts, last, addresses): Noted<'a>) {
        for NotedCount(hour, endpoint, outcome, calls, amount) in counts {
            let sum = self.counts.entry((hour, endpoint, outcome)).or_default();
            *sum = (sum.0.saturating_add(calls), sum.1.saturating_add(amount));
        }
        self.last = self.last.take().into_iter().chain(last).max_by_key(|last| last.0);
        for NotedAddress(ip, first, last, calls, denied) in addresses {
            let seen = Seen { ip, first, last, calls, denied };
            self.addresses.entry(ip).and_modify(|sum| sum.add(&seen)).or_insert(seen);
        }
    }

    fn into_taken(self) -> Taken {
        let count = |((hour, endpoint, outcome), (calls, amount)): ((_, Cow<'_, str>, _), _)| {
            Count { hour, endpoint: endpoint.into(), outcome, calls, amount }
        };
        let last = self.last.map(|NotedUse(at, ip, agent)| {
            let agent = agent.map(|NotedAgent(agent)| agent.into_owned());
            LastUse { at, ip, agent }
        });
        let addresses = self.addresses.into_values().collect();
        Taken { counts: self.counts.into_iter().map(count).collect(), last, addresses }
    }
}

fn read(text: &str) -> anyhow::Result<Vec<(KeyId, Noted<'_>)>> {
    let all: Vec<Noted<'_>> = serde_json::from_str(text)?;
    all.into_iter().map(|noted| Ok((noted.0.parse()?, noted))).collect()
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

/// Rows of the journal, and what they say.
pub struct Written {
    rows: Vec<(i64, String)>,
    /// Which of them could not be read, and why.
    senseless: Vec<(i64, anyhow::Error)>,
    taken: Vec<(KeyId, Taken)>,
}

impl Written {
    /// True if nothing was written down.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Reads what was written down of a part, the oldest first: outside of a transaction, because it takes its time.
pub fn list(conn: &mut Conn, part: u8) -> Result<Written, Error> {
    let rows = usage_journal::table
        .filter(usage_journal::part.eq(i64::from(part)))
        .order(usage_journal::id)
        .limit(ROWS)
        .select((usage_journal::id, usage_journal::batch))
        .load::<(i64, String)>(conn)?;
    let mut senseless = Vec::new();
    let mut sums: BTreeMap<KeyId, Sum<'_>> = BTreeMap::new();
    for (id, text) in patiently(&rows, 1) {
        match read(text) {
            Ok(all) => {
                for (key, noted) in all {
                    sums.entry(key).or_default().add(noted);
                }
            }
            Err(cause) => senseless.push((*id, cause)),
        }
    }
    let taken = sums.into_iter().map(|(key, sum)| (key, sum.into_taken())).collect();
    Ok(Written { rows, senseless, taken })
}

/// Adds what was written down to the counts and gives how many rows that were; none if some of them are no
/// longer there. What makes no sense is set aside.
pub fn fold(tx: &mut Tx<'_>, written: &Written) -> Result<usize, Error> {
    add(tx, written, &written.taken)
}

/// The same without keys that do not exist any more, which would keep all others back.
pub fn fold_existing(tx: &mut Tx<'_>, written: &Written) -> Result<usize, Error> {
    let found: BTreeSet<KeyId> = load_listed!(
        tx.conn,
        keys::table
            .filter(keys::id.eq_any(written.taken.iter().map(|(key, _)| key.as_str())))
            .select(keys::id)
    )
    .map(|found: Vec<KeyId>| found.into_iter().collect())?;
    let (existing, gone): (Vec<_>, Vec<_>) =
        written.taken.iter().cloned().partition(|(key, _)| found.contains(key));
    let folded = add(tx, written, &existing)?;
    for (key, _) in gone {
        tracing::error!(%key, "usage of a key that does not exist is dropped");
    }
    Ok(folded)
}

fn add(tx: &mut Tx<'_>, written: &Written, taken: &[(KeyId, Taken)]) -> Result<usize, Error> {
    let Written { rows, senseless, .. } = written;
    // Another node that wants the same rows waits here, and then reads what is left. The text is compared
    // because SQLite gives the number of a row that is gone to another.
    let there: Vec<(i64, String)> = load_locked!(
        tx.conn,
        usage_journal::table
            .filter(usage_journal::id.eq_any(rows.iter().map(|(id, _)| id)))
            .filter(usage_journal::part.is_not_null())
            .order(usage_journal::id)
            .select((usage_journal::id, usage_journal::batch))
    )?;
    if there != *rows {
        return Ok(0);
    }
    usage::flush(tx, taken)?;
    for (id, cause) in senseless {
        diesel::update(usage_journal::table.find(id))
            .set(usage_journal::part.eq(None::<i64>))
            .execute(tx.conn)?;
        tracing::error!(row = id, %cause, "usage that cannot be read stays in usage_journal, without its part");
    }
    let added = usage_journal::table
        .filter(usage_journal::id.eq_any(rows.iter().map(|(id, _)| id)))
        .filter(usage_journal::part.is_not_null());
    diesel::delete(added).execute(tx.conn)?;
    Ok(there.len())
}
