//! The audit log as rows, and its one head.

use chrono::NaiveDateTime;
use diesel::prelude::*;

use super::pool::load_locked;
use super::pool::values::{self, Statement, Value};
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
    let mut entries = Vec::with_capacity(events.len());
    for event in events {
        let entry = event.entry(&head, tx.now);
        head = entry.head();
        let bytes = |text: &str| {
            unhex(text).ok_or_else(|| Error::internal("an audit hash is not hexadecimal"))
        };
        let hashes = [bytes(&entry.previous_hash)?, bytes(&entry.hash)?];
        entries.push((entry, hashes));
    }
    let rows: Vec<_> = entries.iter().map(|(entry, hashes)| row(entry, hashes)).collect();
    let hash = unhex(&head.hash).unwrap_or_default();
    let head = [Value::Number(1), Value::Number(head.seq), Value::Bytes(&hash)];
    values::insert_both(tx.conn, (Insert, &rows), (MoveHead, &[head]))?;
    Ok(())
}

struct MoveHead;

/// The head is there from the first migration on; an insert that finds it is prepared once, an update of
/// diesel's each time.
impl Statement for MoveHead {
    const BEFORE: &'static str = "INSERT INTO audit_head (id, seq, hash)";
    const AFTER: &'static str =
        "ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
}

/// The head as stored beside the log.
pub fn head(conn: &mut Conn) -> Result<Head, Error> {
    let (seq, hash): (i64, Vec<u8>) =
        audit_head::table.find(1).select((audit_head::seq, audit_head::hash)).get_result(conn)?;
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

/// Reads the head so that other writers wait for this one.
fn lock_head(tx: &mut Tx<'_>) -> Result<Head, Error> {
    let rows: Vec<(i64, Vec<u8>)> = load_locked!(
        tx.conn,
        audit_head::table.find(1).select((audit_head::seq, audit_head::hash))
    )?;
    let head = rows.into_iter().next().map(|(seq, hash)| Head { seq, hash: hex(&hash) });
    head.ok_or_else(|| Error::internal("the audit log has no head"))
}

struct Insert;

impl Statement for Insert {
    const BEFORE: &'static str = "INSERT INTO audit (seq, at, organisation_id, actor_kind, actor_id, actor_name, action, \
             subject_id, detail, ip, request_id, previous_hash, hash)";
}

fn row<'a>(e: &'a Entry, [previous_hash, hash]: &'a [Vec<u8>; 2]) -> [Value<'a>; 13] {
    [
        Value::Number(e.seq),
        Value::Time(Some(e.at.naive_utc())),
        Value::Text(e.organisation_id.as_deref()),
        e.actor_kind.as_str().into(),
        Value::Text(e.actor_id.as_deref()),
        e.actor_name.as_str().into(),
        e.action.as_str().into(),
        Value::Text(e.subject_id.as_deref()),
        e.detail.as_str().into(),
        Value::Text(e.ip.as_deref()),
        Value::Text(e.request_id.as_deref()),
        Value::Bytes(previous_hash),
        Value::Bytes(hash),
    ]
}

#[derive(Queryable, Selectable)]
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
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
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
