//! Writing: on SQLite one thread that commits many transactions at once, on PostgreSQL a pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection as _, TransactionManager as _,
};
use diesel::r2d2::Pool;
use diesel::result::QueryResult;
use tokio::sync::oneshot;

use super::open::Opener;
use super::{Change, Conn, Shared, Tx, blocking};
use crate::error::Error;
use crate::store::{audit, organisations};

/// Writes that may wait for the writer thread; more than that and the caller is told to come back.
const QUEUE: usize = 1024;
/// The most writes in one commit.
const BATCH: usize = 256;
/// How often the file is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Room for the pages that every write changes, and for several seconds of writes before their pages go from the
/// log to the file: each page goes there once, however many writes changed it. A write is as durable as before,
/// because the log is what a commit waits for.
const FOR_MANY_WRITES: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4000";

type Manager = <Conn as Connection>::TransactionManager;

/// Where writes go.
pub(super) enum Writer {
    Postgres(Pool<Opener>, Arc<Shared>),
    Sqlite(WriterThread),
}

/// The one thread that writes to SQLite. Dropping it waits until its connection is closed, so that
/// an orderly end leaves everything in the one file.
pub(super) struct WriterThread {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // A writer that panicked has nothing left to close.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One write on its way to the writer thread.
pub(super) type Job = Box<dyn FnOnce(&mut Conn, &Shared) -> Done + Send>;

/// A write that has run and waits for the commit.
pub(super) struct Done {
    keep: bool,
    changes: Vec<Change>,
    /// Sends the result, or the error that kept the commit from happening.
    answer: Box<dyn FnOnce(Result<(), Error>) + Send>,
}

impl Writer {
    pub(super) fn start(
        opener: &Opener,
        pool: &Pool<Opener>,
        shared: Arc<Shared>,
    ) -> anyhow::Result<Self> {
        if matches!(opener, Opener::Postgres(_)) {
            return Ok(Self::Postgres(pool.clone(), shared));
        }
        let (sender, jobs) = sync_channel(QUEUE);
        let mut conn = opener.writer().context("opening the writing connection")?;
        conn.batch_execute(FOR_MANY_WRITES).context("setting the writing connection up")?;
        let thread = std::thread::Builder::new()
            .name("countersign-writer".to_owned())
            .spawn(move || write_in_batches(conn, &shared, &jobs))
            .context("starting the writer thread")?;
        Ok(Self::Sqlite(WriterThread { jobs: Some(sender), thread: Some(thread) }))
    }

    /// On PostgreSQL one transaction can be worked out while another is being written; what all of them
    /// share, the head of the audit log, is held only at their end.
    pub(super) fn lanes(&self) -> usize {
        match self {
            Self::Postgres(..) => 2,
            Self::Sqlite(_) => 1,
        }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Postgres(pool, shared) => {
                let (pool, shared) = (pool.clone(), Arc::clone(shared));
                blocking(move || {
                    let mut conn = pool.get().map_err(|_| Error::Busy)?;
                    write_alone(&mut conn, &shared, work)
                })
                .await
            }
            Self::Sqlite(writer) => {
                let (sender, answer) = oneshot::channel();
                let jobs = writer.jobs.as_ref().ok_or(Error::Busy)?;
                jobs.try_send(Box::new(move |conn, shared| {
                    into_done(attempt(conn, shared, work), sender)
                }))
                .map_err(|_| Error::Busy)?;
                // A job that never ran was dropped: the transaction could not even begin.
                answer.await.map_err(|_| Error::Busy)?
            }
        }
    }
}

/// Runs `work` and what it asks for beside it, inside a transaction that is already open.
fn attempt<T>(
    conn: &mut Conn,
    shared: &Shared,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<(T, Vec<Change>), Error> {
    let run = AssertUnwindSafe(|| {
        let mut tx = shared.transaction(conn);
        let value = work(&mut tx)?;
        let (events, changes) = (std::mem::take(&mut tx.events), std::mem::take(&mut tx.changes));
        // Last, so that the one row every write shares is held as briefly as can be.
        audit::append(&mut tx, events)?;
        Ok((value, changes))
    });
    catch_unwind(run).unwrap_or_else(|_| Err(Error::internal("a write panicked")))
}

fn into_done<T: Send + 'static>(
    result: Result<(T, Vec<Change>), Error>,
    sender: oneshot::Sender<Result<T, Error>>,
) -> Done {
    let (keep, changes, result) = match result {
        Ok((value, changes)) => (true, changes, Ok(value)),
        Err(e) => (false, Vec::new(), Err(e)),
    };
    // A caller that went away does not undo what is committed.
    let answer = move |committed: Result<(), Error>| drop(sender.send(committed.and(result)));
    Done { keep, changes, answer: Box::new(answer) }
}

fn write_alone<T>(
    conn: &mut Conn,
    shared: &Shared,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    begin(conn)?;
    match attempt(conn, shared, work) {
        Ok((value, changes)) => {
            announce(conn, &changes).and_then(|()| Manager::commit_transaction(conn))?;
            shared.tell(changes);
            Ok(value)
        }
        Err(e) => {
            // If this fails too the pool throws the connection away; the first error matters.
            let _ = Manager::rollback_transaction(conn);
            Err(e)
        }
    }
}

/// Tells other nodes, when the transaction commits, what to read again.
fn announce(conn: &mut Conn, changes: &[Change]) -> QueryResult<()> {
    use diesel::RunQueryDsl as _;
    let Conn::Postgres(conn) = conn else { return Ok(()) };
    changes.iter().try_for_each(|change| {
        let (channel, id) = match change {
            Change::Key(snapshot) => (super::follow::KEYS, snapshot.key.id.as_str()),
            Change::Account(snapshot) => {
                (super::follow::ACCOUNTS, snapshot.organisation.id.as_str())
            }
        };
        diesel::sql_query("SELECT pg_notify($1, $2)")
            .bind::<diesel::sql_types::Text, _>(channel)
            .bind::<diesel::sql_types::Text, _>(id)
            .execute(conn)
            .map(drop)
    })
}

/// Starts a transaction that holds the write lock from the first statement.
fn begin(conn: &mut Conn) -> QueryResult<()> {
    match conn {
        // A deferred transaction that reads first cannot wait for another writer; it just fails.
        Conn::Sqlite(conn) => {
            AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
        }
        Conn::Postgres(conn) => AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN"),
    }
}

/// The writer thread: takes what waits, runs each in a savepoint, commits once, then answers all.
fn write_in_batches(mut conn: Conn, shared: &Shared, jobs: &Receiver<Job>) {
    let mut others = Others::default();
    loop {
        others.look(&mut conn, shared);
        let first = match jobs.recv_timeout(LOOK_EVERY) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut done = Vec::new();
        let committed = begin(&mut conn)
            .and_then(|()| run_batch(&mut conn, shared, (first, jobs), &mut done))
            .and_then(|()| Manager::commit_transaction(&mut conn));
        finish(&mut conn, shared, done, committed);
    }
}

/// Sees when another process wrote to the file, such as the command that funds a wallet.
#[derive(Default)]
struct Others {
    looked: Option<Instant>,
    version: Option<i64>,
}

impl Others {
    /// Reads the accounts again if somebody else wrote since the last look.
    fn look(&mut self, conn: &mut Conn, shared: &Shared) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let version = data_version(conn).ok();
        let before = std::mem::replace(&mut self.version, version);
        if before.is_some() && before != version {
            match organisations::list_accounts(conn) {
                Ok(all) => {
                    let account = |snapshot| Change::Account(Box::new(snapshot));
                    shared.tell(all.into_iter().map(account).collect());
                }
                Err(e) => {
                    tracing::warn!(cause = %e, "the accounts could not be read again");
                    self.version = None;
                }
            }
        }
    }
}

/// A number that differs after another connection changed the file.
fn data_version(conn: &mut Conn) -> QueryResult<i64> {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        data_version: i64,
    }
    diesel::sql_query("PRAGMA data_version").get_result::<Row>(conn).map(|row| row.data_version)
}

/// Runs the first job and what waits behind it; an error means that the whole transaction is lost.
fn run_batch(
    conn: &mut Conn,
    shared: &Shared,
    (first, jobs): (Job, &Receiver<Job>),
    done: &mut Vec<Done>,
) -> QueryResult<()> {
    // The first needs no savepoint, which would keep a copy of each page that it changes: if it fails there
    // is nothing else in the transaction yet.
    let one = first(conn, shared);
    let failed = !one.keep;
    done.push(one);
    if failed {
        Manager::rollback_transaction(conn)?;
        begin(conn)?;
    }
    while done.len() < BATCH
        && let Ok(job) = jobs.try_recv()
    {
        Manager::begin_transaction(conn)?;
        let one = job(conn, shared);
        let ended = if one.keep {
            Manager::commit_transaction(conn)
        } else {
            Manager::rollback_transaction(conn)
        };
        done.push(one);
        ended?;
    }
    Ok(())
}

fn finish(conn: &mut Conn, shared: &Shared, done: Vec<Done>, committed: QueryResult<()>) {
    let failure = committed.err();
    if let Some(e) = &failure {
        let writes = done.iter().filter(|one| one.keep).count();
        if writes > 0 {
            tracing::error!(cause = %e, writes, "a commit failed; its writes are undone");
        } else {
            tracing::warn!(cause = %e, "the database is busy; nothing was written");
        }
        let _ = Manager::rollback_transaction(conn);
    }
    for one in done {
        match &failure {
            None => {
                shared.tell(one.changes);
                (one.answer)(Ok(()));
            }
            // A write that had failed by itself keeps its own error.
            Some(_) if !one.keep => (one.answer)(Ok(())),
            Some(_) => (one.answer)(Err(Error::Busy)),
        }
    }
}
