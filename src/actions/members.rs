//! Inviting members and letting them in.

use chrono::TimeDelta;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::letters;
use crate::domain::audit::{Event, Who};
use crate::domain::id::{MemberId, OrganisationId};
use crate::domain::member::{Member, MemberState, Origin, Roles};
use crate::domain::password;
use crate::domain::refusal::Refusal;
use crate::domain::secret::random_token;
use crate::domain::text::{Email, parse_line};
use crate::error::Error;
use crate::store::{Conn, Tx, members, organisations, sessions};

/// How long an invitation can be used (NIST SP 800-63B-4: a mailed code lives at most a day).
pub const INVITATION_LIVES: TimeDelta = TimeDelta::hours(24);

/// Whom to invite.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Into which organisation.
    pub organisation_id: OrganisationId,
    /// Where the link goes.
    pub email: Email,
    /// How others will see them.
    pub name: String,
    /// What they may do.
    pub roles: Roles,
}

/// Invites somebody; gives the one-time link, which is mailed too. For a member of the same
/// organisation it is a new link: the first one ran out, or the password is forgotten.
pub fn invite(tx: &mut Tx<'_>, new: &NewMember) -> Result<String, Error> {
    let organisation = organisations::get(tx.conn, &new.organisation_id)?;
    let member = match members::find_by_email(tx.conn, &new.email)? {
        Some((known, _)) => again(tx, known, new)?,
        None => add(tx, new)?,
    };
    let token = random_token().map_err(Error::internal)?;
    members::insert_invitation(tx, &hash(&token), &member.id, tx.now + INVITATION_LIVES)?;
    let link = format!("{}/invitation/{token}", tx.site.public_url);
    letters::invitation(tx, &member, &organisation, &link)?;
    Ok(link)
}

/// A member who gets another link. Name and roles stay as they are: changing them takes two people.
fn again(tx: &mut Tx<'_>, known: Member, new: &NewMember) -> Result<Member, Error> {
    if known.organisation_id != new.organisation_id || known.state == MemberState::Disabled {
        return Err(Refusal::EmailTaken(new.email.to_string()).into());
    }
    if known.roles != new.roles {
        return Err(Refusal::RolesDiffer(known.email.to_string(), known.roles.to_string()).into());
    }
    members::end_invitations(tx, &known.id)?;
    tx.audit(event(&known, Who::Command, "member.invited_again"));
    Ok(known)
}

/// The member an invitation is for, as long as it can be used.
pub fn find_invited(
    conn: &mut Conn,
    token: &str,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Member, Error> {
    members::find_invited(conn, &hash(token), now)?.ok_or_else(|| Refusal::InvitationOver.into())
}

/// Checks a password that an invited member chose, against the rule and their own words.
pub fn check_password(conn: &mut Conn, member: &Member, plain: &str) -> Result<(), Error> {
    let organisation = organisations::get(conn, &member.organisation_id)?;
    Ok(password::check(plain, &[&member.name, member.email.as_str(), &organisation.name])?)
}

/// Uses an invitation up and lets the member in with a password that was hashed before.
pub fn accept(
    tx: &mut Tx<'_>,
    token: &str,
    password_hash: &str,
    origin: Origin,
) -> Result<Member, Error> {
    let member = find_invited(tx.conn, token, tx.now)?;
    if !members::use_invitation(tx, &hash(token))? {
        return Err(Refusal::InvitationOver.into());
    }
    // Whoever set the password anew is the only one who stays signed in.
    sessions::delete_of_member(tx, &member.id)?;
    let action = match member.state {
        MemberState::Invited => "member.joined",
        MemberState::Active | MemberState::Disabled => "member.password_set",
    };
    let event = event(&member, Who::Visitor(origin), action);
    activate(tx, member, password_hash, event)
}

/// Adds a member with a password at once, without an invitation: for the demo.
pub fn add_active(
    tx: &mut Tx<'_>,
    new: &NewMember,
    password_hash: &str,
) -> Result<MemberId, Error> {
    let member = add(tx, new)?;
    let event = event(&member, Who::Command, "member.joined");
    Ok(activate(tx, member, password_hash, event)?.id)
}

fn add(tx: &mut Tx<'_>, new: &NewMember) -> Result<Member, Error> {
    let name = parse_line(&new.name).map_err(|e| Refusal::Invalid(format!("Name: {e}")))?;
    let member = Member {
        id: MemberId::new(tx.new_id()),
        organisation_id: new.organisation_id.clone(),
        email: new.email.clone(),
        name,
        roles: new.roles,
        state: MemberState::Invited,
    };
    members::insert_invited(tx, &member)?;
    tx.audit(event(&member, Who::Command, "member.invited"));
    Ok(member)
}

fn activate(
    tx: &mut Tx<'_>,
    member: Member,
    password_hash: &str,
    event: Event,
) -> Result<Member, Error> {
    members::activate(tx, &member.id, password_hash)?;
    tx.audit(event);
    Ok(Member { state: MemberState::Active, ..member })
}

fn event(member: &Member, who: Who, action: &'static str) -> Event {
    Event {
        organisation_id: Some(member.organisation_id.clone()),
        who,
        action,
        subject_id: Some(member.id.to_string()),
        detail: json!({ "name": member.name, "roles": member.roles.to_string() }),
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
