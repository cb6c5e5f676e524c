//! What happens as time passes: mails leave, requests expire, usage is written down, old rows go.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lettre::message::Mailbox;
use tokio::sync::watch;

use crate::actions;
use crate::enforce::KeyIndex;
use crate::error::Error;
use crate::mail::Mailer;
use crate::store::outbox::{self, Claimed};
use crate::store::usage_journal::{self, Written};
use crate::store::{Db, addresses, idempotency, requests, usage};

/// How often the loop looks for work.
const TICK: Duration = Duration::from_secs(1);
/// How often old rows are swept.
const SWEEP_EVERY: TimeDelta = TimeDelta::minutes(10);
/// How often the loop looks for operations and addresses that people were not told of: what comes in between is
/// one mail, or few.
const TELL_EVERY: TimeDelta = TimeDelta::seconds(15);
/// Mails taken at a time.
const BATCH: i64 = 10;
/// How long a taken mail belongs to this node: longer than sending a whole batch can take.
const LEASE: TimeDelta = TimeDelta::minutes(12);
/// The wait after the first failure; it doubles up to an hour.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(15);
/// Attempts before a mail is given up, loudly: more than two days.
const ATTEMPTS: i32 = 60;
/// How long an orderly end waits for the mail and the counting that are on their way.
const LAST_WORK: Duration = Duration::from_secs(10);
/// How long sent mails are kept.
const KEEP_MAIL: TimeDelta = TimeDelta::days(30);
/// How long answers are kept for clients that send the same once more.
const KEEP_ANSWERS: TimeDelta = TimeDelta::days(7);
/// How long the hours in which a key was used are kept: a year and a month to compare it with.
const KEEP_USAGE: TimeDelta = TimeDelta::days(400);

/// Does what is due, once or in a loop.
#[derive(Clone)]
pub struct Worker {
    /// The database.
    pub db: Db,
    /// The keys whose usage is written down.
    pub index: Arc<KeyIndex>,
    /// How mails leave.
    pub mailer: Mailer,
    /// Who they come from.
    pub from: Mailbox,
}

impl Worker {
    /// Does everything that is due now; gives how many things were done.
    pub async fn run_once(&self) -> Result<usize, Error> {
        let (flushed, expired) =
            (self.index.flush_usage(&self.db).await, self.expire_requests().await);
        let folded = self.fold_all_usage().await;
        let told = self.tell_of_addresses().await;
        let waiting = self.tell_checkers().await;
        let mut sent = 0;
        loop {
            match self.send_batch().await? {
                0 => return Ok(flushed? + folded? + expired? + told? + waiting? + sent),
                n => sent += n,
            }
        }
    }

    /// Works until `stop` is told, then writes the last usage down. Mails have a loop of their own:
    /// a mail server that is slow to answer must not hold up anything else. So has the adding of usage
    /// that was written down: what is counted meanwhile must not wait for it.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mailing = actix_web::rt::spawn(self.clone().run_mails(stop.clone()));
        let folding = actix_web::rt::spawn(self.clone().run_folds(stop.clone()));
        let (mut swept, mut told) = (self.db.clock().now(), DateTime::UNIX_EPOCH);
        let mut ticks = ticks();
        loop {
            let stopped = tokio::select! {
                _ = ticks.tick() => false,
                _ = stop.changed() => true,
            };
            Self::report(self.index.flush_usage(&self.db).await.map(drop));
            if stopped {
                break;
            }
            Self::report(self.expire_requests().await.map(drop));
            let now = self.db.clock().now();
            if now - told >= TELL_EVERY || now < told {
                told = now;
                Self::report(self.tell_checkers().await.map(drop));
                Self::report(self.tell_of_addresses().await.map(drop));
            }
            if now - swept >= SWEEP_EVERY || now < swept {
                swept = now;
                Self::report(self.sweep().await);
            }
        }
        // What is on its way may arrive; what is cut off is done again.
        let _ = tokio::time::timeout(LAST_WORK, async { tokio::join!(mailing, folding) }).await;
    }

    async fn run_mails(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = ticks();
        loop {
            tokio::select! {
                _ = ticks.tick() => Self::report(self.send_batch().await.map(drop)),
                _ = stop.changed() => return Self::report(self.send_batch().await.map(drop)),
            }
        }
    }

    /// Adds usage to the counts, one part after the other.
    async fn run_folds(self, mut stop: watch::Receiver<bool>) {
        // Between the ticks of the other loop, so that neither has to wait for the other.
        let mut ticks = ticks();
        ticks.reset_after(TICK / 2);
        for part in (0..usage_journal::PARTS).cycle() {
            tokio::select! {
                _ = ticks.tick() => Self::report(self.fold_usage(part).await.map(drop)),
                _ = stop.changed() => return,
            }
        }
    }

    fn report(result: Result<(), Error>) {
        match result {
            Ok(()) => (),
            Err(Error::Internal(cause)) => {
                tracing::error!(
                    cause = format!("{cause:#}"),
                    "background work failed; it is tried again"
                );
            }
            Err(e) => tracing::warn!(cause = %e, "background work failed; it is tried again"),
        }
    }

    /// Forgets what nobody needs any more.
    pub async fn sweep(&self) -> Result<(), Error> {
        self.db
            .write(|tx| {
                actions::sign_in::sweep(tx)?;
                outbox::sweep(tx, tx.now - KEEP_MAIL)?;
                idempotency::sweep(tx, tx.now - KEEP_ANSWERS)?;
                usage::sweep(tx, tx.now - KEEP_USAGE)?;
                Ok(())
            })
            .await
    }

    async fn fold_all_usage(&self) -> Result<usize, Error> {
        let mut folded = Ok(0);
        for part in 0..usage_journal::PARTS {
            // A part that cannot be added must not keep the others back.
            let rows = self.fold_usage(part).await;
            folded = folded.and_then(|before| Ok(before + rows?));
        }
        folded
    }

    /// Adds to the counts what was written down of the keys of one part.
    async fn fold_usage(&self, part: u8) -> Result<usize, Error> {
        let mut rows = 0;
        loop {
            let written = self.db.read(move |conn| usage_journal::list(conn, part)).await?;
            if written.is_empty() {
                return Ok(rows);
            }
            match self.fold(written).await? {
                // Another node is at it; what it leaves has its turn in the next round.
                0 => return Ok(rows),
                folded => rows += folded,
            }
        }
    }

    async fn fold(&self, written: Written) -> Result<usize, Error> {
        let written = Arc::new(written);
        let all = Arc::clone(&written);
        match self.db.write(move |tx| usage_journal::fold(tx, &all)).await {
            Err(Error::Internal(_)) => {
                self.db.write(move |tx| usage_journal::fold_existing(tx, &written)).await
            }
            folded => folded,
        }
    }

    async fn expire_requests(&self) -> Result<usize, Error> {
        let now = self.db.clock().now();
        // Looked at first, because a write takes the one lock of SQLite.
        if self.db.read(move |conn| requests::list_overdue(conn, now, 1)).await?.is_empty() {
            return Ok(0);
        }
        self.db.write(actions::requests::expire_overdue).await
    }

    /// Mails checkers the operations that keys asked for.
    async fn tell_checkers(&self) -> Result<usize, Error> {
        let now = self.db.clock().now();
        // Looked at first, because a write takes the one lock of SQLite.
        if !self.db.read(move |conn| actions::operations::has_news(conn, now)).await? {
            return Ok(0);
        }
        self.db.write(actions::operations::tell_checkers).await
    }

    /// Mails the addresses that keys were called from for the first time.
    async fn tell_of_addresses(&self) -> Result<usize, Error> {
        let since = self.db.clock().now() - actions::usage::QUIET;
        let mut told = 0;
        // Looked at first, because a write takes the one lock of SQLite.
        while self.db.read(move |conn| addresses::has_news(conn, since)).await? {
            match self.db.write(actions::usage::tell_of_addresses).await? {
                // By the clock of the transaction it is too early: it was set back, or another node was faster.
                0 => break,
                keys => told += keys,
            }
        }
        Ok(told)
    }

    /// Takes a few mails that are due and sends them; gives how many it tried.
    async fn send_batch(&self) -> Result<usize, Error> {
        let now = self.db.clock().now();
        if !self.db.read(move |conn| outbox::has_due(conn, now)).await? {
            return Ok(0);
        }
        let batch = self.db.write(|tx| outbox::claim(tx, BATCH, LEASE)).await?;
        let taken = batch.len();
        for claimed in batch {
            self.send(claimed).await?;
        }
        Ok(taken)
    }

    /// Sends one mail outside any transaction, and writes down what became of it.
    async fn send(&self, Claimed { letter, attempts }: Claimed) -> Result<(), Error> {
        let result = self.mailer.send(&self.from, &letter).await;
        let id = letter.id;
        let Err(failure) = result else {
            return self.db.write(move |tx| outbox::mark_sent(tx, &id)).await;
        };
        let final_one = failure.permanent || attempts + 1 >= ATTEMPTS;
        if final_one {
            tracing::error!(mail = id, cause = %failure, "a mail is given up");
        } else {
            tracing::warn!(mail = id, cause = %failure, "a mail did not leave; it is tried again");
        }
        self.db
            .write(move |tx| {
                let next = if final_one { None } else { Some(next_attempt(tx.now, attempts)) };
                outbox::mark_failed(tx, &id, &failure.message, next)
            })
            .await
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

/// 15 s, 30 s, 1 min … 1 h after a failure.
fn next_attempt(now: DateTime<Utc>, attempts: i32) -> DateTime<Utc> {
    let doublings = u32::try_from(attempts.clamp(0, 8)).unwrap_or(8);
    now + (FIRST_WAIT * 2_i32.pow(doublings)).min(TimeDelta::hours(1))
}
