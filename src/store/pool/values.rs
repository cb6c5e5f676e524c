//! Many rows in one statement, on either database.

use std::fmt::Write as _;

use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamp};

use super::{Conn, MultiBackend};
use crate::domain::audit::hex;

/// Rows in one statement: SQLite takes 32,766 values, PostgreSQL 65,535.
pub(in crate::store) const ROWS: usize = 1_000;

/// One value of a row.
pub(in crate::store) enum Value<'a> {
    Text(Option<&'a str>),
    Number(i64),
    Time(Option<NaiveDateTime>),
}

/// A statement that holds rows between `before` and `after`, at most [`ROWS`] of them.
pub(in crate::store) fn statement<'a, const N: usize>(
    conn: &Conn,
    before: &str,
    rows: &[[Value<'a>; N]],
    after: &str,
) -> BoxedSqlQuery<'a, MultiBackend, SqlQuery> {
    // SQLite looks `$1` up by its name, which takes the longer the more of them there are.
    let mark = match conn {
        Conn::Sqlite(_) => '?',
        Conn::Postgres(_) => '$',
    };
    let mut sql = format!("{before} VALUES ");
    let mut number = 0;
    for row in 0..rows.len() {
        sql.push_str(if row == 0 { "(" } else { "), (" });
        for column in 0..N {
            number += 1;
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a text cannot fail.
            let _ = write!(sql, "{comma}{mark}{number}");
        }
    }
    let _ = write!(sql, ") {after}");
    let query = diesel::sql_query(sql).into_boxed::<MultiBackend>();
    rows.iter().flatten().fold(query, |query, value| match *value {
        Value::Text(text) => query.bind::<Nullable<Text>, _>(text),
        Value::Number(number) => query.bind::<BigInt, _>(number),
        Value::Time(time) => query.bind::<Nullable<Timestamp>, _>(time),
    })
}

/// Adds rows that are named like the columns of their table. All of them are one value of one statement:
/// thousands of values would take PostgreSQL longer to read than to store.
pub(in crate::store) fn insert_as_json(
    conn: &mut PgConnection,
    table: &str,
    rows: &[impl serde::Serialize],
) -> QueryResult<usize> {
    let json = serde_json::to_string(rows)
        .map_err(|e| diesel::result::Error::SerializationError(Box::new(e)))?;
    diesel::sql_query(format!(
        "INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1::json)"
    ))
    .bind::<Text, _>(json)
    .execute(conn)
}

/// Bytes as PostgreSQL reads them from a text.
pub(in crate::store) fn as_bytea<S: serde::Serializer>(
    bytes: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("\\x{}", hex(bytes)))
}
