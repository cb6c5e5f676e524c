//! Members and their invitations as rows.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::pool::load_listed;
use super::schema::{invitations, members};
use super::{Conn, Tx};
use crate::domain::id::{MemberId, OrganisationId};
use crate::domain::member::{Member, MemberState, Role, Roles};
use crate::domain::refusal::Refusal;
use crate::domain::text::Email;
use crate::error::{Error, is_unique_violation};

/// The member with this id, whatever the organisation.
pub fn find(conn: &mut Conn, id: &MemberId) -> Result<Option<Member>, Error> {
    let row = members::table.find(id).select(Row::as_select()).get_result(conn).optional()?;
    row.map(Row::parse).transpose()
}

/// The member who signs in with this address, and the hash of their password if they have one.
pub fn find_by_email(
    conn: &mut Conn,
    email: &Email,
) -> Result<Option<(Member, Option<String>)>, Error> {
    let found = members::table
        .filter(members::email.eq(email))
        .select((Row::as_select(), members::password_hash))
        .get_result::<(Row, Option<String>)>(conn)
        .optional()?;
    found.map(|(row, hash)| Ok((row.parse()?, hash))).transpose()
}

/// The active members of an organisation who hold `role`, by name.
pub fn list_with_role(
    conn: &mut Conn,
    organisation: &OrganisationId,
    role: Role,
) -> Result<Vec<Member>, Error> {
    let rows = members::table
        .filter(members::organisation_id.eq(organisation))
        .filter(members::state.eq("active"))
        .order(members::name)
        .select(Row::as_select())
        .load(conn)?;
    let all = rows.into_iter().map(Row::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|member| member.roles.has(role)).collect())
}

/// The name of each of these members, in the order given; an unknown one is left out.
pub fn names(conn: &mut Conn, ids: &[&MemberId]) -> Result<Vec<(MemberId, String)>, Error> {
    let ids = ids.iter().map(|id| id.as_str());
    Ok(load_listed!(
        conn,
        members::table.filter(members::id.eq_any(ids)).select((members::id, members::name))
    )?)
}

/// Adds a member who has no password yet.
pub fn insert_invited(tx: &mut Tx<'_>, member: &Member) -> Result<(), Error> {
    let row = NewRow {
        id: &member.id,
        organisation_id: &member.organisation_id,
        email: &member.email,
        name: &member.name,
        is_admin: member.roles.admin,
        is_maker: member.roles.maker,
        is_checker: member.roles.checker,
        is_viewer: member.roles.viewer,
        state: "invited",
        created_at: tx.now.naive_utc(),
    };
    match diesel::insert_into(members::table).values(row).execute(tx.conn) {
        Err(e) if is_unique_violation(&e) => {
            Err(Refusal::EmailTaken(member.email.to_string()).into())
        }
        other => Ok(other.map(drop)?),
    }
}

/// Gives a member a password and lets them in.
pub fn activate(tx: &mut Tx<'_>, id: &MemberId, password_hash: &str) -> Result<(), Error> {
    diesel::update(members::table.find(id))
        .set((members::state.eq("active"), members::password_hash.eq(password_hash)))
        .execute(tx.conn)?;
    Ok(())
}

/// Adds an invitation for a member.
pub fn insert_invitation(
    tx: &mut Tx<'_>,
    token_hash: &[u8],
    member: &MemberId,
    expires_at: DateTime<Utc>,
) -> Result<(), Error> {
    diesel::insert_into(invitations::table)
        .values((
            invitations::token_hash.eq(token_hash),
            invitations::member_id.eq(member),
            invitations::created_at.eq(tx.now.naive_utc()),
            invitations::expires_at.eq(expires_at.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// The member this invitation is for, if it can still be used at `now`.
pub fn find_invited(
    conn: &mut Conn,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Member>, Error> {
    let row = members::table
        .inner_join(invitations::table)
        .filter(invitations::token_hash.eq(token_hash))
        .filter(invitations::used_at.is_null())
        .filter(invitations::expires_at.gt(now.naive_utc()))
        .filter(members::state.ne("disabled"))
        .select(Row::as_select())
        .get_result(conn)
        .optional()?;
    row.map(Row::parse).transpose()
}

/// Ends the invitations of a member that were not used.
pub fn end_invitations(tx: &mut Tx<'_>, member: &MemberId) -> Result<(), Error> {
    let open = invitations::table
        .filter(invitations::member_id.eq(member))
        .filter(invitations::used_at.is_null());
    diesel::update(open).set(invitations::used_at.eq(tx.now.naive_utc())).execute(tx.conn)?;
    Ok(())
}

/// Uses an invitation up; false if somebody else did or it ran out.
pub fn use_invitation(tx: &mut Tx<'_>, token_hash: &[u8]) -> Result<bool, Error> {
    let now = tx.now.naive_utc();
    let used = diesel::update(invitations::table.find(token_hash))
        .filter(invitations::used_at.is_null())
        .filter(invitations::expires_at.gt(now))
        .set(invitations::used_at.eq(now))
        .execute(tx.conn)?;
    Ok(used == 1)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = members)]
#[expect(clippy::struct_excessive_bools, reason = "one column per role")]
struct Row {
    id: MemberId,
    organisation_id: OrganisationId,
    email: Email,
    name: String,
    is_admin: bool,
    is_maker: bool,
    is_checker: bool,
    is_viewer: bool,
    state: String,
}

#[derive(Insertable)]
#[diesel(table_name = members)]
#[expect(clippy::struct_excessive_bools, reason = "one column per role")]
struct NewRow<'a> {
    id: &'a MemberId,
    organisation_id: &'a OrganisationId,
    email: &'a Email,
    name: &'a str,
    is_admin: bool,
    is_maker: bool,
    is_checker: bool,
    is_viewer: bool,
    state: &'a str,
    created_at: NaiveDateTime,
}

impl Row {
    fn parse(self) -> Result<Member, Error> {
        let state = match self.state.as_str() {
            "invited" => MemberState::Invited,
            "active" => MemberState::Active,
            "disabled" => MemberState::Disabled,
            other => {
                return Err(Error::internal(format!("member {} is in state {other}", self.id)));
            }
        };
        let roles = Roles {
            admin: self.is_admin,
            maker: self.is_maker,
            checker: self.is_checker,
            viewer: self.is_viewer,
        };
        Ok(Member {
            id: self.id,
            organisation_id: self.organisation_id,
            email: self.email,
            name: self.name,
            roles,
            state,
        })
    }
}
