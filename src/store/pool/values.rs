//! Many rows at once, on either database, by statements that are prepared once for each connection.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use chrono::NaiveDateTime;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamp};
use diesel::sqlite::Sqlite;

use super::Conn;
use crate::patience::patiently;

/// One value of a row.
#[derive(Clone, Copy)]
pub(in crate::store) enum Value<'a> {
    Text(Option<&'a str>),
    Number(i64),
    Time(Option<NaiveDateTime>),
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

/// A statement that writes rows, as a type: by its type diesel finds what was prepared without writing the
/// text anew.
pub(in crate::store) trait Statement: 'static {
    /// `INSERT INTO` with the names of the columns.
    const BEFORE: &'static str;
    /// What happens to rows that are there already.
    const AFTER: &'static str = "";
    /// How many rows are written in one go; then other threads have the core, if nobody waits for this.
    const AT_ONCE: usize = usize::MAX;
}

/// Writes rows; gives how many were written.
pub(in crate::store) fn insert<S: Statement, const N: usize>(
    conn: &mut Conn,
    _: S,
    rows: &[[Value<'_>; N]],
) -> QueryResult<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    match conn {
        Conn::Sqlite(conn) => {
            let times = texts_of_times(rows);
            let row = |values| OneRow::<S> { times: &times, values, statement: PhantomData };
            patiently(rows, S::AT_ONCE).map(|values| row(values).execute(conn)).sum()
        }
        Conn::Postgres(conn) => {
            Columns::<S> { columns: columns(rows)?, statement: PhantomData }.execute(conn)
        }
    }
}

/// Writes rows; gives two texts and a number of each, as the statement returns them.
pub(in crate::store) fn insert_returning<S: Statement, const N: usize>(
    conn: &mut Conn,
    _: S,
    rows: &[[Value<'_>; N]],
) -> QueryResult<Vec<(String, String, i64)>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    match conn {
        Conn::Sqlite(conn) => {
            let times = texts_of_times(rows);
            let row = |values| OneRow::<S> { times: &times, values, statement: PhantomData };
            patiently(rows, S::AT_ONCE).map(|values| row(values).get_result(conn)).collect()
        }
        Conn::Postgres(conn) => {
            Columns::<S> { columns: columns(rows)?, statement: PhantomData }.load(conn)
        }
    }
}

/// Writes rows of two statements, which PostgreSQL is asked in one go: it waits for the other side longer
/// than it works. Neither sees what the other writes.
pub(in crate::store) fn insert_both<A: Statement, B: Statement, const N: usize, const M: usize>(
    conn: &mut Conn,
    (first, firsts): (A, &[[Value<'_>; N]]),
    (second, seconds): (B, &[[Value<'_>; M]]),
) -> QueryResult<()> {
    match conn {
        Conn::Postgres(conn) if !firsts.is_empty() && !seconds.is_empty() => {
            let first = Columns::<A> { columns: columns(firsts)?, statement: PhantomData };
            let second = Columns::<B> { columns: columns(seconds)?, statement: PhantomData };
            Both { first, second }.execute(conn).map(drop)
        }
        Conn::Postgres(_) | Conn::Sqlite(_) => {
            insert(conn, first, firsts)?;
            insert(conn, second, seconds).map(drop)
        }
    }
}

/// Times as SQLite stores them. Most rows of a statement share theirs, and writing them out takes long.
fn texts_of_times<const N: usize>(rows: &[[Value<'_>; N]]) -> BTreeMap<NaiveDateTime, String> {
    let mut texts = BTreeMap::new();
    for value in rows.iter().flatten() {
        if let Value::Time(Some(time)) = value {
            // The same text that diesel writes.
            texts.entry(*time).or_insert_with(|| time.to_string());
        }
    }
    texts
}

/// A statement with the values of one row: SQLite is fastest when it runs the same small one many times.
struct OneRow<'a, S> {
    times: &'a BTreeMap<NaiveDateTime, String>,
    values: &'a [Value<'a>],
    statement: PhantomData<S>,
}

impl<S: Statement> QueryFragment<Sqlite> for OneRow<'_, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(S::BEFORE);
        let mut between = " VALUES (";
        for value in self.values {
            out.push_sql(std::mem::replace(&mut between, ", "));
            self.bind(value, &mut out)?;
        }
        out.push_sql(") ");
        out.push_sql(S::AFTER);
        Ok(())
    }
}

impl<'a, S> OneRow<'a, S> {
    fn bind<'b>(
        &'b self,
        value: &'b Value<'a>,
        out: &mut AstPass<'_, 'b, Sqlite>,
    ) -> QueryResult<()> {
        match value {
            Value::Text(text) => out.push_bind_param::<Nullable<Text>, _>(text),
            Value::Number(number) => out.push_bind_param::<BigInt, _>(number),
            Value::Time(None) => out.push_bind_param::<Nullable<Text>, _>(&None::<&str>),
            Value::Time(Some(time)) => {
                let text = self.times.get(time).map_or("", String::as_str);
                out.push_bind_param::<Text, str>(text)
            }
            Value::Bytes(bytes) => out.push_bind_param::<Binary, [u8]>(bytes),
        }
    }
}

/// A statement with each column of its rows as one value: thousands of values would take PostgreSQL longer
/// to read than to store.
struct Columns<'a, S> {
    columns: Vec<Column<'a>>,
    statement: PhantomData<S>,
}

enum Column<'a> {
    Text(Vec<Option<&'a str>>),
    Number(Vec<i64>),
    Time(Vec<Option<NaiveDateTime>>),
    Bytes(Vec<&'a [u8]>),
}

/// The columns of rows that all hold the same kinds of values.
fn columns<'a, const N: usize>(rows: &[[Value<'a>; N]]) -> QueryResult<Vec<Column<'a>>> {
    let mut columns: Vec<Column<'a>> = Vec::with_capacity(N);
    for row in rows {
        for (place, value) in row.iter().enumerate() {
            match (columns.get_mut(place), *value) {
                (Some(Column::Text(column)), Value::Text(text)) => column.push(text),
                (Some(Column::Number(column)), Value::Number(number)) => column.push(number),
                (Some(Column::Time(column)), Value::Time(time)) => column.push(time),
                (Some(Column::Bytes(column)), Value::Bytes(bytes)) => column.push(bytes),
                (None, Value::Text(text)) => columns.push(Column::Text(vec![text])),
                (None, Value::Number(number)) => columns.push(Column::Number(vec![number])),
                (None, Value::Time(time)) => columns.push(Column::Time(vec![time])),
                (None, Value::Bytes(bytes)) => columns.push(Column::Bytes(vec![bytes])),
                (Some(_), _) => {
                    let mixed = "a column of several kinds".into();
                    return Err(diesel::result::Error::QueryBuilderError(mixed));
                }
            }
        }
    }
    Ok(columns)
}

impl<S: Statement> QueryFragment<Pg> for Columns<'_, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(S::BEFORE);
        let mut between = " SELECT * FROM unnest(";
        for column in &self.columns {
            out.push_sql(std::mem::replace(&mut between, ", "));
            column.bind(&mut out)?;
        }
        out.push_sql(") ");
        out.push_sql(S::AFTER);
        Ok(())
    }
}

/// Two statements as one.
struct Both<'a, A, B> {
    first: Columns<'a, A>,
    second: Columns<'a, B>,
}

impl<A: Statement, B: Statement> QueryFragment<Pg> for Both<'_, A, B> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH first AS (");
        self.first.walk_ast(out.reborrow())?;
        out.push_sql(") ");
        self.second.walk_ast(out)
    }
}

impl<A: Statement, B: Statement> QueryId for Both<'_, A, B> {
    type QueryId = (A, B);
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<A, B> RunQueryDsl<PgConnection> for Both<'_, A, B> {}

impl Column<'_> {
    fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Text(texts) => out.push_bind_param::<Array<Nullable<Text>>, _>(texts),
            Self::Number(numbers) => out.push_bind_param::<Array<BigInt>, _>(numbers),
            Self::Time(times) => out.push_bind_param::<Array<Nullable<Timestamp>>, _>(times),
            Self::Bytes(bytes) => out.push_bind_param::<Array<Binary>, _>(bytes),
        }
    }
}

/// What makes a statement of ours one of diesel's.
macro_rules! statement {
    ($name:ident, $conn:ty) => {
        impl<S: Statement> QueryId for $name<'_, S> {
            type QueryId = S;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl<S> Query for $name<'_, S> {
            type SqlType = (Text, Text, BigInt);
        }

        impl<S> RunQueryDsl<$conn> for $name<'_, S> {}
    };
}

statement!(OneRow, SqliteConnection);
statement!(Columns, PgConnection);
