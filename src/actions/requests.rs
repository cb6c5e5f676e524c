//! Asking for what needs a countersignature, and deciding on what others asked.

use serde_json::json;

use super::{current, keys, letters, operations};
use crate::domain::audit::{Event, Who};
use crate::domain::id::{DecisionId, RequestId};
use crate::domain::key::{Grant, Key};
use crate::domain::member::{Actor, Role};
use crate::domain::movement::Movement;
use crate::domain::operation::OperationStatus;
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::domain::request::{
    Decision, Payload, Request, RequestState, Verdict, Version, WAITS_FOR,
};
use crate::error::Error;
use crate::store::idempotency::{self, Attempt, Known};
use crate::store::{Tx, members, organisations, requests};

/// The most overdue requests closed in one transaction.
const SWEEP: i64 = 200;

/// What became of a request that was carried out.
pub(super) enum Outcome {
    /// A key was made.
    Key(Box<Key>),
    /// Money moved, or could not.
    Operation(OperationStatus),
}

/// Asks for a key and tells every checker who may decide.
pub fn submit(
    tx: &mut Tx<'_>,
    me: &Actor,
    grant: Grant,
    justification: String,
) -> Result<RequestId, Error> {
    submit_payload(tx, me, Payload::IssueKey(grant), justification).map(|request| request.id)
}

/// Asks for a movement of money and tells every checker who may decide. A form that is sent twice,
/// under one `attempt`, asks once.
pub fn submit_operation(
    tx: &mut Tx<'_>,
    me: &Actor,
    movement: Movement,
    justification: String,
    attempt: &Attempt,
) -> Result<RequestId, Error> {
    match idempotency::find(tx, Some(attempt))? {
        Some(Known::Answered(id)) => return id.parse().map_err(Error::internal),
        Some(Known::Reused) => return Err(Error::Stale),
        None => (),
    }
    let request = submit_payload(tx, me, Payload::Operation(movement), justification)?;
    idempotency::insert_all(tx, &[(attempt, request.id.to_string())])?;
    Ok(request.id)
}

fn submit_payload(
    tx: &mut Tx<'_>,
    me: &Actor,
    payload: Payload,
    justification: String,
) -> Result<Request, Error> {
    let me = &current(tx, me)?;
    policy::may_request(me)?;
    let organisation = organisations::get(tx.conn, me.organisation())?;
    let mut checkers = members::list_with_role(tx.conn, me.organisation(), Role::Checker)?;
    checkers.retain(|checker| checker.id != *me.id());
    let needed = organisation.approvals_needed;
    if i32::try_from(checkers.len()).is_ok_and(|found| found < needed) {
        return Err(Refusal::NobodyCanApprove(people(needed)).into());
    }
    if let Payload::IssueKey(grant) = &payload {
        keys::keep_caps(tx, me.organisation(), grant)?;
    }
    let request = Request {
        id: RequestId::new(tx.new_id()),
        organisation_id: organisation.id.clone(),
        payload,
        maker_id: me.id().clone(),
        maker_key_id: None,
        justification,
        state: RequestState::Pending,
        version: Version(1),
        approvals: 0,
        approvals_needed: needed,
        created_at: tx.now,
        expires_at: tx.now + WAITS_FOR,
        closed_at: None,
    };
    match &request.payload {
        Payload::IssueKey(_) => requests::insert(tx, &request)?,
        Payload::Operation(movement) => operations::open(tx, &request, movement)?,
    }
    let mut detail = json!({ "kind": request.payload.kind() });
    if let Some(fields) = detail.as_object_mut() {
        let asks_for = match &request.payload {
            Payload::IssueKey(grant) => json!(grant),
            Payload::Operation(movement) => json!(movement),
        };
        fields.insert("asks_for".to_owned(), asks_for);
    }
    tx.audit(event(me, "request.made", &request, detail));
    letters::request_made(tx, &request, (me, &organisation), &checkers)?;
    Ok(request)
}

/// Approves the request as the checker saw it; the last approval needed carries it out at once.
pub fn approve(
    tx: &mut Tx<'_>,
    me: &Actor,
    id: &RequestId,
    seen: Version,
    comment: &str,
) -> Result<(), Error> {
    let request = decidable(tx, me, id, seen)?;
    decide(tx, me, &request, Verdict::Approve, comment)?;
    let request = request.approve(tx.now)?;
    requests::update(tx, &request, seen)?;
    let outcome = match request.state {
        RequestState::Approved => Some(carry_out(tx, &request)?),
        _ => None,
    };
    let detail = json!({
        "version": seen.0, "approvals": request.approvals, "needed": request.approvals_needed,
        "comment": comment, "key": outcome.as_ref().and_then(Outcome::key).map(|key| key.id.as_str()),
        "operation": outcome.as_ref().and_then(Outcome::status).map(OperationStatus::as_str),
    });
    tx.audit(event(me, "request.approved", &request, detail));
    match outcome {
        Some(Outcome::Key(key)) => letters::request_approved(tx, &request, me, &key),
        Some(Outcome::Operation(status)) => letters::operation_done(tx, &request, me, status),
        None => Ok(()),
    }
}

/// Turns the request down, with a reason for its maker.
pub fn reject(
    tx: &mut Tx<'_>,
    me: &Actor,
    id: &RequestId,
    seen: Version,
    reason: &str,
) -> Result<(), Error> {
    let request = decidable(tx, me, id, seen)?;
    if reason.is_empty() {
        return Err(Refusal::ReasonMissing.into());
    }
    decide(tx, me, &request, Verdict::Reject, reason)?;
    let request = request.reject(tx.now)?;
    requests::update(tx, &request, seen)?;
    operations::turn_down(tx, &request, reason)?;
    tx.audit(event(
        me,
        "request.rejected",
        &request,
        json!({ "version": seen.0, "reason": reason }),
    ));
    letters::request_rejected(tx, &request, me, reason)
}

/// Takes one's own request back.
pub fn withdraw(tx: &mut Tx<'_>, me: &Actor, id: &RequestId) -> Result<(), Error> {
    let request = requests::lock(tx, me.organisation(), id)?;
    policy::may_withdraw(&current(tx, me)?, &request)?;
    let request = request.withdraw(tx.now)?;
    requests::update(tx, &request, request.version)?;
    operations::turn_down(tx, &request, "The maker took the request back.")?;
    tx.audit(event(me, "request.withdrawn", &request, json!({})));
    Ok(())
}

/// Closes requests that nobody decided in time; gives how many.
pub fn expire_overdue(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let overdue = requests::list_overdue(tx.conn, tx.now, SWEEP)?;
    let mut closed = 0;
    for request in overdue {
        // Read again under the lock: somebody may be deciding at this very moment.
        let request = requests::lock(tx, &request.organisation_id, &request.id)?;
        let Some(request) = request.expire(tx.now) else { continue };
        requests::update(tx, &request, request.version)?;
        operations::turn_down(tx, &request, "Nobody decided in time.")?;
        tx.audit(Event {
            organisation_id: Some(request.organisation_id.clone()),
            who: Who::Worker,
            action: "request.expired",
            subject_id: Some(request.id.to_string()),
            detail: json!({}),
        });
        letters::request_expired(tx, &request)?;
        closed += 1;
    }
    Ok(closed)
}

/// The request under its lock, if this member may decide this version of it now.
fn decidable(tx: &mut Tx<'_>, me: &Actor, id: &RequestId, seen: Version) -> Result<Request, Error> {
    let request = requests::lock(tx, me.organisation(), id)?;
    policy::may_decide(&current(tx, me)?, &request)?;
    request.still_open(tx.now)?;
    if request.version == seen { Ok(request) } else { Err(Error::Stale) }
}

fn decide(
    tx: &mut Tx<'_>,
    me: &Actor,
    request: &Request,
    verdict: Verdict,
    comment: &str,
) -> Result<(), Error> {
    let decision = Decision {
        id: DecisionId::new(tx.new_id()),
        request_id: request.id.clone(),
        version: request.version,
        maker_id: request.maker_id.clone(),
        checker_id: me.id().clone(),
        verdict,
        comment: comment.to_owned(),
        at: tx.now,
    };
    requests::insert_decision(tx, &decision)
}

/// Does what was approved, in the transaction of the last approval.
fn carry_out(tx: &mut Tx<'_>, request: &Request) -> Result<Outcome, Error> {
    match &request.payload {
        Payload::IssueKey(grant) => {
            keys::issue(tx, request, grant).map(|key| Outcome::Key(Box::new(key)))
        }
        Payload::Operation(movement) => {
            operations::carry_out(tx, request, movement).map(Outcome::Operation)
        }
    }
}

impl Outcome {
    fn key(&self) -> Option<&Key> {
        match self {
            Self::Key(key) => Some(key),
            Self::Operation(_) => None,
        }
    }

    fn status(&self) -> Option<OperationStatus> {
        match self {
            Self::Key(_) => None,
            Self::Operation(status) => Some(*status),
        }
    }
}

fn event(me: &Actor, action: &'static str, request: &Request, detail: serde_json::Value) -> Event {
    Event {
        organisation_id: Some(request.organisation_id.clone()),
        who: Who::Member(Box::new(me.clone())),
        action,
        subject_id: Some(request.id.to_string()),
        detail,
    }
}

fn people(n: i32) -> String {
    if n == 1 {
        "one active checker besides you".to_owned()
    } else {
        format!("{n} active checkers besides you")
    }
}
