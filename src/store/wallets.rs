//! Wallets as rows.

use diesel::prelude::*;

use super::schema::wallets;
use super::{Conn, Tx};
use crate::domain::id::{OrganisationId, WalletId};
use crate::domain::money::{Currency, Money};
use crate::error::Error;

/// Whose wallet it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An organisation, which is a distributor.
    Organisation(OrganisationId),
    /// A merchant with a short code.
    Merchant { short_code: String },
    /// A person with a phone number.
    Person { phone: String },
}

/// Adds a wallet that holds `balance`.
pub fn insert(
    tx: &mut Tx<'_>,
    holder: Holder,
    name: &str,
    balance: (i64, Currency),
) -> Result<(), Error> {
    let (kind, organisation, short_code, phone) = match holder {
        Holder::Organisation(id) => ("organisation", Some(id), None, None),
        Holder::Merchant { short_code } => ("merchant", None, Some(short_code), None),
        Holder::Person { phone } => ("person", None, None, Some(phone)),
    };
    let id = WalletId::new(tx.new_id());
    diesel::insert_into(wallets::table)
        .values((
            wallets::id.eq(id),
            wallets::kind.eq(kind),
            wallets::organisation_id.eq(organisation),
            wallets::name.eq(name),
            wallets::short_code.eq(short_code),
            wallets::phone.eq(phone),
            wallets::currency.eq(balance.1),
            wallets::balance.eq(balance.0),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Adds money to an organisation's wallet.
pub fn credit(tx: &mut Tx<'_>, organisation: &OrganisationId, minor: i64) -> Result<(), Error> {
    let wallet = wallets::table.filter(wallets::organisation_id.eq(organisation));
    let changed = diesel::update(wallet)
        .set(wallets::balance.eq(wallets::balance + minor))
        .execute(tx.conn)?;
    if changed == 1 { Ok(()) } else { Err(Error::NotFound) }
}

/// What an organisation's wallet holds.
pub fn balance(conn: &mut Conn, organisation: &OrganisationId) -> Result<Money, Error> {
    let (minor, currency): (i64, Currency) = wallets::table
        .filter(wallets::organisation_id.eq(organisation))
        .select((wallets::balance, wallets::currency))
        .first(conn)?;
    Ok(Money::from_minor(minor, currency))
}
