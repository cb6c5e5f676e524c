//! Organisations as rows.

use chrono::NaiveDateTime;
use diesel::prelude::*;

use super::schema::{organisations, wallets};
use super::{Change, Conn, Tx};
use crate::domain::id::OrganisationId;
use crate::domain::money::Currency;
use crate::domain::organisation::Organisation;
use crate::domain::refusal::Refusal;
use crate::error::{Error, is_unique_violation};

/// The organisation with this id.
pub fn get(conn: &mut Conn, id: &OrganisationId) -> Result<Organisation, Error> {
    organisations::table.find(id).select(Row::as_select()).get_result(conn)?.parse()
}

/// Takes the row's lock by an update that changes nothing: what is counted after it stays so until
/// the transaction ends.
pub fn lock(tx: &mut Tx<'_>, id: &OrganisationId) -> Result<(), Error> {
    diesel::update(organisations::table.find(id))
        .set(organisations::name.eq(organisations::name))
        .execute(tx.conn)?;
    Ok(())
}

/// How many organisations there are.
pub fn count(conn: &mut Conn) -> Result<i64, Error> {
    Ok(organisations::table.count().get_result(conn)?)
}

/// Adds an organisation.
pub fn insert(tx: &mut Tx<'_>, organisation: &Organisation) -> Result<(), Error> {
    let row = Row {
        id: organisation.id.clone(),
        name: organisation.name.clone(),
        currency: organisation.currency,
        short_code: organisation.short_code.clone(),
        time_zone: organisation.time_zone.name().to_owned(),
        approvals_needed: organisation.approvals_needed,
        created_at: organisation.created_at.naive_utc(),
    };
    match diesel::insert_into(organisations::table).values(row).execute(tx.conn) {
        Err(e) if is_unique_violation(&e) => {
            Err(Refusal::ShortCodeTaken(organisation.short_code.clone()).into())
        }
        other => Ok(other.map(drop)?),
    }
}

/// An organisation and what its wallet holds: all that calls with its keys need to know of it.
#[derive(Clone, Debug)]
pub struct AccountSnapshot {
    /// The organisation.
    pub organisation: Organisation,
    /// What its wallet holds, in minor units.
    pub balance: i64,
    /// Counts the changes of the balance.
    pub version: i64,
}

/// One account.
pub fn find_account(
    conn: &mut Conn,
    id: &OrganisationId,
) -> Result<Option<AccountSnapshot>, Error> {
    let found = accounts().filter(organisations::id.eq(id)).get_result(conn).optional()?;
    found.map(parse_account).transpose()
}

/// Every account.
pub fn list_accounts(conn: &mut Conn) -> Result<Vec<AccountSnapshot>, Error> {
    let rows: Vec<AccountRow> = accounts().load(conn)?;
    rows.into_iter().map(parse_account).collect()
}

/// Tells every node what the wallet of an organisation holds now.
pub fn announce_account(tx: &mut Tx<'_>, id: &OrganisationId) -> Result<(), Error> {
    if let Some(snapshot) = find_account(tx.conn, id)? {
        tx.changed(Change::Account(Box::new(snapshot)));
    }
    Ok(())
}

/// What an account is read from: an organisation, and the balance of its wallet with the balance's version.
pub(super) type AccountRow = (Row, i64, i64);

#[diesel::dsl::auto_type]
fn accounts() -> _ {
    let row: diesel::dsl::AsSelect<Row, super::pool::MultiBackend> = Row::as_select();
    organisations::table
        .inner_join(wallets::table.on(wallets::organisation_id.eq(organisations::id.nullable())))
        .select((row, wallets::balance, wallets::version))
}

/// The account that was read.
pub(super) fn parse_account((row, balance, version): AccountRow) -> Result<AccountSnapshot, Error> {
    Ok(AccountSnapshot { organisation: row.parse()?, balance, version })
}

/// An organisation as a row.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = organisations)]
pub(super) struct Row {
    id: OrganisationId,
    name: String,
    currency: Currency,
    short_code: String,
    time_zone: String,
    approvals_needed: i32,
    created_at: NaiveDateTime,
}

impl Row {
    fn parse(self) -> Result<Organisation, Error> {
        let time_zone = self.time_zone.parse().map_err(Error::internal)?;
        Ok(Organisation {
            id: self.id,
            name: self.name,
            currency: self.currency,
            short_code: self.short_code,
            time_zone,
            approvals_needed: self.approvals_needed,
            created_at: self.created_at.and_utc(),
        })
    }
}
