//! An operation as a checker reviews it: the two wallets, who asked, and what to look at twice.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::id::{KeyId, OrganisationId, RequestId, WalletId};
use crate::domain::money::Money;
use crate::domain::movement::OperationKind;
use crate::domain::operation::{Operation, OperationStatus};
use crate::domain::organisation::Organisation;
use crate::domain::request::{Request, RequestState};
use crate::domain::risk::{self, Around, Risk};
use crate::error::Error;
use crate::store::wallets::Wallet;
use crate::store::{Conn, history, keys, operations, volumes, wallets};
use crate::web::view::{Badge, key_url};

/// Operations of the same amount are compared within this time.
const A_DAY: TimeDelta = TimeDelta::days(1);

/// The operations of some requests and what is known around them.
pub(in crate::web) struct Operations {
    by_id: HashMap<RequestId, Operation>,
    own: Wallet,
    balances: HashMap<WalletId, i64>,
    known: HashSet<WalletId>,
    repeated: HashSet<RequestId>,
}

impl Operations {
    pub(in crate::web) fn load(
        conn: &mut Conn,
        organisation: &OrganisationId,
        requests: &[&RequestId],
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let found = operations::list_of_requests(conn, organisation, requests)?;
        let all: Vec<_> = found.iter().collect();
        let others: Vec<_> = found.iter().map(|one| &one.counterparty.wallet_id).collect();
        let (balances, known, repeated) = if found.is_empty() {
            Default::default()
        } else {
            (
                wallets::balances(conn, &others)?,
                history::list_known_wallets(conn, organisation, &others)?,
                history::list_repeated(conn, organisation, &all, now - A_DAY)?,
            )
        };
        let own = wallets::of_organisation(conn, organisation)?;
        let by_id = found.into_iter().map(|one| (one.id.clone(), one)).collect();
        Ok(Self { by_id, own, balances, known, repeated })
    }

    /// The operation of a request.
    pub(in crate::web) fn of(&self, request: &Request) -> Option<&Operation> {
        self.by_id.get(&request.id)
    }

    /// What to look at twice, while it waits.
    pub(in crate::web) fn risks(&self, request: &Request) -> Vec<Risk> {
        let waits = |one: &&Operation| one.status == OperationStatus::Pending;
        let Some(operation) = self.of(request).filter(waits) else { return Vec::new() };
        let other = &operation.counterparty.wallet_id;
        let around = Around {
            payer_balance: match operation.kind {
                OperationKind::CashIn => self.own.balance,
                OperationKind::CashOutFulfillment => {
                    self.balances.get(other).copied().unwrap_or_default()
                }
            },
            completed_before: self.known.contains(other),
            asked_twice: self.repeated.contains(&operation.id),
        };
        risk::operation_hints(operation, around)
    }

    /// Where a request stands; once it is approved, how the operation ended.
    pub(in crate::web) fn badge(&self, request: &Request) -> Badge {
        match self.of(request) {
            Some(operation) if request.state == RequestState::Approved => operation.status.into(),
            _ => request.state.into(),
        }
    }
}

/// One side of a movement.
pub(in crate::web) struct Side {
    pub(in crate::web) name: String,
    /// A phone number, or a short code.
    pub(in crate::web) code: String,
    /// What the wallet holds now and after the movement; only told of the organisation's own.
    pub(in crate::web) balance: Option<(Money, Money)>,
}

/// The key that a request came through.
pub(in crate::web) struct KeyLink {
    pub(in crate::web) url: String,
    pub(in crate::web) label: String,
    /// What it has used of the day, and the most it may use.
    pub(in crate::web) used: Money,
    pub(in crate::web) daily: Option<Money>,
}

/// An operation on its request's page.
pub(in crate::web) struct OperationView {
    pub(in crate::web) kind: &'static str,
    pub(in crate::web) amount: Money,
    pub(in crate::web) from: Side,
    pub(in crate::web) to: Side,
    pub(in crate::web) memo: Option<String>,
    pub(in crate::web) receipt: Option<String>,
    pub(in crate::web) status: OperationStatus,
    pub(in crate::web) last_error: Option<String>,
    /// Place and fingerprint of the ledger's entry, once money has moved.
    pub(in crate::web) entry: Option<(i64, String)>,
    pub(in crate::web) key: Option<KeyLink>,
    pub(in crate::web) risks: Vec<Risk>,
}

impl OperationView {
    /// The view of a request's operation, if it has one.
    pub(in crate::web) fn load(
        conn: &mut Conn,
        organisation: &Organisation,
        (request, found): (&Request, &Operations),
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, Error> {
        let Some(operation) = found.of(request) else { return Ok(None) };
        let money = |minor| Money::from_minor(minor, organisation.currency);
        let pending = operation.status == OperationStatus::Pending;
        let (own, other) = (&found.own, &operation.counterparty);
        let ours = |after: Option<i64>| Side {
            name: own.name.clone(),
            code: format!("short code {}", organisation.short_code),
            balance: after.filter(|_| pending).map(|after| (money(own.balance), money(after))),
        };
        let code = other.short_code.as_ref().map(|code| format!("merchant, short code {code}"));
        let theirs = Side {
            name: other.name.clone(),
            code: code.or_else(|| other.phone.clone()).unwrap_or_default(),
            balance: None,
        };
        let (from, to) = match operation.kind {
            OperationKind::CashIn => (ours(own.balance.checked_sub(operation.amount)), theirs),
            OperationKind::CashOutFulfillment => {
                (theirs, ours(own.balance.checked_add(operation.amount)))
            }
        };
        let entry = operation.transfer.as_ref();
        let key = request.maker_key_id.as_ref();
        Ok(Some(Self {
            kind: operation.kind.name(),
            amount: money(operation.amount),
            from,
            to,
            memo: operation.memo.clone(),
            receipt: operation.fulfillment_id.clone(),
            status: operation.status,
            last_error: operation.last_error.clone(),
            entry: entry.map(|entry| (entry.sequence, entry.fingerprint(operation))),
            key: key.map(|id| KeyLink::load(conn, organisation, id, now)).transpose()?,
            risks: found.risks(request),
        }))
    }
}

impl KeyLink {
    fn load(
        conn: &mut Conn,
        organisation: &Organisation,
        id: &KeyId,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let key = keys::get(conn, &organisation.id, id)?;
        let used = volumes::used(conn, id, organisation.day(now))?;
        let money = |minor| Money::from_minor(minor, organisation.currency);
        Ok(Self {
            url: key_url(&key),
            label: key.grant.label.clone(),
            used: money(used),
            daily: key.grant.max_daily.map(money),
        })
    }
}
