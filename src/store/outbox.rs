//! Mails that wait to be sent, and what became of them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;

use super::schema::outbox;
use super::{Conn, Tx};
use crate::error::Error;
use crate::mail::Letter;

/// Queues a mail; it leaves after the transaction has committed.
pub fn insert(tx: &mut Tx<'_>, letter: &Letter) -> Result<(), Error> {
    let now = tx.now.naive_utc();
    diesel::insert_into(outbox::table)
        .values((
            outbox::id.eq(&letter.id),
            outbox::recipient.eq(&letter.to),
            outbox::subject.eq(&letter.subject),
            outbox::text_body.eq(&letter.text),
            outbox::html_body.eq(&letter.html),
            outbox::created_at.eq(now),
            outbox::attempts.eq(0),
            outbox::due_at.eq(now),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// A mail to send now, and how often that was tried before.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The mail.
    pub letter: Letter,
    /// Attempts so far, this one not counted.
    pub attempts: i32,
}

/// Takes up to `most` due mails for `lease`; no other node takes them meanwhile.
pub fn claim(tx: &mut Tx<'_>, most: i64, lease: TimeDelta) -> Result<Vec<Claimed>, Error> {
    let (now, until) = (tx.now.naive_utc(), (tx.now + lease).naive_utc());
    let free = outbox::claimed_until.is_null().or(outbox::claimed_until.lt(now).assume_not_null());
    let due: Vec<String> = outbox::table
        .filter(outbox::sent_at.is_null())
        .filter(outbox::failed_at.is_null())
        .filter(outbox::due_at.le(now))
        .filter(free)
        .order((outbox::due_at, outbox::id))
        .limit(most)
        .select(outbox::id)
        .load(tx.conn)?;
    let mut claimed = Vec::new();
    for id in due {
        // Another node may have been faster between the list and here: then no row is touched.
        let row = diesel::update(outbox::table.find(&id))
            .filter(free)
            .filter(outbox::sent_at.is_null())
            .filter(outbox::failed_at.is_null())
            .filter(outbox::due_at.le(now))
            .set(outbox::claimed_until.eq(until))
            .returning((
                outbox::id,
                outbox::recipient,
                outbox::subject,
                outbox::text_body,
                outbox::html_body,
                outbox::attempts,
            ))
            .get_result::<(String, String, String, String, String, i32)>(tx.conn)
            .optional()?;
        claimed.extend(row.map(|(id, to, subject, text, html, attempts)| Claimed {
            letter: Letter { id, to, subject, text, html },
            attempts,
        }));
    }
    Ok(claimed)
}

/// Notes that a mail was handed over.
pub fn mark_sent(tx: &mut Tx<'_>, id: &str) -> Result<(), Error> {
    diesel::update(outbox::table.find(id))
        .set((
            outbox::sent_at.eq(tx.now.naive_utc()),
            outbox::attempts.eq(outbox::attempts + 1),
            outbox::claimed_until.eq(None::<NaiveDateTime>),
            outbox::last_error.eq(None::<String>),
        ))
        .execute(tx.conn)?;
    forget_text(tx, id)
}

/// Notes a failed attempt: to be tried again at `next`, or never.
pub fn mark_failed(
    tx: &mut Tx<'_>,
    id: &str,
    error: &str,
    next: Option<DateTime<Utc>>,
) -> Result<(), Error> {
    let now = tx.now.naive_utc();
    let failed_at = if next.is_none() { Some(now) } else { None };
    diesel::update(outbox::table.find(id))
        .set((
            outbox::attempts.eq(outbox::attempts + 1),
            outbox::due_at.eq(next.map_or(now, |next| next.naive_utc())),
            outbox::claimed_until.eq(None::<NaiveDateTime>),
            outbox::failed_at.eq(failed_at),
            outbox::last_error.eq(error),
        ))
        .execute(tx.conn)?;
    if next.is_none() { forget_text(tx, id) } else { Ok(()) }
}

/// Nobody reads the text of a mail that left or was given up, and an invitation's holds its link.
fn forget_text(tx: &mut Tx<'_>, id: &str) -> Result<(), Error> {
    diesel::update(outbox::table.find(id))
        .set((outbox::text_body.eq(""), outbox::html_body.eq("")))
        .execute(tx.conn)?;
    Ok(())
}

/// True if a mail is due that nobody has taken.
pub fn has_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<bool, Error> {
    let now = now.naive_utc();
    let free = outbox::claimed_until.is_null().or(outbox::claimed_until.lt(now).assume_not_null());
    let due = outbox::table
        .filter(outbox::sent_at.is_null())
        .filter(outbox::failed_at.is_null())
        .filter(outbox::due_at.le(now))
        .filter(free);
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(conn)?)
}

/// Forgets mails that were sent or given up before `before`.
pub fn sweep(tx: &mut Tx<'_>, before: DateTime<Utc>) -> Result<usize, Error> {
    let done = outbox::sent_at.lt(before.naive_utc()).or(outbox::failed_at.lt(before.naive_utc()));
    Ok(diesel::delete(outbox::table.filter(done.assume_not_null())).execute(tx.conn)?)
}
