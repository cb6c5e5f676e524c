//! Organisations in memory: what every call with one of their keys needs to know, and the balance.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::id::OrganisationId;
use crate::domain::money::Money;
use crate::domain::organisation::Organisation;
use crate::store::organisations::AccountSnapshot;

/// One organisation.
#[derive(Debug)]
pub struct Account {
    /// The organisation.
    pub organisation: Organisation,
    /// Its name as machines send it.
    pub name: String,
    balance: AtomicI64,
    /// The version of the balance; whoever changes the balance holds it.
    version: Mutex<i64>,
}

impl Account {
    /// What the wallet holds, as of the last transaction that this node has heard of.
    pub fn balance(&self) -> Money {
        Money::from_minor(self.balance.load(Ordering::Acquire), self.organisation.currency)
    }

    /// An account outside of any index.
    pub fn new(snapshot: AccountSnapshot) -> Self {
        Self {
            name: snapshot.organisation.account_name(),
            organisation: snapshot.organisation,
            balance: AtomicI64::new(snapshot.balance),
            version: Mutex::new(snapshot.version),
        }
    }

    fn update(&self, balance: i64, version: i64) {
        let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if version > *known {
            *known = version;
            self.balance.store(balance, Ordering::Release);
        }
    }
}

/// Every organisation of the database.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<OrganisationId, Arc<Account>>>);

impl Accounts {
    pub(super) fn find(&self, id: &OrganisationId) -> Option<Arc<Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Takes a snapshot over unless a newer one was taken before.
    pub(super) fn apply(&self, snapshot: AccountSnapshot) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(&snapshot.organisation.id) {
            account.update(snapshot.balance, snapshot.version);
        } else {
            let id = snapshot.organisation.id.clone();
            accounts.insert(id, Arc::new(Account::new(snapshot)));
        }
    }
}
