//! Operations as rows.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::pool::MultiBackend;
use super::pool::values::{self, Statement, Value};
use super::requests::{payload, row as columns_of};
use super::schema::{operation_digests, operations, organisations, requests, transfers, wallets};
use super::volumes::{self, Volumes};
use super::wallets::replace;
use super::{Conn, Tx};
use crate::domain::id::{KeyId, OrganisationId, RequestId, TransferId, WalletId};
use crate::domain::operation::{Counterparty, Operation, OperationStatus, Spent, Transfer};
use crate::domain::request::Request;
use crate::error::Error;

diesel::define_sql_function! {
    /// The same function in both databases.
    fn lower(text: diesel::sql_types::Nullable<diesel::sql_types::Text>) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// Which operations a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this status.
    pub status: Option<OperationStatus>,
    /// Only this kind, as stored.
    pub kind: Option<&'static str>,
    /// Only those asked for at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those asked for before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Only those whose other side has this in its phone number, short code or name, or whose memo has.
    pub text: Option<String>,
}

/// How many operations there are, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub count: i64,
    /// The sum of their amounts in minor units.
    pub amount: i64,
}

/// Adds requests together with the operations that they ask for, and writes what they used of days whose
/// locks are held.
pub fn insert_all(
    tx: &mut Tx<'_>,
    new: &[(Request, Operation)],
    used: &Volumes,
) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    let payload = |(request, _): &(Request, Operation)| payload(request);
    let payloads = new.iter().map(payload).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<_> = new.iter().zip(&payloads).map(|(new, payload)| row(new, payload)).collect();
    values::insert_both(tx.conn, (volumes::Replace, &volumes::rows(used)), (Insert, &rows))?;
    Ok(())
}

struct Insert;

impl Statement for Insert {
    const BEFORE: &'static str = "INSERT INTO requests (id, organisation_id, kind, payload, maker_id, maker_key_id, \
             justification, state, version, approvals, approvals_needed, created_at, expires_at, \
             closed_at, operation_kind, operation_status, amount, wallet_id, fulfillment_id, memo, \
             volume_day, last_error)";
}

fn row<'a>((request, o): &'a (Request, Operation), payload: &'a str) -> [Value<'a>; 22] {
    let operation = [
        o.kind.as_str().into(),
        o.status.as_str().into(),
        Value::Number(o.amount),
        o.counterparty.wallet_id.as_str().into(),
        Value::Text(o.fulfillment_id.as_deref()),
        Value::Text(o.memo.as_deref()),
        Value::Text(o.asked_by.as_ref().map(|spent| spent.day.as_str())),
        Value::Text(o.last_error.as_deref()),
    ];
    let mut all = columns_of(request, payload).into_iter().chain(operation);
    std::array::from_fn(|_| all.next().unwrap_or(Value::Text(None)))
}

/// The operation with this id, if it belongs to the organisation.
pub fn get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &RequestId,
) -> Result<Operation, Error> {
    let row: Columns = matching(organisation, &Filter::default())
        .filter(operations::id.eq(id.clone()))
        .select(columns())
        .get_result(conn)?;
    parse(row)
}

/// Operations of an organisation, newest first.
pub fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: &Filter,
    (offset, limit): (i64, i64),
) -> Result<Vec<Operation>, Error> {
    let rows: Vec<Columns> = matching(organisation, filter)
        .order((operations::created_at.desc(), operations::id.desc()))
        .offset(offset)
        .limit(limit)
        .select(columns())
        .load(conn)?;
    rows.into_iter().map(parse).collect()
}

/// How many operations [`list`] would find without a limit, and what they come to.
pub fn total(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: &Filter,
) -> Result<Total, Error> {
    let (count, amount): (i64, String) = matching(organisation, filter)
        .select((diesel::dsl::count_star(), sum_as_text()))
        .get_result(conn)?;
    Ok(Total { count, amount: amount.parse().unwrap_or(i64::MAX) })
}

/// The operations of these requests, as far as they have one.
pub fn list_of_requests(
    conn: &mut Conn,
    organisation: &OrganisationId,
    ids: &[&RequestId],
) -> Result<Vec<Operation>, Error> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<Columns> = matching(organisation, &Filter::default())
        .filter(operations::id.eq_any(ids))
        .select(columns())
        .load(conn)?;
    rows.into_iter().map(parse).collect()
}

/// Writes that a pending operation came to an end; false if it had already.
pub fn settle(
    tx: &mut Tx<'_>,
    id: &RequestId,
    status: OperationStatus,
    last_error: Option<&str>,
) -> Result<bool, Error> {
    let changed = diesel::update(requests::table.find(id))
        .filter(requests::operation_status.eq(OperationStatus::Pending.as_str()))
        .set((requests::operation_status.eq(status.as_str()), requests::last_error.eq(last_error)))
        .execute(tx.conn)?;
    Ok(changed == 1)
}

/// Operations that keys asked for and that checkers were not told of yet.
#[derive(Clone, Debug)]
pub struct News {
    /// Whose.
    pub organisation_id: OrganisationId,
    /// How many, and what they come to.
    pub total: Total,
}

/// What was asked for up to `until` and checkers were not told of. Nobody is told twice within `pause`.
pub fn list_untold(
    conn: &mut Conn,
    until: DateTime<Utc>,
    pause: TimeDelta,
) -> Result<Vec<News>, Error> {
    let rows: Vec<(OrganisationId, Option<NaiveDateTime>)> = organisations::table
        .left_join(
            operation_digests::table.on(operation_digests::organisation_id.eq(organisations::id)),
        )
        .select((organisations::id, operation_digests::told_at.nullable()))
        .load(conn)?;
    let mut news = Vec::new();
    for (organisation_id, told_at) in rows {
        if told_at.is_some_and(|at| until.naive_utc() < at + pause) {
            continue;
        }
        let since = told_at.unwrap_or(DateTime::UNIX_EPOCH.naive_utc());
        let total = total_between(conn, &organisation_id, since, until.naive_utc())?;
        if total.count > 0 {
            news.push(News { organisation_id, total });
        }
    }
    Ok(news)
}

fn total_between(
    conn: &mut Conn,
    organisation: &OrganisationId,
    since: NaiveDateTime,
    until: NaiveDateTime,
) -> Result<Total, Error> {
    let (count, amount): (i64, String) = operations::table
        .filter(operations::organisation_id.eq(organisation))
        .filter(operations::status.eq(OperationStatus::Pending.as_str()))
        .filter(indexed(OperationStatus::Pending))
        .filter(operations::created_at.gt(since))
        .filter(operations::created_at.le(until))
        .filter(operations::maker_key_id.is_not_null())
        .select((diesel::dsl::count_star(), sum_as_text()))
        .get_result(conn)?;
    Ok(Total { count, amount: amount.parse().unwrap_or(i64::MAX) })
}

/// Notes that checkers are told of everything that was asked for up to `until`.
pub fn note_told(
    tx: &mut Tx<'_>,
    organisation: &OrganisationId,
    until: DateTime<Utc>,
) -> Result<(), Error> {
    diesel::sql_query(
        "INSERT INTO operation_digests (organisation_id, told_at) VALUES ($1, $2) \
         ON CONFLICT (organisation_id) DO UPDATE SET told_at = excluded.told_at",
    )
    .bind::<diesel::sql_types::Text, _>(organisation.as_str())
    .bind::<diesel::sql_types::Timestamp, _>(until.naive_utc())
    .execute(tx.conn)?;
    Ok(())
}

/// A sum of 64-bit numbers as text, so that neither database has to invent a type for it.
fn sum_as_text() -> diesel::expression::SqlLiteral<diesel::sql_types::Text> {
    diesel::dsl::sql("CAST(COALESCE(SUM(operations.amount), 0) AS TEXT)")
}

/// What is true of each operation with this status, in the words that lead to an index.
pub(super) fn indexed(status: OperationStatus) -> diesel::expression::SqlLiteral<Bool> {
    diesel::dsl::sql(match status {
        OperationStatus::Pending => "operations.state = 'pending'",
        OperationStatus::Completed | OperationStatus::Failed | OperationStatus::Rejected => {
            "operations.status <> 'pending'"
        }
    })
}

type Joined<'a> = diesel::dsl::IntoBoxed<
    'a,
    diesel::dsl::LeftJoinOn<
        diesel::dsl::InnerJoin<operations::table, wallets::table>,
        transfers::table,
        diesel::dsl::Eq<transfers::subject_id, diesel::dsl::Nullable<operations::id>>,
    >,
    MultiBackend,
>;

fn matching<'a>(organisation: &OrganisationId, filter: &Filter) -> Joined<'a> {
    let mut query = operations::table
        .inner_join(wallets::table)
        .left_join(transfers::table.on(transfers::subject_id.eq(operations::id.nullable())))
        .into_boxed()
        .filter(operations::organisation_id.eq(organisation.clone()));
    if let Some(status) = filter.status {
        query = query.filter(operations::status.eq(status.as_str())).filter(indexed(status));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(operations::kind.eq(kind));
    }
    if let Some(since) = filter.since {
        query = query.filter(operations::created_at.ge(since.naive_utc()));
    }
    if let Some(until) = filter.until {
        query = query.filter(operations::created_at.lt(until.naive_utc()));
    }
    if let Some(text) = &filter.text {
        let like = |text: &str| format!("%{}%", text.replace(['%', '_', '\\'], ""));
        // A phone number is found however it is spaced, a word in capitals and without.
        let number = like(&text.replace([' ', '-'], ""));
        let word = like(text);
        query = query.filter(
            replace(wallets::phone, " ", "")
                .like(number.clone())
                .or(wallets::short_code.like(number))
                .or(lower(wallets::name.nullable()).like(lower(word.clone())))
                .or(lower(operations::memo).like(lower(word))),
        );
    }
    query
}

type Columns = (Row, (String, Option<String>, Option<String>), (Option<TransferId>, Option<i64>));

#[diesel::dsl::auto_type]
fn columns() -> _ {
    let row: diesel::dsl::AsSelect<Row, MultiBackend> = Row::as_select();
    (
        row,
        (wallets::name, wallets::phone, wallets::short_code),
        (transfers::id.nullable(), transfers::sequence.nullable()),
    )
}

fn parse((row, (name, phone, short_code), transfer): Columns) -> Result<Operation, Error> {
    let corrupt = |what: &str| Error::internal(format!("operation {}: unknown {what}", row.id));
    let kind = row.kind.parse().map_err(|()| corrupt("kind"))?;
    let status = row.status.parse().map_err(|()| corrupt("status"))?;
    let spent = row.maker_key_id.zip(row.volume_day);
    Ok(Operation {
        id: row.id,
        organisation_id: row.organisation_id,
        kind,
        status,
        amount: row.amount,
        counterparty: Counterparty { wallet_id: row.wallet_id, name, phone, short_code },
        fulfillment_id: row.fulfillment_id,
        memo: row.memo,
        asked_by: spent.map(|(key_id, day)| Spent { key_id, day }),
        last_error: row.last_error,
        transfer: transfer.0.zip(transfer.1).map(|(id, sequence)| Transfer { id, sequence }),
        created_at: row.created_at.and_utc(),
        updated_at: row.updated_at.and_utc(),
    })
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = operations)]
struct Row {
    id: RequestId,
    organisation_id: OrganisationId,
    kind: String,
    status: String,
    amount: i64,
    wallet_id: WalletId,
    fulfillment_id: Option<String>,
    memo: Option<String>,
    maker_key_id: Option<KeyId>,
    volume_day: Option<String>,
    last_error: Option<String>,
    created_at: NaiveDateTime,
    updated_at: NaiveDateTime,
}
