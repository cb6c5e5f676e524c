//! An organisation: who owns keys and money.

use chrono::{DateTime, Utc};

use super::id::OrganisationId;
use super::money::Currency;

/// An organisation; in the wallet API it is the *distributor*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id, the `distributorID` of the wallet API.
    pub id: OrganisationId,
    /// Its name.
    pub name: String,
    /// The currency of its wallet and of the limits of its keys.
    pub currency: Currency,
    /// The number others send money to.
    pub short_code: String,
    /// Where its calendar day begins and ends.
    pub time_zone: chrono_tz::Tz,
    /// How many checkers must approve a request.
    pub approvals_needed: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Organisation {
    /// Its calendar day at some moment.
    pub fn day(&self, at: DateTime<Utc>) -> chrono::NaiveDate {
        at.with_timezone(&self.time_zone).date_naive()
    }
}
