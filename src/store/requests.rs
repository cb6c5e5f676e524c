//! Requests and the decisions on them as rows.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::pool::values::{self, Statement, Value};
use super::schema::{decisions, requests};
use super::{Conn, Tx};
use crate::domain::id::{DecisionId, KeyId, MemberId, OrganisationId, RequestId};
use crate::domain::refusal::Refusal;
use crate::domain::request::{Decision, Payload, Request, RequestState, Verdict, Version};
use crate::error::{Error, is_unique_violation};

/// The request with this id, if it belongs to the organisation.
pub fn get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &RequestId,
) -> Result<Request, Error> {
    requests::table
        .find(id)
        .filter(requests::organisation_id.eq(organisation))
        .select(Row::as_select())
        .get_result(conn)?
        .parse()
}

/// What a list of requests shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Only these states; empty for all.
    pub states: &'a [RequestState],
    /// Only this kind.
    pub kind: Option<&'a str>,
    /// Only those made by this member.
    pub maker: Option<&'a MemberId>,
    /// Only those made by others than this member.
    pub not_maker: Option<&'a MemberId>,
    /// Only keys for this API.
    pub api: Option<&'a str>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// Leave out so many.
    pub offset: i64,
    /// At most so many.
    pub limit: i64,
}

/// Requests of an organisation.
pub fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: Filter<'_>,
) -> Result<Vec<Request>, Error> {
    let mut query = matching(organisation, filter).select(Row::as_select());
    query = if filter.newest_first {
        query.order((requests::created_at.desc(), requests::id.desc()))
    } else {
        query.order((requests::created_at, requests::id))
    };
    let rows = query.offset(filter.offset).limit(filter.limit).load::<Row>(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// Rows are counted so far, because nobody reads a larger number and counting takes time.
pub const COUNTED: i64 = 1_000;

/// How many requests [`list`] would find without a limit; one more than [`COUNTED`] stands for all above.
pub fn count(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: Filter<'_>,
) -> Result<i64, Error> {
    let rows = || matching(organisation, filter);
    // Not one row of what is too much leaves the database.
    let beyond = rows().select(one()).offset(COUNTED).limit(1).first::<i32>(conn).optional()?;
    if beyond.is_some() {
        return Ok(COUNTED + 1);
    }
    Ok(rows().count().get_result(conn)?)
}

/// How many pending requests of others wait for `checker`, who has not voted on them yet; counted like
/// [`count`].
pub fn count_waiting_for(
    conn: &mut Conn,
    organisation: &OrganisationId,
    checker: &MemberId,
) -> Result<i64, Error> {
    // Looked up request by request: a checker's decisions of years would be a long list.
    let voted = decisions::table
        .filter(decisions::request_id.eq(requests::id))
        .filter(decisions::checker_id.eq(checker));
    let rows = requests::table
        .filter(requests::organisation_id.eq(organisation))
        .filter(requests::state.eq("pending"))
        .filter(requests::maker_id.ne(checker))
        .filter(diesel::dsl::not(diesel::dsl::exists(voted)))
        .select(one())
        .limit(COUNTED + 1)
        .load::<i32>(conn)?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

/// What is read of a row that is only counted.
pub(super) fn one() -> diesel::expression::SqlLiteral<diesel::sql_types::Integer> {
    diesel::dsl::sql("1")
}

type Boxed<'a> = requests::BoxedQuery<'a, super::pool::MultiBackend>;

fn matching<'a>(organisation: &OrganisationId, filter: Filter<'a>) -> Boxed<'a> {
    let mut query =
        requests::table.filter(requests::organisation_id.eq(organisation.clone())).into_boxed();
    if !filter.states.is_empty() {
        query =
            query.filter(requests::state.eq_any(filter.states.iter().map(|state| state.name())));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(requests::kind.eq(kind));
    }
    if let Some(maker) = filter.maker {
        query = query.filter(requests::maker_id.eq(maker));
    }
    if let Some(other) = filter.not_maker {
        query = query.filter(requests::maker_id.ne(other));
    }
    if let Some(api) = filter.api {
        // Quotes within values are escaped in JSON, so this can only be the field itself.
        let field = format!("%\"api\":\"{}\"%", api.replace('_', "!_"));
        query = query.filter(requests::payload.like(field).escape('!'));
    }
    query
}

/// Adds a request that is no operation; those are added with [`super::operations::insert_all`].
pub fn insert(tx: &mut Tx<'_>, request: &Request) -> Result<(), Error> {
    values::insert(tx.conn, Insert, &[row(request, &payload(request)?)])?;
    Ok(())
}

struct Insert;

impl Statement for Insert {
    const BEFORE: &'static str = "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, maker_key_id, \
             justification, state, version, approvals, approvals_needed, created_at, expires_at, \
             closed_at)";
}

/// The columns that every request has, as they are inserted.
pub(super) fn row<'a>(r: &'a Request, payload: &'a str) -> [Value<'a>; 14] {
    [
        r.id.as_str().into(),
        r.organisation_id.as_str().into(),
        r.payload.kind().into(),
        payload.into(),
        r.maker_id.as_str().into(),
        Value::Text(r.maker_key_id.as_ref().map(KeyId::as_str)),
        r.justification.as_str().into(),
        r.state.name().into(),
        Value::Number(r.version.0.into()),
        Value::Number(r.approvals.into()),
        Value::Number(r.approvals_needed.into()),
        Value::Time(Some(r.created_at.naive_utc())),
        Value::Time(Some(r.expires_at.naive_utc())),
        Value::Time(r.closed_at.map(|at| at.naive_utc())),
    ]
}

/// What is asked for, as stored.
pub(super) fn payload(request: &Request) -> Result<String, Error> {
    match &request.payload {
        Payload::IssueKey(grant) => serde_json::to_string(grant),
        Payload::Operation(movement) => serde_json::to_string(movement),
    }
    .map_err(Error::internal)
}

/// Writes where a request stands after a vote or a closing, unless it changed since it was `seen`
/// or was closed meanwhile.
pub fn update(tx: &mut Tx<'_>, request: &Request, seen: Version) -> Result<(), Error> {
    let changed = diesel::update(requests::table.find(&request.id))
        .filter(requests::version.eq(seen.0))
        .filter(requests::state.eq("pending"))
        .set((
            requests::state.eq(request.state.name()),
            requests::approvals.eq(request.approvals),
            requests::closed_at.eq(request.closed_at.map(|at| at.naive_utc())),
        ))
        .execute(tx.conn)?;
    if changed == 1 { Ok(()) } else { Err(Error::Stale) }
}

/// Takes the row's lock by an update that changes nothing, so that votes are counted one by one.
pub fn lock(
    tx: &mut Tx<'_>,
    organisation: &OrganisationId,
    id: &RequestId,
) -> Result<Request, Error> {
    diesel::update(requests::table.find(id).filter(requests::organisation_id.eq(organisation)))
        .set(requests::version.eq(requests::version))
        .execute(tx.conn)?;
    get(tx.conn, organisation, id)
}

/// Pending requests whose time is over, oldest first.
pub fn list_overdue(
    conn: &mut Conn,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Request>, Error> {
    // Written out, because the index that holds nothing else is only used if the condition is no parameter.
    let pending = diesel::dsl::sql::<Bool>("requests.state = 'pending'");
    let rows = requests::table
        .filter(pending)
        .filter(requests::expires_at.le(now.naive_utc()))
        .order(requests::expires_at)
        .limit(limit)
        .select(Row::as_select())
        .load(conn)?;
    rows.into_iter().map(Row::parse).collect()
}

/// Adds a decision; a second one of the same person on the same version is refused.
pub fn insert_decision(tx: &mut Tx<'_>, decision: &Decision) -> Result<(), Error> {
    let row = DecisionRow {
        id: decision.id.clone(),
        request_id: decision.request_id.clone(),
        version: decision.version.0,
        maker_id: decision.maker_id.clone(),
        checker_id: decision.checker_id.clone(),
        verdict: decision.verdict.name().to_owned(),
        comment: decision.comment.clone(),
        decided_at: decision.at.naive_utc(),
    };
    match diesel::insert_into(decisions::table).values(row).execute(tx.conn) {
        Err(e) if is_unique_violation(&e) => Err(Refusal::AlreadyVoted.into()),
        other => Ok(other.map(drop)?),
    }
}

/// The decisions on these requests, in the order they were made.
pub fn list_decisions(conn: &mut Conn, ids: &[&RequestId]) -> Result<Vec<Decision>, Error> {
    let rows = decisions::table
        .filter(decisions::request_id.eq_any(ids.iter().map(|id| id.as_str())))
        .order((decisions::decided_at, decisions::id))
        .select(DecisionRow::as_select())
        .load(conn)?;
    rows.into_iter().map(DecisionRow::parse).collect()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = requests)]
struct Row {
    id: RequestId,
    organisation_id: OrganisationId,
    kind: String,
    payload: String,
    maker_id: MemberId,
    maker_key_id: Option<KeyId>,
    justification: String,
    state: String,
    version: i32,
    approvals: i32,
    approvals_needed: i32,
    created_at: NaiveDateTime,
    expires_at: NaiveDateTime,
    closed_at: Option<NaiveDateTime>,
}

impl Row {
    fn parse(self) -> Result<Request, Error> {
        let corrupt = |what: &str| Error::internal(format!("request {}: {what}", self.id));
        let payload = match self.kind.as_str() {
            "issue_key" => serde_json::from_str(&self.payload).map(Payload::IssueKey),
            "operation" => serde_json::from_str(&self.payload).map(Payload::Operation),
            other => return Err(corrupt(&format!("unknown kind {other}"))),
        };
        let payload = payload.map_err(|e| corrupt(&e.to_string()))?;
        let state = self.state.parse().map_err(|()| corrupt("unknown state"))?;
        Ok(Request {
            id: self.id,
            organisation_id: self.organisation_id,
            payload,
            maker_id: self.maker_id,
            maker_key_id: self.maker_key_id,
            justification: self.justification,
            state,
            version: Version(self.version),
            approvals: self.approvals,
            approvals_needed: self.approvals_needed,
            created_at: self.created_at.and_utc(),
            expires_at: self.expires_at.and_utc(),
            closed_at: self.closed_at.map(|at| at.and_utc()),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = decisions)]
struct DecisionRow {
    id: DecisionId,
    request_id: RequestId,
    version: i32,
    maker_id: MemberId,
    checker_id: MemberId,
    verdict: String,
    comment: String,
    decided_at: NaiveDateTime,
}

impl DecisionRow {
    fn parse(self) -> Result<Decision, Error> {
        let verdict = match self.verdict.as_str() {
            "approve" => Verdict::Approve,
            "reject" => Verdict::Reject,
            other => {
                return Err(Error::internal(format!(
                    "decision {}: unknown verdict {other}",
                    self.id
                )));
            }
        };
        Ok(Decision {
            id: self.id,
            request_id: self.request_id,
            version: Version(self.version),
            maker_id: self.maker_id,
            checker_id: self.checker_id,
            verdict,
            comment: self.comment,
            at: self.decided_at.and_utc(),
        })
    }
}
