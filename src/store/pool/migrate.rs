//! Migrations: embedded, one folder per database, same names.

use anyhow::{Context as _, bail};
use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::Conn;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
/// Any number, as long as every node uses the same: only one of them migrates at a time.
const LOCK: &str = "7150267401";

/// Brings the schema up to date; refuses a database that a newer version has migrated.
pub(super) fn run(conn: &mut Conn) -> anyhow::Result<()> {
    let result = match conn {
        Conn::Sqlite(conn) => {
            // Two processes may open a new file at once; diesel's own transactions nest inside.
            AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")?;
            let result =
                known(MigrationSource::<Sqlite>::migrations(&SQLITE), conn.applied_migrations())
                    .and_then(|()| {
                        let run = conn.run_pending_migrations(SQLITE).map(drop);
                        run.map_err(anyhow::Error::from_boxed)
                    });
            if result.is_ok() {
                AnsiTransactionManager::commit_transaction(conn)?;
            } else {
                AnsiTransactionManager::rollback_transaction(conn)?;
            }
            result
        }
        Conn::Postgres(conn) => {
            // A node that waits here waits for another node's whole migration.
            conn.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0")?;
            conn.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))?;
            // From here on whoever waits keeps everybody else waiting: rather fail, and be tried again.
            conn.batch_execute("SET lock_timeout = '5s'")?;
            known(MigrationSource::<Pg>::migrations(&POSTGRES), conn.applied_migrations())?;
            let result = conn.run_pending_migrations(POSTGRES).map(drop);
            let result = result.map_err(anyhow::Error::from_boxed);
            conn.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})"))?;
            result
        }
    };
    result.context("migrating the database")
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Refuses if the database has a migration that this program does not.
fn known<DB: diesel::backend::Backend>(
    embedded: Result<Vec<Box<dyn diesel::migration::Migration<DB>>>, Fault>,
    applied: Result<Vec<MigrationVersion<'static>>, Fault>,
) -> anyhow::Result<()> {
    let embedded = embedded.map_err(anyhow::Error::from_boxed)?;
    let applied = applied.map_err(anyhow::Error::from_boxed).context("reading the migrations")?;
    let unknown =
        applied.iter().find(|version| embedded.iter().all(|m| m.name().version() != **version));
    if let Some(version) = unknown {
        bail!(
            "the database was migrated by a newer version of Countersign (migration {version}); use that version"
        );
    }
    Ok(())
}
