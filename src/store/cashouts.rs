//! Cash that customers asked for, as rows.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;

use super::schema::{cashouts, wallets};
use super::{Conn, Tx};
use crate::domain::cashout::{Cashout, Processing};
use crate::domain::id::{CashoutId, KeyId, OrganisationId, WalletId};
use crate::error::Error;

/// Adds one.
pub fn insert(tx: &mut Tx<'_>, cashout: &Cashout, wallet: &WalletId) -> Result<(), Error> {
    diesel::insert_into(cashouts::table)
        .values((
            cashouts::id.eq(&cashout.id),
            cashouts::organisation_id.eq(&cashout.organisation_id),
            cashouts::wallet_id.eq(wallet),
            cashouts::amount.eq(cashout.amount),
            cashouts::memo.eq(&cashout.memo),
            cashouts::created_at.eq(cashout.created_at.naive_utc()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// The one with this id, if it belongs to the organisation.
pub fn get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &CashoutId,
) -> Result<Cashout, Error> {
    let row: Row = cashouts::table
        .inner_join(wallets::table)
        .filter(cashouts::id.eq(id))
        .filter(cashouts::organisation_id.eq(organisation))
        .select(COLUMNS)
        .first(conn)?;
    Ok(parse(row))
}

/// Those that wait for their cash, oldest first, after a place in that order.
pub fn list_waiting(
    conn: &mut Conn,
    organisation: &OrganisationId,
    after: Option<&(DateTime<Utc>, CashoutId)>,
    limit: i64,
) -> Result<Vec<Cashout>, Error> {
    let mut query = cashouts::table
        .inner_join(wallets::table)
        .filter(cashouts::organisation_id.eq(organisation.clone()))
        .filter(cashouts::processed_at.is_null())
        .order((cashouts::created_at, cashouts::id))
        .limit(limit)
        .select(COLUMNS)
        .into_boxed::<super::pool::MultiBackend>();
    if let Some((at, id)) = after {
        let at = at.naive_utc();
        query = query.filter(
            cashouts::created_at
                .gt(at)
                .or(cashouts::created_at.eq(at).and(cashouts::id.gt(id.clone()))),
        );
    }
    let rows: Vec<Row> = query.load(conn)?;
    Ok(rows.into_iter().map(parse).collect())
}

/// Notes that the cash was handed over; false if it was noted before.
pub fn process(
    tx: &mut Tx<'_>,
    id: &CashoutId,
    key: &KeyId,
    processing: &Processing,
) -> Result<bool, Error> {
    let changed = diesel::update(cashouts::table.find(id))
        .filter(cashouts::processed_at.is_null())
        .set((
            cashouts::processed_at.eq(Some(tx.now.naive_utc())),
            cashouts::processed_key_id.eq(Some(key)),
            cashouts::fulfillment_type.eq(Some(processing.fulfillment.as_str())),
            cashouts::transaction_id.eq(&processing.transaction_id),
            cashouts::processed_memo.eq(&processing.memo),
        ))
        .execute(tx.conn)?;
    Ok(changed == 1)
}

type Row = (
    CashoutId,
    OrganisationId,
    Option<String>,
    i64,
    Option<String>,
    NaiveDateTime,
    Option<NaiveDateTime>,
);

const COLUMNS: (
    cashouts::id,
    cashouts::organisation_id,
    wallets::phone,
    cashouts::amount,
    cashouts::memo,
    cashouts::created_at,
    cashouts::processed_at,
) = (
    cashouts::id,
    cashouts::organisation_id,
    wallets::phone,
    cashouts::amount,
    cashouts::memo,
    cashouts::created_at,
    cashouts::processed_at,
);

fn parse((id, organisation_id, phone, amount, memo, created_at, processed_at): Row) -> Cashout {
    Cashout {
        id,
        organisation_id,
        from: phone.unwrap_or_default(),
        amount,
        memo,
        created_at: created_at.and_utc(),
        processed_at: processed_at.map(|at| at.and_utc()),
    }
}
