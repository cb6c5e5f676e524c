//! The way in for every call with a key: who, whether, how often; and what is counted of it.

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use actix_web::http::header;
use chrono::{DateTime, Utc};
use std::net::IpAddr;

use super::ApiError;
use crate::actions;
use crate::domain::member::Origin;
use crate::domain::secret::SecretHash;
use crate::domain::usage::Outcome;
use crate::enforce::usage::Noted;
use crate::enforce::window::Ticket;
use crate::enforce::{Call, Denial, Entry, Restrictions, evaluate};
use crate::error::Error;
use crate::web::{State, client, context};

/// What a call needs of its key.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Needs<'a> {
    /// A short word for the call, in usage counts.
    pub(in crate::web) endpoint: &'a str,
    /// The API; none for calls that keys of every API may make.
    pub(in crate::web) api: Option<&'a str>,
    /// The permission; none for calls any key may make.
    pub(in crate::web) permission: Option<&'a str>,
    /// The organisation in the URL.
    pub(in crate::web) organisation: Option<&'a str>,
    /// The restricted values the call is about.
    pub(in crate::web) restrictions: Option<&'a Restrictions>,
}

impl<'a> Needs<'a> {
    /// A call to the wallet of the distributor that the URL names.
    pub(super) fn wallet(endpoint: &'a str, permission: &'a str, organisation: &'a str) -> Self {
        Self {
            endpoint,
            api: Some("wallet"),
            permission: Some(permission),
            organisation: Some(organisation),
            restrictions: None,
        }
    }

    /// A call that keys of every API may make.
    pub(super) fn any(endpoint: &'a str) -> Self {
        Self { endpoint, api: None, permission: None, organisation: None, restrictions: None }
    }
}

/// A call whose key may make it, as far as could be told without counting it.
pub(in crate::web) struct Gate<'a> {
    pub(super) state: &'a State,
    pub(in crate::web) entry: Entry,
    pub(super) now: DateTime<Utc>,
    pub(super) ip: Option<IpAddr>,
    needs: Needs<'a>,
    req: &'a RequestHead,
}

/// A call that was counted towards the rate limit; it ends by [`Pass::allow`] or [`Pass::refuse`].
pub(in crate::web) struct Pass<'a> {
    pub(super) gate: Gate<'a>,
    ticket: Option<(u8, Ticket)>,
}

/// The organisation that the address of a wallet call names.
pub(super) fn organisation(req: &HttpRequest) -> &str {
    req.match_info().get("id").unwrap_or_default()
}

/// The key that comes with a request, whatever the call is about.
pub(in crate::web) fn find_key(req: &RequestHead, state: &State) -> Result<Entry, ApiError> {
    if !state.index.is_fresh() {
        return Err(Error::Busy.into());
    }
    let headers = state.settings.key_headers.find(req.headers())?;
    let presented = headers.ok_or(ApiError::Unauthorized)?;
    let hash = SecretHash::of_presented(presented.key).ok_or(ApiError::Unauthorized)?;
    let entry = state.index.find(&hash).ok_or(ApiError::Unauthorized)?;
    if presented.is_accepted(entry.rule()) { Ok(entry) } else { Err(ApiError::Unauthorized) }
}

/// A refused call counts for the address it came from; too many are told to slow down instead.
pub(in crate::web) fn refused(req: &RequestHead, state: &State, why: ApiError) -> ApiError {
    let ip = client::ip(req, &state.settings.trusted_proxies);
    match (&why, ip.map(|ip| state.strangers.refuse(ip))) {
        (ApiError::Failed(_), _) | (_, None | Some(Ok(()))) => why,
        (_, Some(Err(seconds))) => ApiError::Flood(seconds),
    }
}

impl<'a> Gate<'a> {
    /// Makes every check that needs no body; a refusal is counted, and consumes nothing.
    pub(super) fn open(
        req: &'a RequestHead,
        state: &'a State,
        needs: Needs<'a>,
    ) -> Result<Self, ApiError> {
        let entry = find_key(req, state).map_err(|why| refused(req, state, why))?;
        Self::with(req, state, entry, needs)
    }

    /// The same for a key that was found before.
    pub(in crate::web) fn with(
        req: &'a RequestHead,
        state: &'a State,
        entry: Entry,
        needs: Needs<'a>,
    ) -> Result<Self, ApiError> {
        let ip = client::ip(req, &state.settings.trusted_proxies);
        let gate = Self { state, entry, now: state.db.clock().now(), ip, needs, req };
        gate.check(None).map_err(|denial| gate.refuse(denial.into()))?;
        Ok(gate)
    }

    /// Checks an amount as well.
    pub(super) fn check_amount(&self, amount: i64) -> Result<(), ApiError> {
        self.check(Some(amount)).map_err(|denial| self.refuse(denial.into()))
    }

    fn check(&self, amount: Option<i64>) -> Result<(), Denial> {
        let call = Call {
            api: self.needs.api,
            permission: self.needs.permission,
            organisation: self.needs.organisation,
            restrictions: self.needs.restrictions,
            amount,
            ..Call::at(self.now, self.ip)
        };
        evaluate(self.entry.rule(), &call)
    }

    /// Counts a refusal and hands it on.
    pub(super) fn refuse(&self, why: ApiError) -> ApiError {
        if let Some(outcome) = why.outcome() {
            self.note(outcome, 0);
            // A line takes its time, and by that an expired key could be told from one that never was.
            if outcome != Outcome::Unauthorized {
                tracing::info!(
                    request_id = context::request_id().as_str(), key = %self.entry.rule().key_id,
                    endpoint = self.needs.endpoint, ip = ?self.ip, reason = outcome.as_str(), "call refused"
                );
            }
        }
        refused(self.req, self.state, why)
    }

    /// Counts the call towards its rate limit and, once in the life of a secret, writes down that it
    /// was used: from then on it cannot be replaced by another reveal.
    pub(in crate::web) async fn take(self) -> Result<Pass<'a>, ApiError> {
        if self.entry.is_unsaved() {
            // In a box, because every call would carry the room for it otherwise.
            Box::pin(save_first_use(self.state, &self.entry)).await?;
        }
        self.count()
    }

    /// Lets the call pass however many there were: nothing may hold up the end of a key.
    pub(super) fn take_uncounted(self) -> Pass<'a> {
        Pass { gate: self, ticket: None }
    }

    /// Counts the call at once; nothing if something has to be written down first.
    pub(super) fn take_now(self) -> Option<Result<Pass<'a>, ApiError>> {
        (!self.entry.is_unsaved()).then(|| self.count())
    }

    fn count(self) -> Result<Pass<'a>, ApiError> {
        match self.entry.rule().rate_limit(self.needs.permission) {
            None => Ok(Pass { gate: self, ticket: None }),
            Some(limit) => match self.entry.meter().take(limit) {
                Ok(ticket) => Ok(Pass { gate: self, ticket: Some(ticket) }),
                Err(seconds) => Err(self.refuse(Denial::RateLimited(seconds).into())),
            },
        }
    }

    /// Where the call came from, for the audit log.
    pub(super) fn origin(&self) -> Origin {
        Origin { ip: self.ip, request_id: Some(context::request_id().as_str().to_owned()) }
    }

    fn note(&self, outcome: Outcome, amount: i64) {
        let agent = self.req.headers.get(header::USER_AGENT);
        let noted = Noted {
            now: self.now,
            outcome,
            endpoint: self.needs.endpoint,
            amount,
            ip: self.ip,
            agent: agent.and_then(|value| value.to_str().ok()),
        };
        self.state.index.note(&self.entry, &noted);
    }
}

impl Pass<'_> {
    /// Counts the call as allowed, with what it moves.
    pub(in crate::web) fn allow(self, amount: i64) {
        self.gate.note(Outcome::Allowed, amount);
    }

    /// Gives back what was counted, and hands the refusal on.
    pub(super) fn refuse(self, why: ApiError) -> ApiError {
        if let Some(ticket) = self.ticket {
            self.gate.entry.meter().give_back(ticket);
        }
        self.gate.refuse(why)
    }
}

/// Writes down that a secret was used; refused if it may not be used any more.
pub(super) async fn save_first_use(state: &State, entry: &Entry) -> Result<(), ApiError> {
    let Some(id) = entry.secret_id() else { return Ok(()) };
    if !state.db.write(move |tx| actions::keys::note_first_use(tx, &id)).await? {
        return Err(ApiError::Unauthorized);
    }
    entry.mark_saved();
    Ok(())
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NotLive => Self::Unauthorized,
            denial => Self::Denied(denial),
        }
    }
}
