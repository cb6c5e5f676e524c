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
/// Rows of a part that are added in one transaction: more than a round leaves behind, unless nodes are many
/// or nobody worked for a while.
const MOST: i64 = 120;

/// Writes down what was counted: a row for each part.
pub fn append(tx: &mut Tx<'_>, batch: &[(KeyId, Taken)]) -> Result<(), Error> {
    let mut parts: BTreeMap<i64, Vec<&(KeyId, Taken)>> = BTreeMap::new();
    for one in batch {
        parts.entry(part_of(&one.0)).or_default().push(one);
    }
    let texts = parts
        .into_iter()
        .map(|(part, keys)| Ok((part, serde_json::to_string(&keys).map_err(Error::internal)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let rows: Vec<_> = texts
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

fn part_of(key: &KeyId) -> i64 {
    let hash = |sum: i64, byte| sum.wrapping_mul(31).wrapping_add(i64::from(byte));
    key.as_str().bytes().fold(0, hash).rem_euclid(PARTS)
}

/// True if a part waits to be added to the counts.
pub fn has(conn: &mut Conn, part: i64) -> Result<bool, Error> {
    let rows = usage_journal::table.filter(usage_journal::part.eq(part));
    Ok(diesel::select(diesel::dsl::exists(rows)).get_result(conn)?)
}

/// Adds what was written down of a part to the counts; gives how many of its rows were added.
pub fn fold(tx: &mut Tx<'_>, part: i64) -> Result<usize, Error> {
    // Another node that wants the same part waits here, and then finds nothing.
    let rows: Vec<(i64, String)> = load_locked!(
        tx.conn,
        usage_journal::table
            .filter(usage_journal::part.eq(part))
            .order(usage_journal::id)
            .limit(MOST)
            .select((usage_journal::id, usage_journal::batch))
    )?;
    let mut batch: Vec<(KeyId, Taken)> = Vec::new();
    for (_, text) in &rows {
        batch.extend(serde_json::from_str::<Vec<_>>(text).map_err(Error::internal)?);
    }
    usage::flush(tx, &batch)?;
    let added = rows.iter().map(|(id, _)| *id);
    Ok(diesel::delete(usage_journal::table.filter(usage_journal::id.eq_any(added)))
        .execute(tx.conn)?)
}
