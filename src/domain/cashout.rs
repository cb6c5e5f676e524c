//! Cash that a customer asked a distributor for. The customer's money has moved already; what is
//! left is to hand over the cash, and to say so.

use chrono::{DateTime, SecondsFormat, Utc};

use super::id::{CashoutId, OrganisationId};
use super::movement::Fault;
use super::text::parse_line;

/// One payout that a customer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cashout {
    /// Its id.
    pub id: CashoutId,
    /// The distributor who is to pay out.
    pub organisation_id: OrganisationId,
    /// The customer's phone number.
    pub from: String,
    /// Minor units.
    pub amount: i64,
    /// What the customer wrote.
    pub memo: Option<String>,
    /// When the customer asked.
    pub created_at: DateTime<Utc>,
    /// When somebody said that it was paid out.
    pub processed_at: Option<DateTime<Utc>>,
}

impl Cashout {
    /// Its place in the list, before it is encoded: `2026-03-29T10:00:00.000000Z|op_<id>`.
    pub fn place(&self) -> String {
        format!("{}|op_{}", self.created_at.to_rfc3339_opts(SecondsFormat::Micros, true), self.id)
    }
}

/// Reads a place in the list.
pub fn parse_place(text: &str) -> Option<(DateTime<Utc>, CashoutId)> {
    let (at, id) = text.split_once('|')?;
    let id = id.strip_prefix("op_").unwrap_or(id).parse().ok()?;
    Some((DateTime::parse_from_rfc3339(at).ok()?.to_utc(), id))
}

/// How cash reached the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fulfillment {
    /// Over the counter.
    Cash,
    /// To a bank account.
    BankTransfer,
}

impl Fulfillment {
    /// The word of the wallet API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::BankTransfer => "bank-transfer",
        }
    }
}

/// What is said of a payout when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processing {
    /// How it was paid out.
    pub fulfillment: Fulfillment,
    /// A receipt of somebody else's.
    pub transaction_id: Option<String>,
    /// A line for the books.
    pub memo: Option<String>,
}

/// The same as it was sent: nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProcessingDraft {
    /// `cash` or `bank-transfer`.
    pub cash_out_fulfillment_type: String,
    /// A receipt of somebody else's.
    #[serde(rename = "transactionID")]
    pub transaction_id: Option<String>,
    /// A line for the books.
    pub memo: Option<String>,
}

impl ProcessingDraft {
    /// What it says, or the first thing wrong with it.
    pub fn parse(&self) -> Result<Processing, Fault> {
        let fulfillment = match self.cash_out_fulfillment_type.as_str() {
            "cash" => Fulfillment::Cash,
            "bank-transfer" => Fulfillment::BankTransfer,
            _ => {
                return Err(Fault::new(
                    "cashOutFulfillmentType",
                    "Say how it was paid out: cash or bank-transfer.",
                ));
            }
        };
        let line = |field, text: &Option<String>| {
            text.as_deref().map(parse_line).transpose().map_err(|e| Fault::new(field, e))
        };
        Ok(Processing {
            fulfillment,
            transaction_id: line("transactionID", &self.transaction_id)?,
            memo: line("memo", &self.memo)?,
        })
    }
}
