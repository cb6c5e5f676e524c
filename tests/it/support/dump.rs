//! Looks past the app: every row of every table as text, and SQL that the app would never send.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection as _;
use diesel::result::QueryResult;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _, SqliteConnection};

use super::TestApp;

/// The rows of each table, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// Fails the test unless `after` is the same.
    #[track_caller]
    pub fn equals(&self, after: &Self, what: &str) {
        for (table, rows) in &self.0 {
            assert_eq!(Some(rows), after.0.get(table), "{what} changed the table {table}");
        }
    }

    /// All rows as one text, to search for what must be nowhere.
    pub fn text(&self) -> String {
        self.0.values().flatten().cloned().collect::<Vec<_>>().join("\n")
    }
}

/// A connection of its own, beside those of the app.
pub enum Raw {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text)]
    line: String,
}

impl Raw {
    /// Runs statements.
    pub fn run(&mut self, sql: &str) -> QueryResult<()> {
        match self {
            Self::Postgres(conn) => conn.batch_execute(sql),
            Self::Sqlite(conn) => conn.batch_execute(sql),
        }
    }

    /// The rows of a query with one text column called `line`.
    pub fn lines(&mut self, sql: &str) -> Vec<String> {
        let lines: QueryResult<Vec<Line>> = match self {
            Self::Postgres(conn) => diesel::sql_query(sql).load(conn.as_mut()),
            Self::Sqlite(conn) => diesel::sql_query(sql).load(conn.as_mut()),
        };
        lines.unwrap_or_else(|e| panic!("{sql}: {e}")).into_iter().map(|row| row.line).collect()
    }

    fn rows(&mut self, table: &str) -> Vec<String> {
        let row = match self {
            Self::Postgres(_) => "row_to_json(t)::text".to_owned(),
            Self::Sqlite(_) => self
                .lines(&format!(
                    "SELECT 'quote(' || name || ')' AS line FROM pragma_table_info('{table}')"
                ))
                .join(" || ',' || "),
        };
        self.lines(&format!("SELECT {row} AS line FROM {table} AS t ORDER BY 1"))
    }

    fn tables(&mut self) -> Vec<String> {
        self.lines(match self {
            Self::Postgres(_) => {
                "SELECT tablename::text AS line FROM pg_tables WHERE schemaname = 'public'"
            }
            Self::Sqlite(_) => {
                "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            }
        })
    }
}

impl TestApp {
    /// A connection of its own to the app's database.
    pub fn raw(&self) -> Raw {
        if self.database.is_postgres() {
            return Raw::Postgres(Box::new(PgConnection::establish(&self.database.url).unwrap()));
        }
        let path = self.database.url.trim_start_matches("sqlite://");
        let mut conn = SqliteConnection::establish(path).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON").unwrap();
        Raw::Sqlite(Box::new(conn))
    }

    /// Runs statements behind the app's back.
    pub fn sql(&self, sql: &str) {
        self.raw().run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// One number, such as a count.
    pub fn number(&self, what: &str) -> i64 {
        let lines = self.raw().lines(&format!("SELECT CAST(({what}) AS TEXT) AS line"));
        lines[0].parse().unwrap()
    }

    /// Everything in the database but sessions and the counts of sign-ins.
    pub fn dump(&self) -> Dump {
        let mut raw = self.raw();
        let tables = raw.tables();
        let lasting = tables.into_iter().filter(|t| t != "sessions" && t != "sign_in_throttle");
        Dump(lasting.map(|table| (table.clone(), raw.rows(&table))).collect())
    }
}
