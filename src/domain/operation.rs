//! Operations: movements that were asked for, and where each stands.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::id::{KeyId, OrganisationId, RequestId, TransferId, WalletId};
use super::movement::OperationKind;

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// Waits for a checker.
    Pending,
    /// Approved, and the money has moved.
    Completed,
    /// Approved, but the wallet did not hold enough at that moment.
    Failed,
    /// Turned down, taken back, or not decided in time.
    Rejected,
}

impl OperationStatus {
    /// Every status, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Completed, Self::Failed, Self::Rejected];

    /// The word of the wallet API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

impl std::str::FromStr for OperationStatus {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == s).ok_or(())
    }
}

/// A movement of money that somebody asked for. Its request, of the same id, waits for checkers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id and that of its request.
    pub id: RequestId,
    /// The distributor.
    pub organisation_id: OrganisationId,
    /// Which way.
    pub kind: OperationKind,
    /// Where it stands.
    pub status: OperationStatus,
    /// Minor units.
    pub amount: i64,
    /// The other side.
    pub counterparty: Counterparty,
    /// The receipt of a cash-out.
    pub fulfillment_id: Option<String>,
    /// A line for the statement.
    pub memo: Option<String>,
    /// The key that asked, if one did, and the day it counts on.
    pub asked_by: Option<Spent>,
    /// Why it failed or was rejected.
    pub last_error: Option<String>,
    /// The entry of the ledger, once money has moved.
    pub transfer: Option<Transfer>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}

/// The wallet on the other side of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterparty {
    /// Its wallet.
    pub wallet_id: WalletId,
    /// A merchant's name, or what is known of a person.
    pub name: String,
    /// Of a person.
    pub phone: Option<String>,
    /// Of a merchant.
    pub short_code: Option<String>,
}

/// Whose daily volume an operation counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The key.
    pub key_id: KeyId,
    /// The calendar day, `2026-03-02`.
    pub day: String,
}

/// The entry of the ledger that an operation led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Its place in the ledger.
    pub sequence: i64,
}

impl Transfer {
    /// A fingerprint of the entry, which anybody who has it can compute: SHA-256 over its id, place,
    /// operation and amount.
    pub fn fingerprint(&self, operation: &Operation) -> String {
        let entry = format!("{}|{}|{}|{}", self.id, self.sequence, operation.id, operation.amount);
        super::audit::hex(&Sha256::digest(entry))
    }
}
