//! Failed sign-ins per account and address, counted before the password is looked at.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;

use super::Tx;
use super::schema::sign_in_throttle as throttle;
use crate::error::Error;

/// How many failures a subject may have, and what follows.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The failure that shuts the subject out.
    pub failures: i32,
    /// For how long, and how long failures are remembered.
    pub pause: TimeDelta,
}

/// Counts one attempt as failed until [`forgive`] is called; gives the end of the pause if the
/// subject is shut out already, in which case nothing is counted.
pub fn count_attempt(
    tx: &mut Tx<'_>,
    subject: &str,
    limit: Limit,
) -> Result<Option<DateTime<Utc>>, Error> {
    let now = tx.now;
    let row = match find(tx, subject)? {
        None => {
            insert(tx, subject)?;
            // Several first attempts queue up in the insert: only now is it clear which was first.
            find(tx, subject)?
        }
        found => found,
    };
    let (failures, blocked_until) = match row {
        Some((_, Some(until), _)) if until.and_utc() > now => return Ok(Some(until.and_utc())),
        // A pause that is over, or failures of long ago, start a new count.
        None | Some((_, Some(_), _)) => (0, None),
        Some((_, None, updated_at)) if updated_at.and_utc() + limit.pause <= now => (0, None),
        Some((failures, None, _)) => (failures, None::<NaiveDateTime>),
    };
    let failures = failures.saturating_add(1);
    let blocked_until = if failures >= limit.failures {
        Some((now + limit.pause).naive_utc())
    } else {
        blocked_until
    };
    diesel::update(throttle::table.find(subject))
        .set((
            throttle::failures.eq(failures),
            throttle::blocked_until.eq(blocked_until),
            throttle::updated_at.eq(now.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(None)
}

/// Forgets every failure of a subject: the owner has proved to be the owner.
pub fn forgive(tx: &mut Tx<'_>, subject: &str) -> Result<(), Error> {
    diesel::delete(throttle::table.find(subject)).execute(tx.conn)?;
    Ok(())
}

/// Takes back the one attempt that turned out right, and leaves the others counted.
pub fn take_back(tx: &mut Tx<'_>, subject: &str, limit: Limit) -> Result<(), Error> {
    let failures = throttle::failures;
    diesel::update(throttle::table.find(subject).filter(failures.gt(0)))
        .set(failures.eq(failures - 1))
        .execute(tx.conn)?;
    diesel::update(throttle::table.find(subject).filter(failures.lt(limit.failures)))
        .set(throttle::blocked_until.eq(None::<NaiveDateTime>))
        .execute(tx.conn)?;
    Ok(())
}

/// Forgets counts that nobody added to since `before`.
pub fn sweep(tx: &mut Tx<'_>, before: DateTime<Utc>) -> Result<usize, Error> {
    let old = throttle::updated_at.lt(before.naive_utc());
    Ok(diesel::delete(throttle::table.filter(old)).execute(tx.conn)?)
}

type Columns = (i32, Option<NaiveDateTime>, NaiveDateTime);

/// Reads the row after locking it by an update that changes nothing, so that attempts queue up.
fn find(tx: &mut Tx<'_>, subject: &str) -> Result<Option<Columns>, Error> {
    Ok(diesel::update(throttle::table.find(subject))
        .set(throttle::failures.eq(throttle::failures))
        .returning((throttle::failures, throttle::blocked_until, throttle::updated_at))
        .get_result(tx.conn)
        .optional()?)
}

fn insert(tx: &mut Tx<'_>, subject: &str) -> Result<(), Error> {
    // Two first attempts at once: the second waits for the first and then adds nothing.
    diesel::sql_query(
        "INSERT INTO sign_in_throttle (subject, failures, updated_at) VALUES ($1, 0, $2) \
         ON CONFLICT (subject) DO UPDATE SET failures = sign_in_throttle.failures",
    )
    .bind::<diesel::sql_types::Text, _>(subject)
    .bind::<diesel::sql_types::Timestamp, _>(tx.now.naive_utc())
    .execute(tx.conn)?;
    Ok(())
}
