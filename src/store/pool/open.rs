//! Opening connections by URL scheme, so that a PostgreSQL outage never looks like a missing SQLite file.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::r2d2::{ManageConnection, Pool, R2D2Connection as _};

use super::Conn;

/// The oldest SQLite without the WAL-reset corruption bug (sqlite.org/wal.html#walresetbug).
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);
const POOL_SIZE: u32 = 16;
/// How long to wait for a free connection before the caller is told that the server is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens connections to one database.
#[derive(Clone)]
pub(super) enum Opener {
    Postgres(String),
    Sqlite(String),
}

impl Opener {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(with_timeouts(url)));
        }
        match url.strip_prefix("sqlite://") {
            Some(path) => Ok(Self::Sqlite(path.to_owned())),
            None => bail!("the address of the database must start with sqlite:// or postgres://"),
        }
    }

    /// Checks the database's version and migrates it.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        if let Self::Sqlite(path) = self {
            create_private(path)?;
        }
        let mut conn = self.writer().map_err(anyhow::Error::new).context("opening the database")?;
        if let Conn::Sqlite(conn) = &mut conn {
            check_sqlite_version(conn)?;
            switch_to_wal(conn)?;
        }
        super::migrate::run(&mut conn)
    }

    pub(super) fn pool(&self) -> anyhow::Result<Pool<Self>> {
        Pool::builder()
            .max_size(POOL_SIZE)
            .min_idle(Some(1))
            .connection_timeout(PATIENCE)
            // A check costs a round trip on every use; a broken connection is dropped after its error.
            .test_on_check_out(false)
            .build(self.clone())
            .context("connecting to the database")
    }

    /// A connection that may write.
    pub(super) fn writer(&self) -> Result<Conn, diesel::r2d2::Error> {
        let query = diesel::r2d2::Error::QueryError;
        match self {
            Self::Postgres(url) => {
                let mut conn = diesel::PgConnection::establish(url)?;
                // Compiling a query takes longer than running any of ours.
                conn.batch_execute(
                    "SET lock_timeout = '5s'; SET statement_timeout = '30s'; \
                     SET idle_in_transaction_session_timeout = '60s'; SET TIME ZONE 'UTC'; SET jit = off",
                )
                .map_err(query)?;
                Ok(Conn::Postgres(conn))
            }
            Self::Sqlite(path) => {
                let mut conn = diesel::SqliteConnection::establish(path)?;
                conn.batch_execute(
                    "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                     PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; \
                     PRAGMA secure_delete = ON",
                )
                .map_err(query)?;
                Ok(Conn::Sqlite(conn))
            }
        }
    }
}

impl ManageConnection for Opener {
    type Connection = Conn;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Conn, Self::Error> {
        let mut conn = self.writer()?;
        if let Conn::Sqlite(conn) = &mut conn {
            // Pooled connections only read: everything that writes goes through the writer thread.
            conn.batch_execute("PRAGMA query_only = ON")
                .map_err(diesel::r2d2::Error::QueryError)?;
        }
        Ok(conn)
    }

    fn is_valid(&self, conn: &mut Conn) -> Result<(), Self::Error> {
        conn.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        std::thread::panicking() || conn.is_broken()
    }
}

impl Opener {
    /// Makes sure that no other server has this SQLite file: a second one would not hear of revoked
    /// keys. The lock lives as long as what is returned. PostgreSQL tells its nodes, and needs none.
    pub(super) fn claim(&self) -> anyhow::Result<Option<File>> {
        let Self::Sqlite(path) = self else { return Ok(None) };
        let lock = File::create(format!("{path}.lock"))
            .context("creating the lock beside the database")?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => {
                bail!("another Countersign serves {path}; several nodes need PostgreSQL")
            }
            Err(TryLockError::Error(e)) => Err(e).context("locking the database"),
        }
    }
}

/// Adds what makes a vanished server noticed within seconds, where the address does not say it itself.
fn with_timeouts(address: &str) -> String {
    // Several hosts in one address are more than the parser knows: then it stays as it is.
    let Ok(mut url) = url::Url::parse(address) else { return address.to_owned() };
    let defaults = [
        ("connect_timeout", "5"),
        ("tcp_user_timeout", "5000"),
        ("keepalives_idle", "5"),
        ("keepalives_interval", "2"),
        ("keepalives_count", "2"),
    ];
    for (name, value) in defaults {
        if url.query_pairs().all(|(given, _)| given != name) {
            let separator =
                if url.query().is_some_and(|query| !query.is_empty()) { "&" } else { "" };
            let query = format!("{}{separator}{name}={value}", url.query().unwrap_or_default());
            url.set_query(Some(&query));
        }
    }
    url.into()
}

/// Creates the file so that only its owner can read it, if it is not there yet.
fn create_private(path: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).with_context(|| format!("opening the database file {path}"))
}

/// Switches the file to the write-ahead log, for good. SQLite does not wait for others here, whatever
/// the timeout, so this does.
fn switch_to_wal(conn: &mut diesel::SqliteConnection) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        match conn.batch_execute("PRAGMA journal_mode = WAL") {
            Err(e) if e.to_string().contains("locked") && began.elapsed() < PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            result => return result.context("switching SQLite to its write-ahead log"),
        }
    }
}

fn check_sqlite_version(conn: &mut diesel::SqliteConnection) -> anyhow::Result<()> {
    use diesel::RunQueryDsl as _;
    let version: String =
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("sqlite_version()"))
            .get_result(conn)?;
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < SQLITE_MIN {
        bail!("SQLite {version} can corrupt a database in use; 3.51.3 or newer is needed");
    }
    Ok(())
}
