//! The only place that knows which database it is: opening it, reading, and the one door for writes.

mod follow;
mod migrate;
mod open;
pub(super) mod values;
mod write;

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::r2d2::Pool;
use diesel::{QueryResult, RunQueryDsl};

use crate::clock::Clock;
use crate::domain::audit::Event;
use crate::error::Error;
use crate::site::Site;
use crate::store::keys::KeySnapshot;
use crate::store::organisations::AccountSnapshot;

pub use follow::Pulse;
use open::Opener;
use write::Writer;

/// A connection to whichever database the URL names.
#[derive(diesel::MultiConnection)]
pub enum Conn {
    /// PostgreSQL, for several nodes.
    Postgres(diesel::PgConnection),
    /// SQLite, inside the process.
    Sqlite(diesel::SqliteConnection),
}

/// An open write transaction and the single instant everything in it happened at.
pub struct Tx<'a> {
    /// The connection the transaction is on.
    pub conn: &'a mut Conn,
    /// Read once, when the transaction began. On SQLite that is after the one write lock was ours,
    /// so times follow the order of writes; on PostgreSQL they may differ from it by a transaction's length.
    pub now: DateTime<Utc>,
    /// What every action may look up.
    pub site: &'a Site,
    events: Vec<Event>,
    changes: Vec<Change>,
}

/// Something that every node holds in memory, as it is now.
#[derive(Clone, Debug)]
pub enum Change {
    /// A key and its secrets.
    Key(Box<KeySnapshot>),
    /// An organisation and what its wallet holds.
    Account(Box<AccountSnapshot>),
}

/// What is told of changes, after the commit and before the answer.
pub type Observer = Arc<dyn Fn(Vec<Change>) + Send + Sync>;

/// Loads rows that nobody else may lock or change until the transaction ends, in the order of the query.
macro_rules! load_locked {
    ($conn:expr, $query:expr) => {
        match $conn {
            $crate::store::Conn::Postgres(conn) => $query.for_no_key_update().load(conn),
            $crate::store::Conn::Sqlite(conn) => $query.load(conn),
        }
    };
}
pub(in crate::store) use load_locked;

/// Loads rows by a query with a list in it. PostgreSQL takes the whole list as one value, so that the query
/// is the same however long that is, and is planned once; but only if diesel knows whom it is for.
macro_rules! load_listed {
    ($conn:expr, $query:expr) => {
        match $conn {
            $crate::store::Conn::Postgres(conn) => $query.load(conn),
            $crate::store::Conn::Sqlite(conn) => $query.load(conn),
        }
    };
}
pub(in crate::store) use load_listed;

/// Loads rows of which those of the table `keys` cannot be changed by anybody else until the transaction
/// ends. On SQLite a write transaction has the whole file to itself.
macro_rules! load_with_shared_keys {
    ($conn:expr, $query:expr) => {
        match $conn {
            $crate::store::Conn::Postgres(conn) => {
                $crate::store::pool::SharedKeys { query: $query }.load(conn)
            }
            $crate::store::Conn::Sqlite(conn) => $query.load(conn),
        }
    };
}
pub(in crate::store) use load_with_shared_keys;

/// A query that shares the locks of its keys, and of no other table: diesel only has words for all of them.
#[derive(QueryId)]
pub(in crate::store) struct SharedKeys<Q> {
    pub(in crate::store) query: Q,
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for SharedKeys<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(" FOR SHARE OF keys");
        Ok(())
    }
}

impl<Q: Query> Query for SharedKeys<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> RunQueryDsl<diesel::PgConnection> for SharedKeys<Q> {}

/// Hands out connections; cheap to clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    opener: Opener,
    pool: Pool<Opener>,
    writer: Writer,
    shared: Arc<Shared>,
}

/// What every transaction needs beside a connection.
struct Shared {
    clock: Clock,
    site: Site,
    observer: OnceLock<Observer>,
}

impl Tx<'_> {
    /// A fresh identifier that sorts by time.
    pub fn new_id(&self) -> uuid::Uuid {
        let ms = u64::try_from(self.now.timestamp_millis()).unwrap_or_default();
        let [random @ .., _, _, _, _, _, _] = uuid::Uuid::new_v4().into_bytes();
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }

    /// Notes an audit event; it is written with the transaction, or the transaction fails.
    pub fn audit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Notes what changed, for every node that holds it in memory.
    pub(super) fn changed(&mut self, change: Change) {
        self.changes.push(change);
    }
}

impl Db {
    /// Connects and brings the schema up to date.
    pub fn open(url: &str, clock: Clock, site: Site) -> anyhow::Result<Self> {
        let opener = Opener::new(url)?;
        opener.prepare()?;
        let pool = opener.pool()?;
        let shared = Arc::new(Shared { clock, site, observer: OnceLock::new() });
        let writer = Writer::start(&opener, &pool, Arc::clone(&shared))?;
        Ok(Self { inner: Arc::new(Inner { opener, pool, writer, shared }) })
    }

    /// Runs `work` on a blocking thread, outside any transaction. On SQLite it cannot write.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let pool = self.inner.pool.clone();
        blocking(move || {
            let mut conn = pool.get().map_err(|_| Error::Busy)?;
            let result = work(&mut conn);
            if matches!(result, Err(Error::Internal(_))) {
                // An error while a statement is prepared leaves a lost connection looking well.
                let _ = diesel::r2d2::R2D2Connection::ping(&mut *conn);
            }
            result
        })
        .await
    }

    /// Runs `work` in one transaction, committed only if it returns `Ok`; answers after the commit.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.writer.write(work).await
    }

    /// How many transactions at once are faster than one after the other.
    pub fn lanes(&self) -> usize {
        self.inner.writer.lanes()
    }

    /// Makes sure that this is the only server on its SQLite file, for as long as what is returned lives.
    pub fn claim(&self) -> anyhow::Result<Option<std::fs::File>> {
        self.inner.opener.claim()
    }

    /// Sets who is told of changes; there is one index to a database handle.
    pub fn observe(&self, observer: Observer) -> Result<(), Error> {
        let set = self.inner.shared.observer.set(observer);
        set.map_err(|_| Error::internal("a second key index on one database handle"))
    }

    /// The clock transactions read.
    pub fn clock(&self) -> &Clock {
        &self.inner.shared.clock
    }

    /// What actions may look up.
    pub fn site(&self) -> &Site {
        &self.inner.shared.site
    }
}

impl Shared {
    fn transaction<'a>(&'a self, conn: &'a mut Conn) -> Tx<'a> {
        let now = self.clock.now();
        Tx { conn, now, site: &self.site, events: Vec::new(), changes: Vec::new() }
    }

    fn tell(&self, changes: Vec<Change>) {
        if let Some(observer) = self.observer.get()
            && !changes.is_empty()
        {
            // A panic there must not take the only writer thread along.
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer(changes)));
            if told.is_err() {
                tracing::error!("telling the key index of a change panicked");
            }
        }
    }
}

/// Leaves the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the database thread stopped")
        .map_err(Error::Internal)?
}
