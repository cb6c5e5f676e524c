//! Members: people of one organisation, their roles, and who is acting right now.

use std::fmt;
use std::net::IpAddr;

use super::id::{MemberId, OrganisationId};
use super::text::Email;

/// What a member may do; several at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Manages members and may revoke keys.
    Admin,
    /// Asks for keys and reveals them.
    Maker,
    /// Approves and rejects what others asked for.
    Checker,
    /// Looks at everything, changes nothing.
    Viewer,
}

impl Role {
    /// Every role, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Maker, Self::Checker, Self::Viewer];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Maker => "maker",
            Self::Checker => "checker",
            Self::Viewer => "viewer",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == s)
            .ok_or_else(|| format!("{s} is not a role; choose from admin, maker, checker, viewer."))
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four, one column each in the database")]
pub struct Roles {
    /// Has [`Role::Admin`].
    pub admin: bool,
    /// Has [`Role::Maker`].
    pub maker: bool,
    /// Has [`Role::Checker`].
    pub checker: bool,
    /// Has [`Role::Viewer`].
    pub viewer: bool,
}

impl Roles {
    /// True if `role` is in the set.
    pub fn has(self, role: Role) -> bool {
        match role {
            Role::Admin => self.admin,
            Role::Maker => self.maker,
            Role::Checker => self.checker,
            Role::Viewer => self.viewer,
        }
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), |mut set, role| {
            match role {
                Role::Admin => set.admin = true,
                Role::Maker => set.maker = true,
                Role::Checker => set.checker = true,
                Role::Viewer => set.viewer = true,
            }
            set
        })
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> =
            Role::ALL.into_iter().filter(|role| self.has(*role)).map(Role::as_str).collect();
        f.write_str(&words.join(", "))
    }
}

/// Whether a member can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Invited, has no password yet.
    Invited,
    /// Can sign in.
    Active,
    /// Shut out.
    Disabled,
}

/// A person in one organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never changes, whatever happens to name, address and roles.
    pub id: MemberId,
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// Where mails go, and the name to sign in with.
    pub email: Email,
    /// How others see them.
    pub name: String,
    /// What they may do.
    pub roles: Roles,
    /// Whether they can sign in.
    pub state: MemberState,
}

/// Where an action came from, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The id of the HTTP request, as in `X-Request-Id`.
    pub request_id: Option<String>,
}

/// The member who is acting, as of this HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub member: Member,
    /// From where.
    pub origin: Origin,
}

impl Actor {
    /// The member's id.
    pub fn id(&self) -> &MemberId {
        &self.member.id
    }

    /// The member's organisation.
    pub fn organisation(&self) -> &OrganisationId {
        &self.member.organisation_id
    }
}
