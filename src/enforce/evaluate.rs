//! The one evaluator: may this key do this call? Pure; nothing is consumed here.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::domain::key::{Key, KeyStatus};

/// What is asked of a key.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// When.
    pub now: DateTime<Utc>,
    /// From where; none if that could not be told.
    pub ip: Option<IpAddr>,
    /// The API it belongs to; none for calls that keys of every API may make.
    pub api: Option<&'a str>,
    /// The permission it takes; none for calls any key may make.
    pub permission: Option<&'a str>,
    /// The organisation the call names, if it names one, as it stands in the URL.
    pub organisation: Option<&'a str>,
}

/// Why a call is denied; the first reason in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Not revealed, suspended, expired or revoked: to the outside, no key at all.
    NotLive,
    /// From an address that is not on the key's list.
    IpNotAllowed,
    /// Without the permission it takes.
    InsufficientPermission,
    /// For another organisation than the key's.
    DistributorMismatch,
}

impl Denial {
    /// The stable code of the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotLive => "unauthorized",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::InsufficientPermission => "insufficient_permission",
            Self::DistributorMismatch => "distributor_mismatch",
        }
    }

    /// A sentence for the person who reads the answer.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotLive => "Invalid or missing API key",
            Self::IpNotAllowed => "This API key may not be used from your IP address",
            Self::InsufficientPermission => {
                "This API key does not have the permission this call needs"
            }
            Self::DistributorMismatch => "This API key belongs to another distributor",
        }
    }
}

/// One check: what it denies with, and whether the call passes it.
type Check = (Denial, fn(&Key, &Call<'_>) -> bool);

/// Every check, in the order of their answers.
pub const CHECKS: &[Check] = &[
    (Denial::NotLive, |key, call| key.status(call.now) == KeyStatus::Active),
    (Denial::IpNotAllowed, |key, call| match call.ip {
        Some(ip) => key.grant.allowed_ips.allow(ip),
        None => key.grant.allowed_ips.is_any(),
    }),
    // A permission of another API may have the same name and mean something else.
    (Denial::InsufficientPermission, |key, call| {
        call.api.is_none_or(|api| key.grant.api == api)
            && call.permission.is_none_or(|slug| key.grant.permissions.contains(slug))
    }),
    (Denial::DistributorMismatch, |key, call| {
        call.organisation.is_none_or(|id| id.eq_ignore_ascii_case(key.organisation_id.as_str()))
    }),
];

/// The verdict on a call: allowed, or denied by the first check it does not pass.
pub fn evaluate(key: &Key, call: &Call<'_>) -> Result<(), Denial> {
    let failed = CHECKS.iter().find(|(_, passes)| !passes(key, call));
    failed.map_or(Ok(()), |(denial, _)| Err(*denial))
}
