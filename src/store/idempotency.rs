//! Answers that were given under an `Idempotency-Key`, kept with the effect they belong to.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::Tx;
use super::pool::insert_rows;
use super::pool::values::as_bytea;
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
    let names = attempts.iter().map(|attempt| attempt.name.as_str());
    let rows: Vec<(String, String, Vec<u8>, String)> = idempotency_keys::table
        .filter(idempotency_keys::name.eq_any(names))
        .filter(idempotency_keys::owner_id.eq_any(attempts.iter().map(|attempt| &attempt.owner_id)))
        .select((
            idempotency_keys::owner_id,
            idempotency_keys::name,
            idempotency_keys::fingerprint,
            idempotency_keys::answer,
        ))
        .load(tx.conn)?;
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
    if answers.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = answers
        .iter()
        .map(|(attempt, answer)| Row {
            owner_id: &attempt.owner_id,
            name: &attempt.name,
            fingerprint: attempt.fingerprint.to_vec(),
            answer,
            created_at: tx.now.naive_utc(),
        })
        .collect();
    match insert_rows!(tx.conn, idempotency_keys, &rows) {
        Err(e) if is_unique_violation(&e) => Err(Error::Stale),
        other => Ok(other.map(drop)?),
    }
}

#[derive(Insertable, serde::Serialize)]
#[diesel(table_name = idempotency_keys)]
struct Row<'a> {
    owner_id: &'a str,
    name: &'a str,
    #[serde(serialize_with = "as_bytea")]
    fingerprint: Vec<u8>,
    answer: &'a str,
    created_at: NaiveDateTime,
}

/// Forgets answers given before `until`.
pub fn sweep(tx: &mut Tx<'_>, until: DateTime<Utc>) -> Result<usize, Error> {
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.lt(until.naive_utc()));
    Ok(diesel::delete(old).execute(tx.conn)?)
}
