//! Sessions as rows: only the hash of the id is kept.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::schema::sessions;
use super::{Conn, Tx};
use crate::domain::id::MemberId;
use crate::error::Error;

/// What is stored of one session.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// Whose it is; nobody's before sign-in.
    pub member_id: Option<MemberId>,
    /// The session's values as JSON.
    pub state: String,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub seen_at: DateTime<Utc>,
}

/// The session with this hash.
pub fn find(conn: &mut Conn, id_hash: &[u8]) -> Result<Option<StoredSession>, Error> {
    type Columns = (Option<MemberId>, String, NaiveDateTime, NaiveDateTime);
    let row: Option<Columns> = sessions::table
        .find(id_hash)
        .select((sessions::member_id, sessions::state, sessions::created_at, sessions::seen_at))
        .get_result(conn)
        .optional()?;
    Ok(row.map(|(member_id, state, created_at, seen_at)| StoredSession {
        member_id,
        state,
        created_at: created_at.and_utc(),
        seen_at: seen_at.and_utc(),
    }))
}

/// Adds a session.
pub fn insert(
    tx: &mut Tx<'_>,
    id_hash: &[u8],
    member_id: Option<&MemberId>,
    state: &str,
) -> Result<(), Error> {
    let now = tx.now.naive_utc();
    diesel::insert_into(sessions::table)
        .values((
            sessions::id_hash.eq(id_hash),
            sessions::member_id.eq(member_id),
            sessions::state.eq(state),
            sessions::created_at.eq(now),
            sessions::seen_at.eq(now),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Replaces the values of a session; nothing happens if it has ended meanwhile.
pub fn update(
    tx: &mut Tx<'_>,
    id_hash: &[u8],
    member_id: Option<&MemberId>,
    state: &str,
) -> Result<(), Error> {
    diesel::update(sessions::table.find(id_hash))
        .set((
            sessions::member_id.eq(member_id),
            sessions::state.eq(state),
            sessions::seen_at.eq(tx.now.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Notes that a session was used now.
pub fn touch(tx: &mut Tx<'_>, id_hash: &[u8]) -> Result<(), Error> {
    diesel::update(sessions::table.find(id_hash))
        .set(sessions::seen_at.eq(tx.now.naive_utc()))
        .execute(tx.conn)?;
    Ok(())
}

/// Ends a session.
pub fn delete(tx: &mut Tx<'_>, id_hash: &[u8]) -> Result<(), Error> {
    diesel::delete(sessions::table.find(id_hash)).execute(tx.conn)?;
    Ok(())
}

/// Ends every session of a member.
pub fn delete_of_member(tx: &mut Tx<'_>, member: &MemberId) -> Result<(), Error> {
    diesel::delete(sessions::table.filter(sessions::member_id.eq(member))).execute(tx.conn)?;
    Ok(())
}

/// Forgets sessions not used since `seen_before` or begun before `created_before`.
pub fn sweep(
    tx: &mut Tx<'_>,
    seen_before: DateTime<Utc>,
    created_before: DateTime<Utc>,
) -> Result<usize, Error> {
    let old = sessions::seen_at
        .lt(seen_before.naive_utc())
        .or(sessions::created_at.lt(created_before.naive_utc()));
    Ok(diesel::delete(sessions::table.filter(old)).execute(tx.conn)?)
}
