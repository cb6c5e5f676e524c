//! Usage of many keys at once, first written down as it was taken and added to the counts later: a key that
//! is in use all the time then costs one change of its rows in a round of all parts, not one a second.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::pool::load_locked;
use super::pool::values::{self, Statement, Value};
use super::schema::usage_journal;
use super::{Conn, Tx, usage};
use crate::domain::id::KeyId;
use crate::domain::usage::Taken;
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
        let mut parts: BTreeMap<i64, Vec<&(KeyId, Taken)>> = BTreeMap::new();
        for one in batch {
            parts.entry(part_of(&one.0)).or_default().push(one);
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
        match serde_json::from_str::<Vec<(KeyId, Taken)>>(text) {
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
