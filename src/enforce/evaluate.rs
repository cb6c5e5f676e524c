//! The one evaluator: may this key do this call? Pure; nothing is consumed here.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::rule::{Restrictions, Rule};
use crate::domain::denial::Denial;
use crate::domain::key::KeyStatus;

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
    /// The restricted values it asks for.
    pub restrictions: Option<&'a Restrictions>,
    /// What it would move, in minor units.
    pub amount: Option<i64>,
}

impl Call<'_> {
    /// A call that asks for nothing in particular.
    pub fn at(now: DateTime<Utc>, ip: Option<IpAddr>) -> Self {
        Self {
            now,
            ip,
            api: None,
            permission: None,
            organisation: None,
            restrictions: None,
            amount: None,
        }
    }
}

/// One check: what it denies with, what it is called, and whether a call passes it.
pub struct Check {
    /// What a call that does not pass is told.
    pub denial: Denial,
    /// The question, for people.
    pub question: &'static str,
    passes: fn(&Rule, &Call<'_>) -> bool,
}

/// Every check, in the order of their answers.
pub const CHECKS: &[Check] = &[
    Check {
        denial: Denial::NotLive,
        question: "Is the key active?",
        passes: |rule, call| rule.status(call.now) == KeyStatus::Active,
    },
    Check {
        denial: Denial::IpNotAllowed,
        question: "Is the address allowed?",
        passes: |rule, call| match (rule.allowed_ips(), call.ip) {
            (None, _) => true,
            (Some(list), Some(ip)) => list.allow(ip),
            (Some(_), None) => false,
        },
    },
    // A permission of another API may have the same name and mean something else.
    Check {
        denial: Denial::InsufficientPermission,
        question: "Does it have the permission?",
        passes: |rule, call| {
            call.api.is_none_or(|api| rule.api.slug == api)
                && call.permission.is_none_or(|slug| rule.may(slug))
        },
    },
    Check {
        denial: Denial::DistributorMismatch,
        question: "Is it the key's own distributor?",
        passes: |rule, call| {
            let own = rule.account.organisation.id.as_str();
            call.organisation.is_none_or(|id| id.eq_ignore_ascii_case(own))
        },
    },
    Check {
        denial: Denial::RestrictionDenied,
        question: "Is it within the key's restrictions?",
        passes: |rule, call| call.restrictions.is_none_or(|asked| within(rule, asked)),
    },
    Check {
        denial: Denial::TransactionLimitExceeded,
        question: "Is the amount within the limit per operation?",
        passes: |rule, call| {
            call.amount.is_none_or(|amount| rule.max_transaction().is_none_or(|max| amount <= max))
        },
    },
];

/// True if each value asked for is among the chosen ones; a list from which none was chosen holds all,
/// a list that the API does not have holds none.
fn within(rule: &Rule, asked: &Restrictions) -> bool {
    asked.iter().all(|(list, values)| {
        match rule.restrictions().and_then(|chosen| chosen.get(list)) {
            Some(chosen) => values.is_subset(chosen),
            None => rule.api.restriction(list).is_some(),
        }
    })
}

/// The verdict on a call: allowed, or denied by the first check it does not pass.
pub fn evaluate(rule: &Rule, call: &Call<'_>) -> Result<(), Denial> {
    let failed = CHECKS.iter().find(|check| !(check.passes)(rule, call));
    failed.map_or(Ok(()), |check| Err(check.denial))
}

/// Every check with whether the call passes it, for a page that explains the verdict.
pub fn explain(rule: &Rule, call: &Call<'_>) -> Vec<(&'static Check, bool)> {
    CHECKS.iter().map(|check| (check, (check.passes)(rule, call))).collect()
}
