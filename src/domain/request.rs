//! Requests: proposals that need a countersignature, and the transitions they may make.

use chrono::{DateTime, TimeDelta, Utc};

use super::id::{DecisionId, KeyId, MemberId, OrganisationId, RequestId};
use super::key::Grant;
use super::movement::Movement;
use super::refusal::Refusal;

/// How long a request waits for its decision.
pub const WAITS_FOR: TimeDelta = TimeDelta::days(14);

/// Counts the changes of what a request asks for, so that a decision applies to what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub i32);

/// What a request asks for, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A new key with this grant.
    IssueKey(Grant),
    /// A movement of money.
    Operation(Movement),
}

impl Payload {
    /// The kind as stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::IssueKey(_) => "issue_key",
            Self::Operation(_) => "operation",
        }
    }

    /// The kind for people.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::IssueKey(_) => "Issue a key",
            Self::Operation(_) => "Move money",
        }
    }

    /// What it is about, in a few words.
    pub fn title(&self) -> String {
        match self {
            Self::IssueKey(grant) => grant.label.clone(),
            Self::Operation(movement) => movement.title(),
        }
    }

    /// The grant asked for, if it asks for one.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::IssueKey(grant) => Some(grant),
            Self::Operation(_) => None,
        }
    }

    /// The movement asked for, if it asks for one.
    pub fn movement(&self) -> Option<&Movement> {
        match self {
            Self::IssueKey(_) => None,
            Self::Operation(movement) => Some(movement),
        }
    }
}

/// The stage a request has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// Waits for checkers.
    Pending,
    /// Enough checkers agreed, and it was carried out in the same transaction.
    Approved,
    /// A checker said no.
    Rejected,
    /// The maker took it back.
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// Overtaken: what it would change is gone.
    Void,
}

impl RequestState {
    const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Rejected, Self::Withdrawn, Self::Expired, Self::Void];

    /// The word stored in the database and used in CSS classes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Void => "void",
        }
    }
}

impl std::str::FromStr for RequestState {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == s).ok_or(())
    }
}

/// What one person asked for and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// The organisation it belongs to.
    pub organisation_id: OrganisationId,
    /// What it asks for.
    pub payload: Payload,
    /// Who asked; for a request that came through a key, the maker of that key.
    pub maker_id: MemberId,
    /// The key it came through, if it came through one.
    pub maker_key_id: Option<KeyId>,
    /// Why.
    pub justification: String,
    /// Where it stands.
    pub state: RequestState,
    /// Which version of the payload this is.
    pub version: Version,
    /// How many checkers approved this version.
    pub approvals: i32,
    /// How many have to.
    pub approvals_needed: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops waiting.
    pub expires_at: DateTime<Utc>,
    /// When it left the pending state.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

impl Verdict {
    /// The word stored in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// One checker's decision on one version of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its id.
    pub id: DecisionId,
    /// The request.
    pub request_id: RequestId,
    /// The version that was looked at.
    pub version: Version,
    /// Who made the request; stands here so that the database refuses equal names.
    pub maker_id: MemberId,
    /// Who decided.
    pub checker_id: MemberId,
    /// How.
    pub verdict: Verdict,
    /// Why; never empty for a rejection.
    pub comment: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl Request {
    /// Says why a decision would come too late, if it would.
    pub fn still_open(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        match self.state {
            RequestState::Pending if self.expires_at <= now => Err(Refusal::RequestExpired),
            RequestState::Pending => Ok(()),
            closed @ (RequestState::Approved
            | RequestState::Rejected
            | RequestState::Withdrawn
            | RequestState::Expired
            | RequestState::Void) => Err(Refusal::AlreadyClosed(closed.name())),
        }
    }

    /// The request after one more approval: approved once there are enough, else still pending.
    pub fn approve(self, now: DateTime<Utc>) -> Result<Self, Refusal> {
        self.still_open(now)?;
        let approvals = self.approvals.saturating_add(1);
        let voted = Self { approvals, ..self };
        if approvals >= voted.approvals_needed {
            Ok(voted.close(RequestState::Approved, now))
        } else {
            Ok(voted)
        }
    }

    /// The request turned down.
    pub fn reject(self, now: DateTime<Utc>) -> Result<Self, Refusal> {
        self.still_open(now)?;
        Ok(self.close(RequestState::Rejected, now))
    }

    /// The request taken back by its maker.
    pub fn withdraw(self, now: DateTime<Utc>) -> Result<Self, Refusal> {
        self.still_open(now)?;
        Ok(self.close(RequestState::Withdrawn, now))
    }

    /// The request after nobody decided in time; nothing for one that still may be decided.
    pub fn expire(self, now: DateTime<Utc>) -> Option<Self> {
        (self.state == RequestState::Pending && self.expires_at <= now)
            .then(|| self.close(RequestState::Expired, now))
    }

    fn close(self, state: RequestState, now: DateTime<Utc>) -> Self {
        Self { state, closed_at: Some(now), ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::key::tests::plain_grant;

    /// A pending request for a key.
    pub(crate) fn pending(maker: u128, approvals_needed: i32) -> Request {
        let id = |n| uuid::Uuid::from_u128(n);
        Request {
            id: RequestId::new(id(1)),
            organisation_id: OrganisationId::new(id(2)),
            payload: Payload::IssueKey(plain_grant()),
            maker_id: MemberId::new(id(maker)),
            maker_key_id: None,
            justification: String::new(),
            state: RequestState::Pending,
            version: Version(1),
            approvals: 0,
            approvals_needed,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH + WAITS_FOR,
            closed_at: None,
        }
    }

    #[test]
    fn it_takes_as_many_approvals_as_needed() {
        let now = DateTime::UNIX_EPOCH;
        let once = pending(7, 2).approve(now).unwrap();
        assert_eq!((once.state, once.approvals), (RequestState::Pending, 1));
        let twice = once.approve(now).unwrap();
        assert_eq!((twice.state, twice.closed_at), (RequestState::Approved, Some(now)));
    }

    #[test]
    fn a_closed_request_stays_as_it_is() {
        let now = DateTime::UNIX_EPOCH;
        let closed = [
            pending(7, 1).approve(now).unwrap(),
            pending(7, 1).reject(now).unwrap(),
            pending(7, 1).withdraw(now).unwrap(),
            pending(7, 1).expire(now + WAITS_FOR).unwrap(),
        ];
        for request in closed {
            let refusal = Err(Refusal::AlreadyClosed(request.state.name()));
            assert_eq!(request.clone().approve(now), refusal);
            assert_eq!(request.clone().reject(now), refusal);
            assert_eq!(request.clone().withdraw(now), refusal);
            assert_eq!(request.expire(now + WAITS_FOR), None);
        }
    }

    #[test]
    fn nothing_is_decided_after_the_deadline() {
        let late = DateTime::UNIX_EPOCH + WAITS_FOR;
        assert_eq!(pending(7, 1).approve(late), Err(Refusal::RequestExpired));
        assert_eq!(pending(7, 1).reject(late), Err(Refusal::RequestExpired));
        assert_eq!(pending(7, 1).expire(late - TimeDelta::microseconds(1)), None);
    }
}
