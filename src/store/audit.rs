//! The audit log as rows, and its one head.

use chrono::NaiveDateTime;
use diesel::prelude::*;

use super::pool::insert_rows;
use super::pool::values::as_bytea;
use super::schema::{audit, audit_head};
use super::{Conn, Tx};
use crate::domain::audit::{Entry, Event, Head, hex, unhex};
use crate::error::Error;

/// Writes the events of a transaction to the end of the chain.
pub fn append(tx: &mut Tx<'_>, events: Vec<Event>) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut head = lock_head(tx)?;
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let entry = event.entry(&head, tx.now);
        head = entry.head();
        rows.push(Row::try_from(entry)?);
    }
    insert_rows!(tx.conn, audit, &rows)?;
    let hash = unhex(&head.hash).unwrap_or_default();
    diesel::update(audit_head::table.find(1))
        .set((audit_head::seq.eq(head.seq), audit_head::hash.eq(hash)))
        .execute(tx.conn)?;
    Ok(())
}

/// The head as stored beside the log.
pub fn head(conn: &mut Conn) -> Result<Head, Error> {
    let (seq, hash): (i64, Vec<u8>) =
        audit_head::table.find(1).select((audit_head::seq, audit_head::hash)).first(conn)?;
    Ok(Head { seq, hash: hex(&hash) })
}

/// At most `limit` entries after number `seq`, in order.
pub fn list_after(conn: &mut Conn, seq: i64, limit: i64) -> Result<Vec<Entry>, Error> {
    let rows = audit::table
        .filter(audit::seq.gt(seq))
        .order(audit::seq)
        .limit(limit)
        .select(Row::as_select())
        .load(conn)?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// Reads the head by an update that changes nothing, so that other writers wait for this one.
fn lock_head(tx: &mut Tx<'_>) -> Result<Head, Error> {
    let (seq, hash): (i64, Vec<u8>) = diesel::update(audit_head::table.find(1))
        .set(audit_head::seq.eq(audit_head::seq))
        .returning((audit_head::seq, audit_head::hash))
        .get_result(tx.conn)?;
    Ok(Head { seq, hash: hex(&hash) })
}

#[derive(Queryable, Selectable, Insertable, serde::Serialize)]
#[diesel(table_name = audit)]
struct Row {
    seq: i64,
    at: NaiveDateTime,
    organisation_id: Option<String>,
    actor_kind: String,
    actor_id: Option<String>,
    actor_name: String,
    action: String,
    subject_id: Option<String>,
    detail: String,
    ip: Option<String>,
    request_id: Option<String>,
    #[serde(serialize_with = "as_bytea")]
    previous_hash: Vec<u8>,
    #[serde(serialize_with = "as_bytea")]
    hash: Vec<u8>,
}

impl TryFrom<Entry> for Row {
    type Error = Error;

    fn try_from(e: Entry) -> Result<Self, Error> {
        let bytes = |text: &str| {
            unhex(text).ok_or_else(|| Error::internal("an audit hash is not hexadecimal"))
        };
        Ok(Self {
            previous_hash: bytes(&e.previous_hash)?,
            hash: bytes(&e.hash)?,
            seq: e.seq,
            at: e.at.naive_utc(),
            organisation_id: e.organisation_id,
            actor_kind: e.actor_kind,
            actor_id: e.actor_id,
            actor_name: e.actor_name,
            action: e.action,
            subject_id: e.subject_id,
            detail: e.detail,
            ip: e.ip,
            request_id: e.request_id,
        })
    }
}

impl From<Row> for Entry {
    fn from(r: Row) -> Self {
        Self {
            seq: r.seq,
            at: r.at.and_utc(),
            organisation_id: r.organisation_id,
            actor_kind: r.actor_kind,
            actor_id: r.actor_id,
            actor_name: r.actor_name,
            action: r.action,
            subject_id: r.subject_id,
            detail: r.detail,
            ip: r.ip,
            request_id: r.request_id,
            previous_hash: hex(&r.previous_hash),
            hash: hex(&r.hash),
        }
    }
}
