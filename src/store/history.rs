//! What stands around operations: who asked for them, and what happened with the same wallets.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::Conn;
use super::operations::indexed;
use super::schema::{keys, operations, requests};
use crate::domain::id::{KeyId, MemberId, OrganisationId, RequestId, WalletId};
use crate::domain::operation::{Operation, OperationStatus};
use crate::error::Error;

/// Operations that are compared with others of the last day.
const COMPARED: i64 = 1_000;

/// Who made a request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The member; for a request that came through a key, the maker of that key.
    pub member_id: MemberId,
    /// The key and its label, if it came through one.
    pub key: Option<(KeyId, String)>,
}

/// Who made each of these requests.
pub fn list_askers(
    conn: &mut Conn,
    ids: &[&RequestId],
) -> Result<HashMap<RequestId, Asker>, Error> {
    type Row = (RequestId, MemberId, Option<KeyId>, Option<String>);
    let rows: Vec<Row> = requests::table
        .left_join(keys::table.on(requests::maker_key_id.eq(keys::id.nullable())))
        .filter(requests::id.eq_any(ids.iter().map(|id| id.as_str())))
        .select((requests::id, requests::maker_id, requests::maker_key_id, keys::label.nullable()))
        .load(conn)?;
    let asker = |(id, member_id, key, label): Row| (id, Asker { member_id, key: key.zip(label) });
    Ok(rows.into_iter().map(asker).collect())
}

/// Those of these wallets that an operation of the organisation was completed with.
pub fn list_known_wallets(
    conn: &mut Conn,
    organisation: &OrganisationId,
    wallets: &[&WalletId],
) -> Result<HashSet<WalletId>, Error> {
    let known: Vec<WalletId> = operations::table
        .filter(operations::organisation_id.eq(organisation))
        .filter(operations::status.eq(OperationStatus::Completed.as_str()))
        .filter(indexed(OperationStatus::Completed))
        .filter(operations::wallet_id.eq_any(wallets.iter().map(|id| id.as_str())))
        .select(operations::wallet_id)
        .distinct()
        .load(conn)?;
    Ok(known.into_iter().collect())
}

/// Those of these operations that were asked for another time since some moment: with the same wallet,
/// over the same amount, and neither failed nor rejected.
pub fn list_repeated(
    conn: &mut Conn,
    organisation: &OrganisationId,
    of: &[&Operation],
    since: DateTime<Utc>,
) -> Result<HashSet<RequestId>, Error> {
    let open = [OperationStatus::Pending.as_str(), OperationStatus::Completed.as_str()];
    let wallets = of.iter().map(|one| one.counterparty.wallet_id.as_str());
    let rows: Vec<(RequestId, String, WalletId, i64)> = operations::table
        .filter(operations::organisation_id.eq(organisation))
        .filter(operations::wallet_id.eq_any(wallets))
        .filter(operations::amount.eq_any(of.iter().map(|one| one.amount)))
        .filter(operations::created_at.ge(since.naive_utc()))
        .filter(operations::status.eq_any(open))
        .order(operations::created_at.desc())
        .limit(COMPARED)
        .select((operations::id, operations::kind, operations::wallet_id, operations::amount))
        .load(conn)?;
    let has_twin = |one: &&&Operation| {
        rows.iter().any(|(id, kind, wallet, amount)| {
            *id != one.id
                && kind == one.kind.as_str()
                && *wallet == one.counterparty.wallet_id
                && *amount == one.amount
        })
    };
    Ok(of.iter().filter(has_twin).map(|one| one.id.clone()).collect())
}
