//! Every key that can open something, in memory, by the hash of its secret. Authoritative on this node.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::domain::id::{KeyId, SecretId};
use crate::domain::key::{Key, KeyState};
use crate::domain::secret::SecretHash;
use crate::domain::usage::Taken;
use crate::error::Error;
use crate::store::keys::{self, KeySnapshot};
use crate::store::secrets::LiveSecret;
use crate::store::{Change, Db, Pulse, usage};

use super::usage::{Noted, Tally};

/// Keys are read in pages of so many at start.
const PAGE: i64 = 5_000;

/// One secret and the key it opens.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: Arc<Key>,
    /// The secret.
    pub secret_id: SecretId,
    /// The last four characters of the secret.
    pub last_four: String,
    /// What is counted for the key.
    tally: Arc<Mutex<Tally>>,
    unsaved: AtomicBool,
}

impl Entry {
    /// True until the first call with the secret is written down.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Acquire)
    }

    /// Counts a call.
    pub fn note(&self, call: &Noted<'_>) {
        lock(&self.tally).note(call);
    }

    /// Notes that the first call is written down.
    pub fn mark_saved(&self) {
        self.unsaved.store(false, Ordering::Release);
    }
}

/// What the index knows of a key beside its secrets.
struct Known {
    version: i32,
    hashes: Vec<SecretHash>,
    tally: Arc<Mutex<Tally>>,
}

/// The key index of this node.
#[derive(Default)]
pub struct KeyIndex {
    by_hash: papaya::HashMap<SecretHash, Arc<Entry>>,
    known: Mutex<HashMap<KeyId, Known>>,
    /// Whether other nodes are heard; none where there are no others.
    pulse: OnceLock<Arc<Pulse>>,
}

impl KeyIndex {
    /// An index that holds every key of the database, and is told of each change from now on.
    pub async fn load(db: &Db) -> Result<Arc<Self>, Error> {
        let index = Arc::new(Self::default());
        let told = Arc::clone(&index);
        // First listen, then read: a change in between arrives twice, and the older one is ignored.
        db.observe(Arc::new(move |changes| {
            for change in changes {
                if let Change::Key(snapshot) = change {
                    told.apply(*snapshot);
                }
            }
        }))?;
        if let Some(pulse) = db.follow().map_err(Error::Internal)? {
            let _ = index.pulse.set(pulse);
        }
        index.read_all(db).await?;
        Ok(index)
    }

    async fn read_all(&self, db: &Db) -> Result<(), Error> {
        let mut after = None;
        loop {
            let from = after.clone();
            let page = db.read(move |conn| keys::list_snapshots(conn, from.as_ref(), PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.id.clone());
            for snapshot in page {
                self.apply(snapshot);
            }
        }
    }

    /// The entry for a secret.
    pub fn find(&self, hash: &SecretHash) -> Option<Arc<Entry>> {
        self.by_hash.pin().get(hash).cloned()
    }

    /// False if changes of other nodes may have gone unheard: then nothing is let through.
    pub fn is_fresh(&self) -> bool {
        self.pulse.get().is_none_or(|pulse| pulse.is_alive())
    }

    /// How many secrets open something.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// True if no secret opens anything.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Takes a snapshot over unless a newer one was taken before.
    pub fn apply(&self, snapshot: KeySnapshot) {
        let KeySnapshot { key, secrets } = snapshot;
        let key = Arc::new(key);
        let mut known = lock(&self.known);
        let before = known.remove(&key.id);
        if let Some(before) = before {
            // A revocation is final: it counts even if a restored database numbers it lower.
            let ends = matches!(key.state, KeyState::Revoked { .. });
            if before.version >= key.version && !ends {
                known.insert(key.id.clone(), before);
                return;
            }
            self.swap(&key, secrets, &mut known, before);
        } else {
            let fresh = Known { version: 0, hashes: Vec::new(), tally: Arc::default() };
            self.swap(&key, secrets, &mut known, fresh);
        }
    }

    fn swap(
        &self,
        key: &Arc<Key>,
        secrets: Vec<LiveSecret>,
        known: &mut HashMap<KeyId, Known>,
        before: Known,
    ) {
        let live = match key.state {
            KeyState::Active => secrets,
            KeyState::Approved | KeyState::Suspended | KeyState::Revoked { .. } => Vec::new(),
        };
        let by_hash = self.by_hash.pin();
        let hashes: Vec<SecretHash> = live.iter().filter_map(LiveSecret::hash).collect();
        before.hashes.iter().filter(|hash| !hashes.contains(hash)).for_each(|hash| {
            by_hash.remove(hash);
        });
        for secret in live {
            let Some(hash) = secret.hash() else { continue };
            let entry = Entry {
                key: Arc::clone(key),
                tally: Arc::clone(&before.tally),
                unsaved: AtomicBool::new(secret.is_unsaved()),
                secret_id: secret.id,
                last_four: secret.last_four,
            };
            by_hash.insert(hash, Arc::new(entry));
        }
        let ends = matches!(key.state, KeyState::Revoked { .. });
        let version = if ends { i32::MAX } else { key.version };
        known.insert(key.id.clone(), Known { version, hashes, ..before });
    }

    /// Takes what was counted since the last time to the database.
    pub async fn flush_usage(&self, db: &Db) -> Result<usize, Error> {
        let (tallies, batch) = self.take_usage();
        if batch.is_empty() {
            return Ok(0);
        }
        let batch = Arc::new(batch);
        let writing = Arc::clone(&batch);
        let written = db.write(move |tx| usage::flush(tx, &writing)).await;
        if written.is_err() {
            for (tally, (_, taken)) in tallies.iter().zip(batch.iter()) {
                lock(tally).put_back(taken);
            }
        }
        written.map(|_| batch.len())
    }

    fn take_usage(&self) -> (Vec<Arc<Mutex<Tally>>>, Vec<(KeyId, Taken)>) {
        let known = lock(&self.known);
        let taken = |(id, known): (&KeyId, &Known)| {
            let taken = lock(&known.tally).take()?;
            Some((Arc::clone(&known.tally), (id.clone(), taken)))
        };
        known.iter().filter_map(taken).unzip()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
