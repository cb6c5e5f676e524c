//! Keys: the approved grant, its states, and the secrets that open it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::addresses::AllowedIps;
use super::id::{KeyId, MemberId, OrganisationId, RequestId, SecretId};
use super::refusal::Refusal;
use super::text::Email;

/// Where a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real money, real customers.
    Production,
    /// Tests and trials.
    Staging,
}

impl Environment {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
        }
    }
}

impl std::str::FromStr for Environment {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "production" => Ok(Self::Production),
            "staging" => Ok(Self::Staging),
            _ => Err("Choose production or staging."),
        }
    }
}

/// What a key may do: exactly what the maker asked for and the checker approved.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The catalogue entry it opens.
    pub api: String,
    /// What people call it.
    pub label: String,
    /// Who else hears about it.
    pub contact_email: Option<Email>,
    /// The site or system that uses it.
    pub system: Option<String>,
    /// Where it is used.
    pub environment: Environment,
    /// A named permission set of the catalogue, if one was chosen.
    pub access_type: Option<String>,
    /// Slugs of the permissions; never empty.
    pub permissions: BTreeSet<String>,
    /// Chosen values per restriction list; a list that is absent means all.
    pub restrictions: BTreeMap<String, BTreeSet<String>>,
    /// The most one operation may move, in minor units; none means no limit.
    pub max_transaction: Option<i64>,
    /// The most a calendar day may move, in minor units; none means no limit.
    pub max_daily: Option<i64>,
    /// Where it may be used from.
    pub allowed_ips: AllowedIps,
    /// How long it lives from its approval; none means until revoked.
    pub expires_in_days: Option<i32>,
}

impl Grant {
    /// When a key with this grant ends if it is approved at `now`.
    pub fn expiry_from(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let days = i64::from(self.expires_in_days?);
        now.checked_add_signed(TimeDelta::try_days(days)?)
    }
}

/// The stage a key has reached, with the facts that only exist at that stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Approved; nothing secret exists yet.
    Approved,
    /// Revealed to its maker.
    Active,
    /// Shut for now.
    Suspended,
    /// Ended for good; by nobody means by the bearer of the key itself.
    Revoked { at: DateTime<Utc>, by: Option<MemberId>, reason: String },
}

impl KeyState {
    /// The word stored in the database.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked { .. } => "revoked",
        }
    }
}

/// What a person sees of a key's state at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// Not revealed yet.
    Approved,
    /// In use or ready for it.
    Active,
    /// Shut for now.
    Suspended,
    /// Ran out.
    Expired,
    /// Ended by somebody.
    Revoked,
}

impl KeyStatus {
    /// The word for it, as in CSS classes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// An approved grant and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id; not a secret.
    pub id: KeyId,
    /// Who owns it.
    pub organisation_id: OrganisationId,
    /// The request that was approved.
    pub request_id: RequestId,
    /// Who asked for it, the only one who may reveal it.
    pub maker_id: MemberId,
    /// What it may do.
    pub grant: Grant,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub state: KeyState,
    /// Counts changes, so that nodes can tell newer from older.
    pub version: i32,
    /// When it was approved.
    pub created_at: DateTime<Utc>,
}

impl Key {
    /// What a person sees at `now`.
    pub fn status(&self, now: DateTime<Utc>) -> KeyStatus {
        match &self.state {
            KeyState::Revoked { .. } => KeyStatus::Revoked,
            KeyState::Approved | KeyState::Active | KeyState::Suspended if self.is_expired(now) => {
                KeyStatus::Expired
            }
            KeyState::Approved => KeyStatus::Approved,
            KeyState::Active => KeyStatus::Active,
            KeyState::Suspended => KeyStatus::Suspended,
        }
    }

    /// True from the very instant of its expiry on.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The key after a reveal; refused once it has ended or is suspended.
    pub fn reveal(self, now: DateTime<Utc>) -> Result<Self, Refusal> {
        match self.status(now) {
            KeyStatus::Approved | KeyStatus::Active => {
                Ok(Self { state: KeyState::Active, ..self }.bumped())
            }
            status @ (KeyStatus::Suspended | KeyStatus::Expired | KeyStatus::Revoked) => {
                Err(Refusal::KeyEnded(status.name()))
            }
        }
    }

    /// The key ended for good; by nobody means by its own bearer.
    pub fn revoke(
        self,
        by: Option<MemberId>,
        reason: String,
        now: DateTime<Utc>,
    ) -> Result<Self, Refusal> {
        match self.state {
            KeyState::Revoked { .. } => Err(Refusal::KeyEnded("revoked already")),
            KeyState::Approved | KeyState::Active | KeyState::Suspended => {
                Ok(Self { state: KeyState::Revoked { at: now, by, reason }, ..self }.bumped())
            }
        }
    }

    fn bumped(self) -> Self {
        Self { version: self.version.saturating_add(1), ..self }
    }
}

/// One secret of a key: what is left of it after it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// The key it opens.
    pub key_id: KeyId,
    /// The last four characters.
    pub last_four: String,
    /// When it was shown.
    pub minted_at: DateTime<Utc>,
    /// When the maker said "I have saved it".
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When the first call with it arrived.
    pub first_used_at: Option<DateTime<Utc>>,
    /// When it stopped opening anything.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Secret {
    /// True while the maker may still have lost it: shown, not confirmed, never used.
    pub fn is_unsaved(&self) -> bool {
        self.ended_at.is_none() && self.confirmed_at.is_none() && self.first_used_at.is_none()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A grant with every optional field left out.
    pub(crate) fn plain_grant() -> Grant {
        Grant {
            api: "wallet".to_owned(),
            label: "Main store".to_owned(),
            contact_email: None,
            system: None,
            environment: Environment::Production,
            access_type: None,
            permissions: BTreeSet::from(["read_balance".to_owned()]),
            restrictions: BTreeMap::new(),
            max_transaction: None,
            max_daily: None,
            allowed_ips: AllowedIps::default(),
            expires_in_days: Some(1),
        }
    }

    fn key(state: KeyState) -> Key {
        let id = uuid::Uuid::from_u128(1);
        let now = DateTime::UNIX_EPOCH;
        Key {
            id: KeyId::new(id),
            organisation_id: OrganisationId::new(id),
            request_id: RequestId::new(id),
            maker_id: MemberId::new(id),
            expires_at: plain_grant().expiry_from(now),
            grant: plain_grant(),
            state,
            version: 1,
            created_at: now,
        }
    }

    #[test]
    fn a_key_expires_at_the_instant_it_was_said_to() {
        let key = key(KeyState::Active);
        let end = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(key.status(end - TimeDelta::microseconds(1)), KeyStatus::Active);
        assert_eq!(key.status(end), KeyStatus::Expired);
        assert_eq!(key.clone().reveal(end), Err(Refusal::KeyEnded("expired")));
        assert!(key.revoke(None, "done".to_owned(), end).is_ok());
    }

    #[test]
    fn a_revoked_key_stays_revoked() {
        let now = DateTime::UNIX_EPOCH;
        let revoked = key(KeyState::Approved).revoke(None, "lost".to_owned(), now).unwrap();
        assert_eq!(revoked.status(now), KeyStatus::Revoked);
        assert_eq!(revoked.version, 2);
        assert!(revoked.clone().reveal(now).is_err());
        assert!(revoked.revoke(None, "again".to_owned(), now).is_err());
    }
}
