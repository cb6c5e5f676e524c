//! Wallets and the transfers between them as rows: a double-entry ledger.

use std::collections::{BTreeSet, HashMap};

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Nullable, Text};

use super::pool::load_listed;
use super::schema::{transfers, wallets};
use super::{Conn, Tx, organisations};
use crate::domain::id::{OrganisationId, TransferId, WalletId};
use crate::domain::money::{Currency, Money};
use crate::domain::movement::Party;
use crate::domain::refusal::Refusal;
use crate::error::{Error, is_unique_violation};

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

/// Why money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// An operation that a checker approved.
    Operation(&'a str),
    /// Cash that a customer asked for.
    Cashout(&'a str),
}

/// A wallet as others may see it.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct Wallet {
    /// Its id.
    pub id: WalletId,
    /// The organisation's or merchant's name; for people what was given.
    pub name: String,
    /// Of a merchant.
    pub short_code: Option<String>,
    /// Of a person.
    pub phone: Option<String>,
    /// What it holds money in.
    pub currency: Currency,
    /// Minor units.
    pub balance: i64,
}

diesel::define_sql_function! {
    /// The same function in both databases.
    fn replace(text: Nullable<Text>, from: Text, to: Text) -> Nullable<Text>;
}

/// Opens an empty wallet; refused if the short code or phone number has one already.
pub fn insert(
    tx: &mut Tx<'_>,
    holder: Holder,
    name: &str,
    currency: Currency,
) -> Result<WalletId, Error> {
    let (kind, organisation, short_code, phone) = match holder {
        Holder::Organisation(id) => ("organisation", Some(id), None, None),
        Holder::Merchant { short_code } => ("merchant", None, Some(short_code), None),
        Holder::Person { phone } => ("person", None, None, Some(phone)),
    };
    let id = WalletId::new(tx.new_id());
    let inserted = diesel::insert_into(wallets::table)
        .values((
            wallets::id.eq(&id),
            wallets::kind.eq(kind),
            wallets::organisation_id.eq(organisation),
            wallets::name.eq(name),
            wallets::short_code.eq(&short_code),
            wallets::phone.eq(&phone),
            wallets::currency.eq(currency),
            wallets::balance.eq(0_i64),
            wallets::version.eq(1_i64),
        ))
        .execute(tx.conn);
    match inserted {
        Err(e) if is_unique_violation(&e) => {
            Err(Refusal::WalletTaken(phone.or(short_code).unwrap_or_default()).into())
        }
        other => other.map(|_| id).map_err(Error::from),
    }
}

/// The wallet of an organisation.
pub fn of_organisation(conn: &mut Conn, id: &OrganisationId) -> Result<Wallet, Error> {
    let wallet = wallets::table.filter(wallets::organisation_id.eq(id));
    Ok(wallet.select(Wallet::as_select()).get_result(conn)?)
}

/// What an organisation's wallet holds.
pub fn balance(conn: &mut Conn, organisation: &OrganisationId) -> Result<Money, Error> {
    let wallet = of_organisation(conn, organisation)?;
    Ok(Money::from_minor(wallet.balance, wallet.currency))
}

/// The wallet with this id.
pub fn get(conn: &mut Conn, id: &WalletId) -> Result<Wallet, Error> {
    Ok(wallets::table.find(id).select(Wallet::as_select()).get_result(conn)?)
}

/// What these wallets hold, in minor units.
pub fn balances(conn: &mut Conn, ids: &[&WalletId]) -> Result<HashMap<WalletId, i64>, Error> {
    let rows: Vec<(WalletId, i64)> = wallets::table
        .filter(wallets::id.eq_any(ids.iter().map(|id| id.as_str())))
        .select((wallets::id, wallets::balance))
        .load(conn)?;
    Ok(rows.into_iter().collect())
}

/// The wallets of these parties, as far as they have one.
pub fn find_parties(conn: &mut Conn, parties: &[&Party]) -> Result<HashMap<Party, Wallet>, Error> {
    // Each once: many want to move money to the same wallet at once.
    let (mut phones, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for party in parties {
        match party {
            Party::Phone(phone) => phones.insert(phone.as_str()),
            Party::Merchant(code) => codes.insert(code.as_str()),
        };
    }
    let mut found: Vec<Wallet> = Vec::new();
    if !phones.is_empty() {
        found.extend(load_listed!(
            &mut *conn,
            wallets::table
                .filter(CompactPhone.eq_any(phones.iter().copied()))
                .select(Wallet::as_select())
        )?);
    }
    if !codes.is_empty() {
        let merchants = wallets::table.filter(wallets::short_code.eq_any(codes));
        found.extend(merchants.select(Wallet::as_select()).load::<Wallet>(conn)?);
    }
    Ok(found.into_iter().filter_map(|wallet| Some((party_of(&wallet)?, wallet))).collect())
}

/// A phone number without its spaces. Written out, because an index on an expression serves no expression
/// with parameters.
#[derive(Clone, Copy, QueryId)]
struct CompactPhone;

impl Expression for CompactPhone {
    type SqlType = Nullable<Text>;
}

impl<DB: Backend> QueryFragment<DB> for CompactPhone {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("replace(wallets.phone, ' ', '')");
        Ok(())
    }
}

impl ValidGrouping<()> for CompactPhone {
    type IsAggregate = is_aggregate::No;
}

impl AppearsOnTable<wallets::table> for CompactPhone {}

impl SelectableExpression<wallets::table> for CompactPhone {}

fn party_of(wallet: &Wallet) -> Option<Party> {
    match (&wallet.phone, &wallet.short_code) {
        (Some(phone), _) => phone.parse().ok().map(Party::Phone),
        (None, Some(code)) => Some(Party::Merchant(code.clone())),
        (None, None) => None,
    }
}

/// Brings money in from outside: the only thing that changes the sum of all wallets.
pub fn fund(tx: &mut Tx<'_>, wallet: &WalletId, amount: i64) -> Result<(), Error> {
    if !credit(tx, wallet, amount)? {
        return Err(Refusal::Invalid("The wallet cannot hold that much.".to_owned()).into());
    }
    insert_transfer(tx, "funding", None, (None, wallet), amount)?;
    announce_owner(tx, wallet)
}

/// Moves money from one wallet to another; false, and nothing moved, if the one does not hold enough
/// or the other cannot hold more. Both rows are locked in the order of their ids, so that two
/// transfers between the same wallets cannot wait for each other.
pub fn transfer(
    tx: &mut Tx<'_>,
    cause: Cause<'_>,
    (from, to): (&WalletId, &WalletId),
    amount: i64,
) -> Result<bool, Error> {
    for wallet in [from.min(to), from.max(to)] {
        diesel::update(wallets::table.find(wallet))
            .set(wallets::version.eq(wallets::version))
            .execute(tx.conn)?;
    }
    let paid = diesel::update(wallets::table.find(from))
        .filter(wallets::balance.ge(amount))
        .set((
            wallets::balance.eq(wallets::balance - amount),
            wallets::version.eq(wallets::version + 1),
        ))
        .execute(tx.conn)?;
    if paid == 0 {
        return Ok(false);
    }
    if !credit(tx, to, amount)? {
        credit(tx, from, amount)?;
        return Ok(false);
    }
    let (kind, subject) = match cause {
        Cause::Operation(id) => ("operation", id),
        Cause::Cashout(id) => ("cashout", id),
    };
    insert_transfer(tx, kind, Some(subject), (Some(from), to), amount)?;
    announce_owner(tx, from)?;
    announce_owner(tx, to)?;
    Ok(true)
}

/// Adds to a balance; false if it cannot hold that much.
fn credit(tx: &mut Tx<'_>, wallet: &WalletId, amount: i64) -> Result<bool, Error> {
    let changed = diesel::update(wallets::table.find(wallet))
        .filter(wallets::balance.le(i64::MAX.saturating_sub(amount)))
        .set((
            wallets::balance.eq(wallets::balance + amount),
            wallets::version.eq(wallets::version + 1),
        ))
        .execute(tx.conn)?;
    Ok(changed == 1)
}

fn insert_transfer(
    tx: &mut Tx<'_>,
    kind: &str,
    subject: Option<&str>,
    (debit, credit): (Option<&WalletId>, &WalletId),
    amount: i64,
) -> Result<(), Error> {
    diesel::insert_into(transfers::table)
        .values((
            transfers::id.eq(TransferId::new(tx.new_id())),
            transfers::kind.eq(kind),
            transfers::subject_id.eq(subject),
            transfers::debit_wallet_id.eq(debit),
            transfers::credit_wallet_id.eq(credit),
            transfers::amount.eq(amount),
            transfers::made_at.eq(tx.now.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Tells every node if the wallet belongs to an organisation.
fn announce_owner(tx: &mut Tx<'_>, wallet: &WalletId) -> Result<(), Error> {
    let owner: Option<OrganisationId> =
        wallets::table.find(wallet).select(wallets::organisation_id).get_result(tx.conn)?;
    owner.map_or(Ok(()), |owner| organisations::announce_account(tx, &owner))
}
