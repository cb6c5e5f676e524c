//! What a key may do, small enough to hold a million of them, with the catalogue's words resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::Account;
use crate::domain::addresses::AllowedIps;
use crate::domain::catalogue::{AccessType, Api, RateLimit};
use crate::domain::id::KeyId;
use crate::domain::key::{Environment, Key, KeyState, KeyStatus};

/// Chosen values per restriction list.
pub type Restrictions = BTreeMap<String, BTreeSet<String>>;

/// The approved grant of one key as calls are measured by it.
#[derive(Debug)]
pub struct Rule {
    /// The key.
    pub key_id: Uuid,
    /// Who owns it.
    pub account: Arc<Account>,
    /// What it opens.
    pub api: Arc<Api>,
    /// What people call it.
    pub label: Box<str>,
    /// Where it is used.
    pub environment: Environment,
    /// Bit `n` stands for the n-th permission of the API.
    permissions: u64,
    /// Microseconds since 1970; the largest number for a key that does not expire.
    expires_at: i64,
    /// Minor units; the largest number for no limit.
    max_transaction: i64,
    max_daily: i64,
    allowed_ips: Option<AllowedIps>,
    restrictions: Option<Box<Restrictions>>,
    /// The place of the access type among those of the API.
    access_type: Option<u8>,
    stage: Stage,
    /// Counts changes of the key.
    pub(super) version: i32,
}

/// The state of a key without its story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Approved,
    Active,
    Suspended,
    Revoked,
}

const NONE: i64 = i64::MAX;

impl Rule {
    /// The rule of a key that opens `api`.
    pub fn new(key: &Key, account: Arc<Account>, api: Arc<Api>) -> Self {
        let grant = &key.grant;
        let bits = api.permissions.iter().take(64).enumerate();
        let permissions = bits
            .filter(|(_, permission)| grant.permissions.contains(&permission.slug))
            .fold(0, |set, (bit, _)| set | 1_u64 << bit);
        let access_type = grant.access_type.as_ref().and_then(|slug| {
            let place = api.access_types.iter().position(|access| access.slug == *slug)?;
            u8::try_from(place).ok()
        });
        let (ips, restrictions) = (&grant.allowed_ips, &grant.restrictions);
        Self {
            key_id: key.id.as_str().parse().unwrap_or_default(),
            account,
            label: grant.label.as_str().into(),
            environment: grant.environment,
            permissions,
            expires_at: key.expires_at.map_or(NONE, |at| at.timestamp_micros()),
            max_transaction: grant.max_transaction.unwrap_or(NONE),
            max_daily: grant.max_daily.unwrap_or(NONE),
            allowed_ips: (!ips.is_any()).then(|| ips.clone()),
            restrictions: (!restrictions.is_empty()).then(|| Box::new(restrictions.clone())),
            access_type,
            stage: match key.state {
                KeyState::Approved => Stage::Approved,
                KeyState::Active => Stage::Active,
                KeyState::Suspended => Stage::Suspended,
                KeyState::Revoked { .. } => Stage::Revoked,
            },
            // A revocation is final: it counts even if a restored database numbers it lower.
            version: match key.state {
                KeyState::Revoked { .. } => i32::MAX,
                KeyState::Approved | KeyState::Active | KeyState::Suspended => key.version,
            },
            api,
        }
    }

    /// The key's id as it is stored.
    pub fn id(&self) -> KeyId {
        KeyId::new(self.key_id)
    }

    /// What a person sees of the key at `now`.
    pub fn status(&self, now: DateTime<Utc>) -> KeyStatus {
        match self.stage {
            Stage::Revoked => KeyStatus::Revoked,
            Stage::Approved | Stage::Active | Stage::Suspended
                if self.expires_at <= now.timestamp_micros() =>
            {
                KeyStatus::Expired
            }
            Stage::Approved => KeyStatus::Approved,
            Stage::Active => KeyStatus::Active,
            Stage::Suspended => KeyStatus::Suspended,
        }
    }

    /// True if the key has this permission of its API.
    pub fn may(&self, permission: &str) -> bool {
        self.place(permission).is_some_and(|bit| self.permissions & 1_u64 << bit != 0)
    }

    fn place(&self, permission: &str) -> Option<usize> {
        self.api.permissions.iter().take(64).position(|known| known.slug == permission)
    }

    /// Slugs of what the key may do.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        let set = self.permissions;
        let known = self.api.permissions.iter().take(64).enumerate();
        known.filter(move |(bit, _)| set & 1_u64 << bit != 0).map(|(_, p)| p.slug.as_str())
    }

    /// When the key ends by itself.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        if self.expires_at == NONE {
            return None;
        }
        DateTime::from_timestamp_micros(self.expires_at)
    }

    /// The most one operation may move, in minor units.
    pub fn max_transaction(&self) -> Option<i64> {
        (self.max_transaction != NONE).then_some(self.max_transaction)
    }

    /// The most a calendar day may move, in minor units.
    pub fn max_daily(&self) -> Option<i64> {
        (self.max_daily != NONE).then_some(self.max_daily)
    }

    /// Where it may be used from; nothing for anywhere.
    pub fn allowed_ips(&self) -> Option<&AllowedIps> {
        self.allowed_ips.as_ref()
    }

    /// What it is narrowed down to; nothing for everything.
    pub fn restrictions(&self) -> Option<&Restrictions> {
        self.restrictions.as_deref()
    }

    /// The named permission set that was chosen.
    pub fn access_type(&self) -> Option<&AccessType> {
        self.api.access_types.get(usize::from(self.access_type?))
    }

    /// The limit on calls that need `permission`, and the window they are counted in: 0 for the one
    /// of the API, else one more than the place of a permission that has its own.
    pub fn rate_limit(&self, permission: Option<&str>) -> Option<(u8, RateLimit)> {
        let own = permission.and_then(|slug| {
            let place = self.place(slug)?;
            let limit = self.api.permissions.get(place)?.rate_limit?;
            Some((u8::try_from(place).ok()?.saturating_add(1), limit))
        });
        own.or_else(|| self.api.rate_limit.map(|limit| (0, limit)))
    }
}
