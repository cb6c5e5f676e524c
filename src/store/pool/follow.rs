//! Hearing of keys that other nodes changed: LISTEN on PostgreSQL. SQLite has no other nodes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;

use super::open::Opener;
use super::{Change, Conn, Db, Shared};
use crate::domain::id::KeyId;
use crate::store::keys::{self, KeySnapshot};
use crate::store::organisations;

/// The channels: ids of changed keys, and of organisations whose wallet changed.
pub(super) const KEYS: &str = "countersign_keys";
pub(super) const ACCOUNTS: &str = "countersign_accounts";
/// How often the connection is asked what was heard.
const POLL: Duration = Duration::from_millis(20);
/// How often the connection is proved to be alive.
const PROOF: Duration = Duration::from_secs(1);
/// Without proof for so long, changes may have gone unheard.
const DEAF_AFTER: Duration = Duration::from_secs(5);
/// The wait before another attempt to connect.
const RETRY: Duration = Duration::from_millis(500);
/// Clocks of nodes may differ by so much.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// When the feed of key changes was last known to be alive.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    last_beat_ms: AtomicU64,
    /// The connection broke and is not back yet.
    lost: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last_beat_ms: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        self.last_beat_ms.store(self.now_ms(), Ordering::Release);
        self.lost.store(false, Ordering::Release);
    }

    fn stop(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// False if key changes of other nodes may have gone unheard.
    pub fn is_alive(&self) -> bool {
        if self.lost.load(Ordering::Acquire) {
            return false;
        }
        let silence = self.now_ms().saturating_sub(self.last_beat_ms.load(Ordering::Acquire));
        u128::from(silence) < DEAF_AFTER.as_millis()
    }
}

impl Db {
    /// Starts to follow what other nodes change; nothing on SQLite, where there are none. What was
    /// committed before this returns is not told: it is there to be read.
    pub fn follow(&self) -> anyhow::Result<Option<Arc<Pulse>>> {
        let opener = self.inner.opener.clone();
        if matches!(opener, Opener::Sqlite(_)) {
            return Ok(None);
        }
        let conn = listen(&opener).context("listening to other nodes")?;
        let pulse = Arc::new(Pulse::new());
        let (beating, shared) = (Arc::clone(&pulse), Arc::downgrade(&self.inner.shared));
        std::thread::Builder::new()
            .name("countersign-follower".to_owned())
            .spawn(move || follow(conn, &opener, &shared, &beating))
            .context("starting the thread that follows key changes")?;
        Ok(Some(pulse))
    }
}

/// Follows for as long as the database handle lives, over every loss of the connection.
fn follow(conn: Conn, opener: &Opener, shared: &Weak<Shared>, pulse: &Pulse) {
    let mut heard_until = shared.upgrade().map(|shared| shared.clock.now()).unwrap_or_default();
    let mut next = Ok(conn);
    while shared.strong_count() > 0 {
        let lost = match next {
            Ok(mut conn) => hear(&mut conn, shared, pulse, &mut heard_until),
            Err(e) => Err(e),
        };
        if let Err(e) = lost {
            pulse.stop();
            let cause = format!("{e:#}");
            tracing::warn!(cause, "the feed of key changes was lost; connecting again");
        }
        next = listen(opener).and_then(|mut conn| {
            catch_up(&mut conn, shared, heard_until)?;
            Ok(conn)
        });
        if next.is_err() {
            std::thread::park_timeout(RETRY);
        }
    }
}

/// A connection that is told of changes. First listen, then read: what happens in between arrives
/// twice.
fn listen(opener: &Opener) -> anyhow::Result<Conn> {
    let mut conn = opener.writer()?;
    conn.batch_execute(&format!("LISTEN {KEYS}; LISTEN {ACCOUNTS}"))?;
    Ok(conn)
}

/// Passes on what is heard, for as long as the connection and the database handle live.
fn hear(
    conn: &mut Conn,
    shared: &Weak<Shared>,
    pulse: &Pulse,
    heard_until: &mut DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut proved = Instant::now();
    pulse.beat();
    while let Some(shared) = shared.upgrade() {
        let proof_due = proved.elapsed() >= PROOF;
        if proof_due {
            conn.batch_execute("SELECT 1")?;
            proved = Instant::now();
        }
        // What came along with the proof is told before the proof counts.
        let changes = heard(conn)?;
        shared.tell(changes);
        if proof_due {
            *heard_until = shared.clock.now();
            pulse.beat();
        }
        drop(shared);
        std::thread::park_timeout(POLL);
    }
    Ok(())
}

/// Tells of every account and key, and of those revoked since the feed was last alive.
fn catch_up(conn: &mut Conn, shared: &Weak<Shared>, since: DateTime<Utc>) -> anyhow::Result<()> {
    let Some(shared) = shared.upgrade() else { return Ok(()) };
    let account = |snapshot| Change::Account(Box::new(snapshot));
    shared.tell(organisations::list_accounts(conn)?.into_iter().map(account).collect());
    shared.tell(keys::list_revoked_since(conn, since - SKEW)?.into_iter().map(key).collect());
    let mut after: Option<KeyId> = None;
    loop {
        let page = keys::list_snapshots(conn, after.as_ref(), keys::PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.key.id.clone());
        shared.tell(page.into_iter().map(key).collect());
    }
}

/// What other nodes said they changed, as it is now; each thing once, however often it was named.
fn heard(conn: &mut Conn) -> anyhow::Result<Vec<Change>> {
    let Conn::Postgres(pg) = conn else { return Ok(Vec::new()) };
    let said = pg.notifications_iter().collect::<Result<Vec<_>, _>>()?;
    let said: BTreeSet<_> = said.into_iter().map(|said| (said.channel, said.payload)).collect();
    let mut changes = Vec::new();
    for (channel, id) in said {
        if channel == KEYS
            && let Ok(id) = id.parse()
        {
            changes.extend(keys::find_snapshot(conn, &id)?.map(key));
        } else if let Ok(id) = id.parse() {
            let account = organisations::find_account(conn, &id)?;
            changes.extend(account.map(|snapshot| Change::Account(Box::new(snapshot))));
        }
    }
    Ok(changes)
}

fn key(snapshot: KeySnapshot) -> Change {
    Change::Key(Box::new(snapshot))
}
