//! Opening wallets and bringing money in, from the command line.

use serde_json::json;

use crate::domain::audit::{Event, Who};
use crate::domain::id::{OrganisationId, WalletId};
use crate::domain::money::{Currency, Money};
use crate::domain::movement::{Party, Phone, parse_short_code};
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_line;
use crate::error::Error;
use crate::store::Tx;
use crate::store::wallets::{self, Holder};

/// Opens an empty wallet for a customer.
pub fn open_for_person(
    tx: &mut Tx<'_>,
    phone: &str,
    name: &str,
    currency: Currency,
) -> Result<WalletId, Error> {
    let number: Phone = phone.parse().map_err(|e: &str| Refusal::Invalid(e.to_owned()))?;
    // One number is one wallet, however it is spaced.
    if !wallets::find_parties(tx.conn, &[&Party::Phone(number)])?.is_empty() {
        return Err(Refusal::WalletTaken(phone.to_owned()).into());
    }
    // Kept as it was written, but with single spaces: look-ups leave the spaces out.
    let phone = parse_line(&phone.replace('-', " ")).map_err(|e| Refusal::Invalid(e.to_owned()))?;
    open(tx, Holder::Person { phone }, name, currency)
}

/// Opens an empty wallet for a merchant.
pub fn open_for_merchant(
    tx: &mut Tx<'_>,
    short_code: &str,
    name: &str,
    currency: Currency,
) -> Result<WalletId, Error> {
    let short_code = parse_short_code(short_code).map_err(Refusal::Invalid)?;
    open(tx, Holder::Merchant { short_code }, name, currency)
}

fn open(
    tx: &mut Tx<'_>,
    holder: Holder,
    name: &str,
    currency: Currency,
) -> Result<WalletId, Error> {
    let name = parse_line(name).map_err(|e| Refusal::Invalid(format!("Name: {e}")))?;
    let id = wallets::insert(tx, holder, &name, currency)?;
    tx.audit(Event {
        organisation_id: None,
        who: Who::Command,
        action: "wallet.opened",
        subject_id: Some(id.to_string()),
        detail: json!({ "name": name, "currency": currency.as_str() }),
    });
    Ok(id)
}

/// Brings money into an organisation's wallet from outside.
pub fn fund_organisation(tx: &mut Tx<'_>, id: &OrganisationId, amount: &str) -> Result<(), Error> {
    let wallet = wallets::of_organisation(tx.conn, id)?.id;
    fund(tx, &wallet, amount, Some(id))
}

/// Brings money into any wallet from outside.
pub fn fund(
    tx: &mut Tx<'_>,
    id: &WalletId,
    amount: &str,
    organisation: Option<&OrganisationId>,
) -> Result<(), Error> {
    let currency = wallets::get(tx.conn, id)?.currency;
    let amount =
        Money::parse(amount, currency).map_err(|e| Refusal::Invalid(e.sentence().to_owned()))?;
    wallets::fund(tx, id, amount.minor())?;
    tx.audit(Event {
        organisation_id: organisation.cloned(),
        who: Who::Command,
        action: "wallet.funded",
        subject_id: Some(organisation.map_or_else(|| id.to_string(), ToString::to_string)),
        detail: json!({ "amount": amount.plain(), "currency": currency.as_str() }),
    });
    Ok(())
}
