//! What of a key decides whether it may spend.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use crate::domain::id::{KeyId, MemberId, OrganisationId};
use crate::domain::key::KeyState;
use crate::error::Error;
use crate::store::Tx;
use crate::store::organisations::{self, AccountSnapshot};
use crate::store::pool::load_with_shared_keys;
use crate::store::schema::{key_volumes, keys, organisations as owners, wallets};
use crate::store::volumes::{self, Day};

/// A key as far as spending goes: many are read for each transaction, and most of a key is not needed.
#[derive(Clone, Debug)]
pub struct SpendingKey {
    /// Its id.
    pub id: KeyId,
    /// Who owns it.
    pub organisation_id: OrganisationId,
    /// Who asked for it.
    pub maker_id: MemberId,
    /// What people call it.
    pub label: String,
    /// The most that one transaction may move, in minor units.
    pub max_transaction: Option<i64>,
    /// The most that it may move in a day.
    pub max_daily: Option<i64>,
    /// Its organisation, and what that holds.
    pub account: AccountSnapshot,
    /// The day that its spending counts in.
    pub day: Day,
    permissions: String,
    expires_at: Option<DateTime<Utc>>,
    is_active: bool,
}

impl SpendingKey {
    /// True if it opens something at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.is_active && self.expires_at.is_none_or(|end| now < end)
    }

    /// True if it has the permission.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.split_whitespace().any(|one| one == permission)
    }
}

/// A key, its organisation, the balance of that with its version, and a day that the key has begun.
type Found = (Row, organisations::Row, i64, i64, Option<String>);

/// These keys, in the order of their ids. Until the transaction ends they cannot change, but other
/// transactions may look at them in the same way.
pub fn lock_shared(tx: &mut Tx<'_>, ids: &[&KeyId]) -> Result<Vec<SpendingKey>, Error> {
    let [first, last] = volumes::days_around(tx.now);
    let is_near = || key_volumes::day.ge(&first).and(key_volumes::day.le(&last));
    let rows: Vec<Found> = load_with_shared_keys!(
        tx.conn,
        keys::table
            .inner_join(owners::table.on(owners::id.eq(keys::organisation_id)))
            .inner_join(wallets::table.on(wallets::organisation_id.eq(owners::id.nullable())))
            .left_join(key_volumes::table.on(key_volumes::key_id.eq(keys::id).and(is_near())))
            .filter(keys::id.eq_any(ids.iter().map(|id| id.as_str())))
            .order((keys::id, key_volumes::day))
            .select((
                Row::as_select(),
                organisations::Row::as_select(),
                wallets::balance,
                wallets::version,
                key_volumes::day.nullable()
            ))
    )?;
    let mut found: Vec<SpendingKey> = Vec::with_capacity(ids.len());
    for (row, owner, balance, version, begun) in rows {
        let account = organisations::parse_account((owner, balance, version))?;
        let day = Day::of(account.organisation.day(tx.now), begun.as_deref());
        // A row for each day of a key, in order: the last one that counts stays.
        match found.last_mut().filter(|key| key.id == row.id) {
            Some(key) if day.is_begun => key.day = day,
            Some(_) => {}
            None => found.push(row.into_key(account, day)),
        }
    }
    Ok(found)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
struct Row {
    id: KeyId,
    organisation_id: OrganisationId,
    maker_id: MemberId,
    label: String,
    permissions: String,
    max_transaction: Option<i64>,
    max_daily: Option<i64>,
    expires_at: Option<NaiveDateTime>,
    state: String,
}

impl Row {
    fn into_key(self, account: AccountSnapshot, day: Day) -> SpendingKey {
        SpendingKey {
            id: self.id,
            organisation_id: self.organisation_id,
            maker_id: self.maker_id,
            label: self.label,
            max_transaction: self.max_transaction,
            max_daily: self.max_daily,
            account,
            day,
            permissions: self.permissions,
            expires_at: self.expires_at.map(|at| at.and_utc()),
            is_active: self.state == KeyState::Active.name(),
        }
    }
}
