//! Who signed a request and what happened to it and its key, in order.

use chrono::{DateTime, Utc};

use super::view::Names;
use crate::domain::id::MemberId;
use crate::domain::key::{Key, KeyState, Secret};
use crate::domain::operation::{Operation, OperationStatus};
use crate::domain::request::{Decision, Payload, Request, RequestState, Verdict};
use crate::error::Error;
use crate::store::{Conn, requests};

/// One signature: the maker's, or a checker's.
pub(super) struct Signature {
    /// `sig-check`, `sig-no`, `sig-wait`, or empty for the maker.
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) what: String,
    pub(super) at: Option<DateTime<Utc>>,
}

/// One thing that happened.
pub(super) struct Moment {
    /// `is-accent`, `is-ok`, `is-bad` or empty.
    pub(super) class: &'static str,
    pub(super) icon: &'static str,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) at: DateTime<Utc>,
    pub(super) comment: String,
}

/// Signatures and timeline of a request and, once there is one, its key.
pub(super) struct Story {
    pub(super) signatures: Vec<Signature>,
    pub(super) timeline: Vec<Moment>,
    pub(super) decisions: Vec<Decision>,
    names: Names,
}

impl Story {
    pub(super) fn load(
        conn: &mut Conn,
        request: &Request,
        key: Option<(&Key, &[Secret])>,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let decisions = requests::list_decisions(conn, &[&request.id])?;
        let mut people: Vec<&MemberId> =
            decisions.iter().map(|decision| &decision.checker_id).collect();
        people.push(&request.maker_id);
        if let Some((Key { state: KeyState::Revoked { by: Some(by), .. }, .. }, _)) = key {
            people.push(by);
        }
        let names = Names::load(conn, people)?;
        let mut story = Self { signatures: Vec::new(), timeline: Vec::new(), decisions, names };
        story.sign(request);
        story.tell_request(request);
        if let Some((key, secrets)) = key {
            story.tell_key(key, secrets, now);
        }
        story.timeline.sort_by_key(|moment| moment.at);
        Ok(story)
    }

    /// Adds how an approved operation ended.
    pub(super) fn tell_operation(&mut self, operation: &Operation) {
        let at = operation.updated_at;
        if let Some(transfer) = &operation.transfer {
            let what = format!("moved: entry {} of the ledger", transfer.sequence);
            self.push(("is-ok", "coins"), "The money", what, at);
        } else if operation.status == OperationStatus::Failed {
            self.push(("is-bad", "alert"), "The operation", "failed".to_owned(), at);
            let why = operation.last_error.clone().unwrap_or_default();
            if let Some(moment) = self.timeline.last_mut() {
                moment.comment = why;
            }
        }
    }

    /// The name of a member who takes part in the story.
    pub(super) fn name(&self, id: &MemberId) -> String {
        self.names.of(id)
    }

    fn sign(&mut self, request: &Request) {
        let maker = Signature {
            class: "",
            name: self.name(&request.maker_id),
            role: "Maker",
            what: match request.maker_key_id {
                None => "asked".to_owned(),
                Some(_) => "asked through a key".to_owned(),
            },
            at: Some(request.created_at),
        };
        let mut signatures = vec![maker];
        for decision in &self.decisions {
            let (class, what) = match decision.verdict {
                Verdict::Approve => ("sig-check", "approved"),
                Verdict::Reject => ("sig-no", "rejected"),
            };
            signatures.push(Signature {
                class,
                name: self.name(&decision.checker_id),
                role: "Checker",
                what: what.to_owned(),
                at: Some(decision.at),
            });
        }
        if request.state == RequestState::Pending {
            signatures.push(Signature {
                class: "sig-wait",
                name: "Waiting for a checker".to_owned(),
                role: "Checker",
                what: format!("{} of {} approvals", request.approvals, request.approvals_needed),
                at: None,
            });
        }
        self.signatures = signatures;
    }

    fn tell_request(&mut self, request: &Request) {
        let maker = self.name(&request.maker_id);
        let (who, what) = match (&request.payload, &request.maker_key_id) {
            (Payload::IssueKey(_), _) => (maker.clone(), "asked for the key"),
            (Payload::Operation(_), None) => (maker.clone(), "asked to move the money"),
            (Payload::Operation(_), Some(_)) => {
                (format!("A key of {maker}"), "asked to move the money")
            }
        };
        self.push(("is-accent", "pen"), &who, what.to_owned(), request.created_at);
        for decision in std::mem::take(&mut self.decisions) {
            let (look, what) = match decision.verdict {
                Verdict::Approve => (("is-ok", "check"), "approved it"),
                Verdict::Reject => (("is-bad", "x"), "rejected it"),
            };
            let who = self.name(&decision.checker_id);
            self.push(look, &who, what.to_owned(), decision.at);
            if let Some(moment) = self.timeline.last_mut() {
                moment.comment.clone_from(&decision.comment);
            }
            self.decisions.push(decision);
        }
        match (request.state, request.closed_at) {
            (RequestState::Withdrawn, Some(at)) => {
                self.push(("", "undo"), &maker, "took it back".to_owned(), at);
            }
            (RequestState::Expired, Some(at)) => {
                self.push(("is-bad", "hourglass"), "The request", "ran out of time".to_owned(), at);
            }
            _ => (),
        }
    }

    fn tell_key(&mut self, key: &Key, secrets: &[Secret], now: DateTime<Utc>) {
        let maker = self.name(&key.maker_id);
        for secret in secrets {
            let ending = format!("revealed a secret ending in {}", secret.last_four);
            self.push(("", "eye"), &maker, ending, secret.minted_at);
            if let Some(at) = secret.confirmed_at {
                self.push(("is-ok", "check"), &maker, "confirmed that it is saved".to_owned(), at);
            }
            if let Some(at) = secret.first_used_at {
                self.push(("", "activity"), "The key", "made its first call".to_owned(), at);
            }
        }
        if let KeyState::Revoked { at, by, reason } = &key.state {
            let who = by.as_ref().map_or_else(|| "The key".to_owned(), |by| self.name(by));
            self.push(("is-bad", "ban"), &who, "revoked it".to_owned(), *at);
            if let Some(moment) = self.timeline.last_mut() {
                moment.comment.clone_from(reason);
            }
        } else if let Some(at) = key.expires_at.filter(|at| *at <= now) {
            self.push(("is-bad", "hourglass"), "The key", "expired".to_owned(), at);
        }
    }

    fn push(
        &mut self,
        (class, icon): (&'static str, &'static str),
        who: &str,
        what: String,
        at: DateTime<Utc>,
    ) {
        self.timeline.push(Moment {
            class,
            icon,
            who: who.to_owned(),
            what,
            at,
            comment: String::new(),
        });
    }
}
