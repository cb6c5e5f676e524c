//! Cash that customers ask for, and what a key says once it was handed over.

use serde_json::json;

use super::spending::{NotSpent, Spender, take};
use crate::domain::audit::{Event, Who};
use crate::domain::cashout::{Cashout, Processing};
use crate::domain::id::{CashoutId, KeyId, OrganisationId};
use crate::domain::member::Origin;
use crate::domain::money::Money;
use crate::domain::movement::{Party, Phone};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::store::idempotency::{self, Attempt, Known};
use crate::store::wallets::{self, Cause};
use crate::store::{Tx, cashouts, organisations};

/// What a customer asks for: the amount moves to the distributor, who then hands over the cash.
pub fn ask(
    tx: &mut Tx<'_>,
    organisation: &OrganisationId,
    phone: &str,
    amount: &str,
    memo: Option<String>,
) -> Result<CashoutId, Error> {
    let invalid = |message: String| Error::from(Refusal::Invalid(message));
    let currency = organisations::get(tx.conn, organisation)?.currency;
    let amount = Money::parse(amount, currency).map_err(|e| invalid(e.sentence().to_owned()))?;
    let party = Party::Phone(phone.parse::<Phone>().map_err(|e| invalid(e.to_owned()))?);
    let found = wallets::find_parties(tx.conn, &[&party])?;
    let Some(wallet) = found.get(&party).filter(|wallet| wallet.currency == currency) else {
        return Err(invalid(format!("There is no wallet for {party} that holds {currency}.")));
    };
    let cashout = Cashout {
        id: CashoutId::new(tx.new_id()),
        organisation_id: organisation.clone(),
        from: wallet.phone.clone().unwrap_or_default(),
        amount: amount.minor(),
        memo,
        created_at: tx.now,
        processed_at: None,
    };
    cashouts::insert(tx, &cashout, &wallet.id)?;
    let own = wallets::of_organisation(tx.conn, organisation)?.id;
    let cause = Cause::Cashout(cashout.id.as_str());
    if !wallets::transfer(tx, cause, (&wallet.id, &own), amount.minor())? {
        return Err(Refusal::NotEnoughMoney.into());
    }
    tx.audit(Event {
        organisation_id: Some(organisation.clone()),
        who: Who::Command,
        action: "cashout.asked",
        subject_id: Some(cashout.id.to_string()),
        detail: json!({ "amount": amount.plain(), "from": cashout.from }),
    });
    Ok(cashout.id)
}

/// What a key says about one payout.
#[derive(Clone, Debug)]
pub struct Report {
    /// The key.
    pub key_id: KeyId,
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// The payout.
    pub cashout_id: CashoutId,
    /// How it was paid out.
    pub processing: Processing,
    /// The client's name for this attempt.
    pub attempt: Option<Attempt>,
    /// Where it came from.
    pub origin: Origin,
}

/// Notes that the cash was handed over, and gives its amount: it counts in the limits of the key.
pub fn process(tx: &mut Tx<'_>, report: &Report) -> Result<Result<i64, NotSpent>, Error> {
    let spender = Spender::open(tx, std::iter::once(&report.key_id))?;
    match idempotency::find(tx, report.attempt.as_ref())? {
        // It was counted the first time.
        Some(Known::Answered(_)) => return Ok(Ok(0)),
        Some(Known::Reused) => return Ok(Err(NotSpent::Reused)),
        None => (),
    }
    let key = match spender.live(tx.now, &report.key_id, Some("perform_operations")) {
        Ok(key) => key,
        Err(denial) => return Ok(Err(denial.into())),
    };
    let cashout = match cashouts::get(tx.conn, &report.organisation_id, &report.cashout_id) {
        Err(Error::NotFound) => return Ok(Err(NotSpent::Unknown)),
        found => found?,
    };
    if cashout.processed_at.is_some() {
        return Ok(Err(NotSpent::DoneBefore));
    }
    if let Err(denial) = take(tx, key, cashout.amount)? {
        return Ok(Err(denial.into()));
    }
    if !cashouts::process(tx, &report.cashout_id, &report.key_id, &report.processing)? {
        // Somebody else was faster: what was counted above must not stay.
        return Err(Error::Stale);
    }
    tx.audit(Event {
        organisation_id: Some(report.organisation_id.clone()),
        who: Who::Key(key.id.clone(), key.label.clone(), report.origin.clone()),
        action: "cashout.processed",
        subject_id: Some(report.cashout_id.to_string()),
        detail: json!({
            "amount": cashout.amount, "how": report.processing.fulfillment.as_str(),
            "transaction": report.processing.transaction_id,
        }),
    });
    if let Some(attempt) = &report.attempt {
        idempotency::insert_all(tx, &[(attempt, report.cashout_id.to_string())])?;
    }
    Ok(Ok(cashout.amount))
}
