//! Who may do what: separation of duties in one file.

use super::key::Key;
use super::member::{Actor, Role};
use super::refusal::Refusal;
use super::request::Request;

/// Makers ask for keys.
pub fn may_request(me: &Actor) -> Result<(), Refusal> {
    needs(me, Role::Maker)
}

/// Checkers decide, and never on what they asked for themselves, whatever other roles they hold.
pub fn may_decide(me: &Actor, request: &Request) -> Result<(), Refusal> {
    if *me.id() == request.maker_id {
        return Err(Refusal::OwnRequest);
    }
    needs(me, Role::Checker)
}

/// Only the maker takes a request back.
pub fn may_withdraw(me: &Actor, request: &Request) -> Result<(), Refusal> {
    if *me.id() == request.maker_id { Ok(()) } else { Err(Refusal::NotYourRequest) }
}

/// Only the maker sees the secret, and only while still a maker.
pub fn may_reveal(me: &Actor, key: &Key) -> Result<(), Refusal> {
    if *me.id() != key.maker_id {
        return Err(Refusal::NotYourRequest);
    }
    needs(me, Role::Maker)
}

/// Revoking takes power away, so makers, checkers and administrators may do it alone and at once.
pub fn may_revoke(me: &Actor) -> Result<(), Refusal> {
    let roles = me.member.roles;
    if roles.maker || roles.checker || roles.admin {
        Ok(())
    } else {
        Err(Refusal::RoleMissing("maker, checker or admin"))
    }
}

fn needs(me: &Actor, role: Role) -> Result<(), Refusal> {
    if me.member.roles.has(role) { Ok(()) } else { Err(Refusal::RoleMissing(role.as_str())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{MemberId, OrganisationId};
    use crate::domain::member::{Member, MemberState, Origin};
    use crate::domain::request::tests::pending;

    fn actor(id: u128, roles: &[Role]) -> Actor {
        let member = Member {
            id: MemberId::new(uuid::Uuid::from_u128(id)),
            organisation_id: OrganisationId::new(uuid::Uuid::from_u128(2)),
            email: "a@b.example".parse().unwrap(),
            name: "A".to_owned(),
            roles: roles.iter().copied().collect(),
            state: MemberState::Active,
        };
        Actor { member, origin: Origin::default() }
    }

    #[test]
    fn nobody_decides_their_own_request_with_any_roles() {
        let request = pending(7, 1);
        assert_eq!(may_decide(&actor(7, &Role::ALL), &request), Err(Refusal::OwnRequest));
        assert_eq!(may_decide(&actor(7, &[Role::Checker]), &request), Err(Refusal::OwnRequest));
    }

    #[test]
    fn deciding_takes_the_checker_role_and_admin_is_no_exemption() {
        let request = pending(7, 1);
        assert_eq!(may_decide(&actor(8, &[Role::Checker]), &request), Ok(()));
        for roles in
            [&[Role::Admin][..], &[Role::Maker], &[Role::Viewer], &[Role::Admin, Role::Maker]]
        {
            assert_eq!(
                may_decide(&actor(8, roles), &request),
                Err(Refusal::RoleMissing("checker"))
            );
        }
    }
}
