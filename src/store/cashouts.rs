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
    let row: (Row, Option<String>) = cashouts::table
        .inner_join(wallets::table)
        .filter(cashouts::id.eq(id))
        .filter(cashouts::organisation_id.eq(organisation))
        .select((Row::as_select(), wallets::phone))
        .get_result(conn)?;
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
        .select((Row::as_select(), wallets::phone))
        .into_boxed::<super::pool::MultiBackend>();
    if let Some((at, id)) = after {
        let at = at.naive_utc();
        query = query.filter(
            cashouts::created_at
                .gt(at)
                .or(cashouts::created_at.eq(at).and(cashouts::id.gt(id.clone()))),
        );
    }
    let rows: Vec<(Row, Option<String>)> = query.load(conn)?;
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

#[derive(Queryable, Selectable)]
#[diesel(table_name = cashouts)]
struct Row {
    id: CashoutId,
    organisation_id: OrganisationId,
    amount: i64,
    memo: Option<String>,
    created_at: NaiveDateTime,
    processed_at: Option<NaiveDateTime>,
}

fn parse((row, phone): (Row, Option<String>)) -> Cashout {
    Cashout {
        id: row.id,
        organisation_id: row.organisation_id,
        from: phone.unwrap_or_default(),
        amount: row.amount,
        memo: row.memo,
        created_at: row.created_at.and_utc(),
        processed_at: row.processed_at.map(|at| at.and_utc()),
    }
}
