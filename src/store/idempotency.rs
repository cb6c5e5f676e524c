//! Answers that were given under an `Idempotency-Key`, kept with the effect they belong to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::Tx;
use super::pool::load_listed;
use super::pool::values::{self, Statement, Value};
use super::schema::idempotency_keys;
use crate::error::{Error, is_unique_violation};

/// What a client calls one attempt, and what it asked for under that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Whom the name belongs to: a key, a member, or a service and the key it asks about.
    pub owner_id: String,
    /// The name, 1 to 255 characters.
    pub name: String,
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What is known of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The same was asked before and got this answer.
    Answered(String),
    /// Something else was asked under that name.
    Reused,
}

/// What is known of each attempt; nothing for those that are new.
pub fn find_all(tx: &mut Tx<'_>, attempts: &[&Attempt]) -> Result<HashMap<Attempt, Known>, Error> {
    if attempts.is_empty() {
        return Ok(HashMap::new());
    }
    let names = || attempts.iter().map(|attempt| attempt.name.as_str());
    let owners = || attempts.iter().map(|attempt| attempt.owner_id.as_str());
    let rows: Vec<(String, String, Vec<u8>, String)> = load_listed!(
        &mut *tx.conn,
        idempotency_keys::table
            .filter(idempotency_keys::name.eq_any(names()))
            .filter(idempotency_keys::owner_id.eq_any(owners()))
            .select((
                idempotency_keys::owner_id,
                idempotency_keys::name,
                idempotency_keys::fingerprint,
                idempotency_keys::answer,
            ))
    )?;
    let known = |attempt: &&Attempt| {
        let (.., fingerprint, answer) = rows
            .iter()
            .find(|(owner, name, ..)| *owner == attempt.owner_id && *name == attempt.name)?;
        let same = fingerprint.as_slice() == attempt.fingerprint;
        let known = if same { Known::Answered(answer.clone()) } else { Known::Reused };
        Some(((*attempt).clone(), known))
    };
    Ok(attempts.iter().filter_map(known).collect())
}

/// What is known of one attempt, if there is one and it is not new.
pub fn find(tx: &mut Tx<'_>, attempt: Option<&Attempt>) -> Result<Option<Known>, Error> {
    let Some(attempt) = attempt else { return Ok(None) };
    Ok(find_all(tx, &[attempt])?.remove(attempt))
}

/// Remembers answers. [`Error::Stale`] if another transaction answered one of them first: tried again,
/// it finds that answer.
pub fn insert_all(tx: &mut Tx<'_>, answers: &[(&Attempt, String)]) -> Result<(), Error> {
    let now = Value::Time(Some(tx.now.naive_utc()));
    let rows: Vec<_> = answers
        .iter()
        .map(|(attempt, answer)| {
            let (owner, name) = (attempt.owner_id.as_str(), attempt.name.as_str());
            let fingerprint = Value::Bytes(&attempt.fingerprint);
            [owner.into(), name.into(), fingerprint, answer.as_str().into(), now]
        })
        .collect();
    match values::insert(tx.conn, Insert, &rows) {
        Err(e) if is_unique_violation(&e) => Err(Error::Stale),
        other => Ok(other.map(drop)?),
    }
}

struct Insert;

impl Statement for Insert {
    const BEFORE: &'static str =
        "INSERT INTO idempotency_keys (owner_id, name, fingerprint, answer, created_at)";
}

/// Forgets answers given before `until`.
pub fn sweep(tx: &mut Tx<'_>, until: DateTime<Utc>) -> Result<usize, Error> {
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.lt(until.naive_utc()));
    Ok(diesel::delete(old).execute(tx.conn)?)
}
