//! Moving money: asked for by a key or a member, carried out when a checker approves.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::letters;
use super::spending::{NotSpent, Spender};
use crate::domain::audit::{Event, Who};
use crate::domain::denial::Denial;
use crate::domain::id::{KeyId, RequestId};
use crate::domain::member::{Origin, Role};
use crate::domain::movement::{Fault, Movement, OperationKind, Party};
use crate::domain::operation::{Counterparty, Operation, OperationStatus, Spent};
use crate::domain::refusal::Refusal;
use crate::domain::request::{Payload, Request, RequestState, Version, WAITS_FOR};
use crate::error::Error;
use crate::store::idempotency::{self, Attempt, Known};
use crate::store::organisations;
use crate::store::volumes::{self, Volumes};
use crate::store::wallets::{self, Cause, Wallet};
use crate::store::{Conn, Tx, members, operations};

/// What a key asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The key.
    pub key_id: KeyId,
    /// The movement.
    pub movement: Movement,
    /// The client's name for this attempt.
    pub attempt: Option<Attempt>,
    /// Where it came from.
    pub origin: Origin,
}

/// An operation that waits for a checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: RequestId,
    /// False if an earlier attempt of the same name made it.
    pub is_new: bool,
}

/// What becomes of a wish: the operation, or why there is none.
pub type Answer = Result<Made, NotSpent>;

/// Everything the wishes of one transaction are measured by.
struct Desk {
    spender: Spender,
    parties: HashMap<Party, Wallet>,
    known: HashMap<Attempt, Known>,
    volumes: Volumes,
    new: Vec<(Request, Operation)>,
}

/// Makes an operation of each wish that its key allows, all in one transaction; in their order, so
/// that the limits of a key hold over all of them together.
pub fn make_all(tx: &mut Tx<'_>, wishes: &[Wish]) -> Result<Vec<Answer>, Error> {
    let mut desk = Desk::open(tx, wishes)?;
    let mut answers = Vec::with_capacity(wishes.len());
    for wish in wishes {
        let answer = desk.decide(tx, wish)?;
        // Of equal attempts in one transaction the first is carried out; the others share its answer.
        if let (Ok(made), Some(attempt)) = (&answer, &wish.attempt) {
            desk.known.insert(attempt.clone(), Known::Answered(made.id.to_string()));
        }
        answers.push(answer);
    }
    operations::insert_all(tx, &desk.new, &desk.volumes)?;
    let remembered = wishes.iter().zip(&answers).filter_map(|(wish, answer)| {
        let made = answer.as_ref().ok().filter(|made| made.is_new)?;
        Some((wish.attempt.as_ref()?, made.id.to_string()))
    });
    idempotency::insert_all(tx, &remembered.collect::<Vec<_>>())?;
    Ok(answers)
}

impl Desk {
    fn open(tx: &mut Tx<'_>, wishes: &[Wish]) -> Result<Self, Error> {
        let spender = Spender::open(tx, wishes.iter().map(|wish| &wish.key_id))?;
        let attempts: Vec<_> = wishes.iter().filter_map(|wish| wish.attempt.as_ref()).collect();
        let known = idempotency::find_all(tx, &attempts)?;
        let parties: Vec<_> = wishes.iter().map(|wish| &wish.movement.party).collect();
        let parties = wallets::find_parties(tx.conn, &parties)?;
        let days = spender.keys().map(|key| (key.id.clone(), key.day.clone()));
        let days = days.collect();
        let volumes = volumes::lock_all(tx, &days)?;
        Ok(Self { spender, parties, known, volumes, new: Vec::new() })
    }

    fn decide(&mut self, tx: &mut Tx<'_>, wish: &Wish) -> Result<Answer, Error> {
        match wish.attempt.as_ref().and_then(|attempt| self.known.get(attempt)) {
            Some(Known::Reused) => return Ok(Err(NotSpent::Reused)),
            Some(Known::Answered(id)) => {
                return Ok(Ok(Made { id: id.parse().map_err(Error::internal)?, is_new: false }));
            }
            None => (),
        }
        let movement = &wish.movement;
        let key = match self.spender.live(tx.now, &wish.key_id, Some("perform_operations")) {
            Ok(key) => key,
            Err(denial) => return Ok(Err(denial.into())),
        };
        let party = match counterparty(&self.parties, movement) {
            Ok(party) => party,
            Err(fault) => return Ok(Err(NotSpent::Invalid(fault))),
        };
        let volume = self.volumes.get_mut(&key.id);
        let volume = volume.ok_or_else(|| Error::internal("a volume was not locked"))?;
        let used = match Spender::fits(key, movement.amount, volume.used) {
            Ok(used) => used,
            Err(denial) => return Ok(Err(denial.into())),
        };
        if payer_balance(movement, key.account.balance, party) < movement.amount {
            return Ok(Err(Denial::InsufficientBalance.into()));
        }
        volume.used = used;
        let spent = Spent { key_id: key.id.clone(), day: volume.day.clone() };
        let request = Request {
            id: RequestId::new(tx.new_id()),
            organisation_id: key.organisation_id.clone(),
            payload: Payload::Operation(movement.clone()),
            maker_id: key.maker_id.clone(),
            maker_key_id: Some(key.id.clone()),
            justification: String::new(),
            state: RequestState::Pending,
            version: Version(1),
            approvals: 0,
            approvals_needed: key.account.organisation.approvals_needed,
            created_at: tx.now,
            expires_at: tx.now + WAITS_FOR,
            closed_at: None,
        };
        tx.audit(Event {
            organisation_id: Some(key.organisation_id.clone()),
            who: Who::Key(key.id.clone(), key.label.clone(), wish.origin.clone()),
            action: "request.made",
            subject_id: Some(request.id.to_string()),
            detail: json!({ "kind": "operation", "asks_for": movement }),
        });
        let operation = operation(&request, movement, party, Some(spent));
        let id = request.id.clone();
        self.new.push((request, operation));
        Ok(Ok(Made { id, is_new: true }))
    }
}

/// Writes the request of a member, made in the browser, with its operation.
pub(super) fn open(tx: &mut Tx<'_>, request: &Request, movement: &Movement) -> Result<(), Error> {
    let parties = wallets::find_parties(tx.conn, &[&movement.party])?;
    let party =
        counterparty(&parties, movement).map_err(|fault| Refusal::Invalid(fault.message))?;
    let own = wallets::of_organisation(tx.conn, &request.organisation_id)?;
    if payer_balance(movement, own.balance, party) < movement.amount {
        return Err(Refusal::NotEnoughMoney.into());
    }
    let operation = operation(request, movement, party, None);
    operations::insert_all(tx, &[(request.clone(), operation)], &Volumes::new())
}

/// Moves the money, in the transaction of the last approval; tells how that ended.
pub(super) fn carry_out(
    tx: &mut Tx<'_>,
    request: &Request,
    movement: &Movement,
) -> Result<OperationStatus, Error> {
    let operation = operations::get(tx.conn, &request.organisation_id, &request.id)?;
    let own = wallets::of_organisation(tx.conn, &request.organisation_id)?.id;
    let other = operation.counterparty.wallet_id.clone();
    let pair = match movement.kind {
        OperationKind::CashIn => (&own, &other),
        OperationKind::CashOutFulfillment => (&other, &own),
    };
    let moved =
        wallets::transfer(tx, Cause::Operation(request.id.as_str()), pair, movement.amount)?;
    let (status, last_error) = if moved {
        (OperationStatus::Completed, None)
    } else {
        give_back(tx, &operation)?;
        (OperationStatus::Failed, Some("The wallet that was to pay did not hold enough."))
    };
    close(tx, &operation, status, last_error)?;
    Ok(status)
}

/// Ends the operation of a request that was not approved; nothing has moved.
pub(super) fn turn_down(tx: &mut Tx<'_>, request: &Request, why: &str) -> Result<(), Error> {
    if request.payload.movement().is_none() {
        return Ok(());
    }
    let operation = operations::get(tx.conn, &request.organisation_id, &request.id)?;
    give_back(tx, &operation)?;
    close(tx, &operation, OperationStatus::Rejected, Some(why))
}

/// So old must an operation be before checkers are told of it. One that is younger may still be on its way
/// into the database, from this node or one whose clock differs, and would be missed by what is told since.
const SETTLED: TimeDelta = TimeDelta::minutes(1);

/// True if checkers have to be told of operations that keys asked for.
pub fn has_news(conn: &mut Conn, now: DateTime<Utc>) -> Result<bool, Error> {
    Ok(!operations::list_untold(conn, now - SETTLED, letters::DIGEST_EVERY)?.is_empty())
}

/// Tells checkers of the operations that keys asked for since they were last told: one mail for all of
/// them, because a key asks more often than a person can read.
pub fn tell_checkers(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let (mut told, until) = (0, tx.now - SETTLED);
    for news in operations::list_untold(tx.conn, until, letters::DIGEST_EVERY)? {
        operations::note_told(tx, &news.organisation_id, until)?;
        let organisation = organisations::get(tx.conn, &news.organisation_id)?;
        let checkers = members::list_with_role(tx.conn, &news.organisation_id, Role::Checker)?;
        letters::operations_wait(tx, &organisation, &news, &checkers)?;
        told += 1;
    }
    Ok(told)
}

fn close(
    tx: &mut Tx<'_>,
    operation: &Operation,
    status: OperationStatus,
    last_error: Option<&str>,
) -> Result<(), Error> {
    if operations::settle(tx, &operation.id, status, last_error)? {
        Ok(())
    } else {
        Err(Error::Stale)
    }
}

fn give_back(tx: &mut Tx<'_>, operation: &Operation) -> Result<(), Error> {
    match &operation.asked_by {
        Some(spent) => volumes::give_back(tx, &spent.key_id, &spent.day, operation.amount),
        None => Ok(()),
    }
}

/// The wallet on the other side, if there is one that holds the same currency.
fn counterparty<'a>(
    parties: &'a HashMap<Party, Wallet>,
    movement: &Movement,
) -> Result<&'a Wallet, Fault> {
    let field = match (&movement.party, movement.kind) {
        (Party::Merchant(_), _) => "merchantToShortCode",
        (Party::Phone(_), OperationKind::CashIn) => "phoneTo",
        (Party::Phone(_), OperationKind::CashOutFulfillment) => "phoneFrom",
    };
    let unknown = || Fault::new(field, format!("There is no wallet for {}.", movement.party));
    let wallet = parties.get(&movement.party).ok_or_else(unknown)?;
    if wallet.currency == movement.currency {
        Ok(wallet)
    } else {
        Err(Fault::new(field, format!("That wallet holds {}.", wallet.currency)))
    }
}

fn payer_balance(movement: &Movement, own: i64, other: &Wallet) -> i64 {
    match movement.kind {
        OperationKind::CashIn => own,
        OperationKind::CashOutFulfillment => other.balance,
    }
}

fn operation(
    request: &Request,
    movement: &Movement,
    party: &Wallet,
    asked_by: Option<Spent>,
) -> Operation {
    Operation {
        id: request.id.clone(),
        organisation_id: request.organisation_id.clone(),
        kind: movement.kind,
        status: OperationStatus::Pending,
        amount: movement.amount,
        counterparty: Counterparty {
            wallet_id: party.id.clone(),
            name: party.name.clone(),
            phone: party.phone.clone(),
            short_code: party.short_code.clone(),
        },
        fulfillment_id: movement.fulfillment_id.clone(),
        memo: movement.memo.clone(),
        asked_by,
        last_error: None,
        transfer: None,
        created_at: request.created_at,
        updated_at: request.created_at,
    }
}
