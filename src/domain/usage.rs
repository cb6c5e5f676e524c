//! Usage of keys: what a call counts as, and what is counted on its way to the database.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

/// What became of a call with a key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was let through.
    Allowed,
    /// The key had ended or was suspended.
    Unauthorized,
    /// From an address that is not on the key's list.
    IpNotAllowed,
    /// Without the permission it takes.
    InsufficientPermission,
    /// For another organisation than the key's.
    DistributorMismatch,
    /// For a value that is not among the chosen ones of a restriction.
    RestrictionDenied,
    /// Above the most that one operation may move.
    TransactionLimitExceeded,
    /// Too many calls in too short a time.
    RateLimited,
    /// Above the most that a day may move.
    DailyVolumeExceeded,
    /// More than the organisation has.
    InsufficientBalance,
    /// The call itself was wrong.
    InvalidRequest,
}

impl Outcome {
    /// Every outcome, in the order of the checks.
    pub const ALL: [Self; 11] = [
        Self::Allowed,
        Self::Unauthorized,
        Self::IpNotAllowed,
        Self::InsufficientPermission,
        Self::DistributorMismatch,
        Self::RestrictionDenied,
        Self::TransactionLimitExceeded,
        Self::RateLimited,
        Self::DailyVolumeExceeded,
        Self::InsufficientBalance,
        Self::InvalidRequest,
    ];

    /// The stable code: the one the API answers with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unauthorized => "unauthorized",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientPermission => "insufficient_permission",
            Self::DistributorMismatch => "distributor_mismatch",
            Self::RestrictionDenied => "restriction_denied",
            Self::TransactionLimitExceeded => "transaction_limit_exceeded",
            Self::RateLimited => "rate_limited",
            Self::DailyVolumeExceeded => "daily_volume_exceeded",
            Self::InsufficientBalance => "insufficient_balance",
            Self::InvalidRequest => "invalid_request",
        }
    }

    /// The words for it on pages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::Unauthorized => "Key not active",
            Self::IpNotAllowed => "Address not allowed",
            Self::InsufficientPermission => "Permission missing",
            Self::DistributorMismatch => "Another distributor",
            Self::RestrictionDenied => "Outside its restrictions",
            Self::TransactionLimitExceeded => "Above the limit per operation",
            Self::RateLimited => "Too many calls",
            Self::DailyVolumeExceeded => "Above the limit per day",
            Self::InsufficientBalance => "Balance too low",
            Self::InvalidRequest => "Request not valid",
        }
    }
}

impl std::str::FromStr for Outcome {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.as_str() == s);
        found.ok_or_else(|| format!("{s:?} is no outcome of a call"))
    }
}

/// How often a key was used, in total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that were allowed.
    pub allowed: i64,
    /// Calls with the right secret that were denied.
    pub denied: i64,
    /// What the allowed ones moved, in minor units.
    pub amount: i64,
    /// The last allowed call.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Where it came from.
    pub last_ip: Option<String>,
    /// The family of the program that made it.
    pub last_agent: Option<String>,
}

/// An address that called with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: String,
    /// The first call from there.
    pub first_seen_at: DateTime<Utc>,
    /// The last call from there.
    pub last_seen_at: DateTime<Utc>,
    /// How many calls.
    pub calls: i64,
    /// How many of them were denied.
    pub denied: i64,
}

/// Everything counted for one key since the last time it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Calls by hour, endpoint and outcome; each combination once.
    pub counts: Vec<Count>,
    /// The last allowed call, if one was allowed.
    pub last: Option<LastUse>,
    /// Where the calls came from; each address once.
    pub addresses: Vec<Seen>,
}

/// Calls of one kind within one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Hours since 1970.
    pub hour: i64,
    /// What was called.
    pub endpoint: Box<str>,
    /// What became of it.
    pub outcome: Outcome,
    /// How often.
    pub calls: i64,
    /// What the allowed ones moved, in minor units.
    pub amount: i64,
}

/// The last allowed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: DateTime<Utc>,
    /// From where, if that could be told.
    pub ip: Option<IpAddr>,
    /// The family of the program that called, if it named one.
    pub agent: Option<String>,
}

/// Calls from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The address.
    pub ip: IpAddr,
    /// The first call.
    pub first: DateTime<Utc>,
    /// The last call.
    pub last: DateTime<Utc>,
    /// How many calls.
    pub calls: i64,
    /// How many of them were denied.
    pub denied: i64,
}

impl Seen {
    /// Adds further calls from the same address.
    pub fn add(&mut self, more: &Self) {
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
        self.calls = self.calls.saturating_add(more.calls);
        self.denied = self.denied.saturating_add(more.denied);
    }
}

/// The hour a moment belongs to, counted since 1970.
pub fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3600)
}

/// The moment at which an hour begins.
pub fn start_of_hour(hour: i64) -> DateTime<Utc> {
    let since = TimeDelta::try_hours(hour).unwrap_or_default();
    DateTime::UNIX_EPOCH.checked_add_signed(since).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_read_back_from_its_code() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        assert!("allow".parse::<Outcome>().is_err());
    }

    #[test]
    fn an_hour_holds_its_first_instant_and_not_its_last() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let hour = hour_of(at("2026-03-02T09:00:00Z"));
        assert_eq!(hour_of(at("2026-03-02T09:59:59.999999Z")), hour);
        assert_eq!(hour_of(at("2026-03-02T10:00:00Z")), hour + 1);
        assert_eq!(start_of_hour(hour), at("2026-03-02T09:00:00Z"));
        assert_eq!(start_of_hour(hour_of(at("1969-12-31T23:59:59Z"))), at("1969-12-31T23:00:00Z"));
    }
}
