//! Measuring what keys want to spend by what was approved, as the transaction sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::denial::Denial;
use crate::domain::id::KeyId;
use crate::domain::movement::Fault;
use crate::error::Error;
use crate::store::idempotency::{self, Attempt, Known};
use crate::store::keys::SpendingKey;
use crate::store::volumes::{self, Volumes};
use crate::store::{Tx, keys};

/// Why nothing was spent; and nothing was consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSpent {
    /// The key may not.
    Denied(Denial),
    /// What was asked for makes no sense.
    Invalid(Fault),
    /// The name of the attempt stands for something else already.
    Reused,
    /// It was done before.
    DoneBefore,
    /// There is no such thing.
    Unknown,
}

impl From<Denial> for NotSpent {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// The keys that spend in one transaction: nobody revokes or changes them before it ends.
pub(super) struct Spender(BTreeMap<KeyId, SpendingKey>);

impl Spender {
    pub(super) fn open<'a>(
        tx: &mut Tx<'_>,
        ids: impl Iterator<Item = &'a KeyId>,
    ) -> Result<Self, Error> {
        let ids: std::collections::BTreeSet<_> = ids.collect();
        let found = keys::lock_shared(tx, &ids.into_iter().collect::<Vec<_>>())?;
        Ok(Self(found.into_iter().map(|key| (key.id.clone(), key)).collect()))
    }

    /// The keys in the order of their ids.
    pub(super) fn keys(&self) -> impl Iterator<Item = &SpendingKey> {
        self.0.values()
    }

    /// The key, if it still opens something and has the permission.
    pub(super) fn live(
        &self,
        now: DateTime<Utc>,
        id: &KeyId,
        permission: Option<&str>,
    ) -> Result<&SpendingKey, Denial> {
        let key = self.0.get(id).filter(|key| key.is_live(now));
        let key = key.ok_or(Denial::NotLive)?;
        match permission {
            Some(slug) if !key.may(slug) => Err(Denial::InsufficientPermission),
            Some(_) | None => Ok(key),
        }
    }

    /// What will be used of the day after spending `amount`, if the limits of the key allow it.
    pub(super) fn fits(key: &SpendingKey, amount: i64, used: i64) -> Result<i64, Denial> {
        if key.max_transaction.is_some_and(|max| amount > max) {
            return Err(Denial::TransactionLimitExceeded);
        }
        let used = used.checked_add(amount).ok_or(Denial::DailyVolumeExceeded)?;
        if key.max_daily.is_some_and(|max| used > max) {
            return Err(Denial::DailyVolumeExceeded);
        }
        Ok(used)
    }
}

/// Spends an amount of a key's daily volume on something that happens elsewhere, once for each attempt;
/// gives what was spent now.
pub fn spend(
    tx: &mut Tx<'_>,
    key: &KeyId,
    amount: i64,
    attempt: Option<&Attempt>,
) -> Result<Result<i64, NotSpent>, Error> {
    let spender = Spender::open(tx, std::iter::once(key))?;
    match idempotency::find(tx, attempt)? {
        Some(Known::Answered(_)) => return Ok(Ok(0)),
        Some(Known::Reused) => return Ok(Err(NotSpent::Reused)),
        None => (),
    }
    let key = match spender.live(tx.now, key, None) {
        Ok(key) => key,
        Err(denial) => return Ok(Err(denial.into())),
    };
    match take(tx, key, amount)? {
        Ok(()) => (),
        Err(denial) => return Ok(Err(denial.into())),
    }
    if let Some(attempt) = attempt {
        idempotency::insert_all(tx, &[(attempt, String::new())])?;
    }
    Ok(Ok(amount))
}

/// Counts an amount in the day of a key whose lock is held, if its limits allow it.
pub(super) fn take(
    tx: &mut Tx<'_>,
    key: &SpendingKey,
    amount: i64,
) -> Result<Result<(), Denial>, Error> {
    let mut volume = volumes::lock(tx, &key.id, key.day.clone())?;
    match Spender::fits(key, amount, volume.used) {
        Ok(used) => {
            volume.used = used;
            volumes::set_all(tx, &Volumes::from([(key.id.clone(), volume)]))?;
            Ok(Ok(()))
        }
        Err(denial) => Ok(Err(denial)),
    }
}
