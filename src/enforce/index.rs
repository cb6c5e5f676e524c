//! Every key that can open something, in memory, by the hash of its secret. Authoritative on this node.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use uuid::Uuid;

use super::account::{Account, Accounts};
use super::meter::Meter;
use super::rule::Rule;
use super::usage::Noted;
use super::writes::Writes;
use crate::domain::catalogue::Catalogue;
use crate::domain::id::{KeyId, OrganisationId, SecretId};
use crate::domain::key::{Key, KeyState};
use crate::domain::secret::SecretHash;
use crate::domain::usage::Taken;
use crate::error::Error;
use crate::patience::patiently;
use crate::store::keys::{self, KeySnapshot};
use crate::store::organisations;
use crate::store::secrets::LiveSecret;
use crate::store::{Change, Db, Pulse, usage, usage_journal};

/// One secret and the key it opens; cheap to clone.
#[derive(Clone, Debug)]
pub struct Entry {
    held: Arc<Held>,
    place: usize,
}

/// A key and the secrets that open it.
#[derive(Debug)]
struct Held {
    rule: Rule,
    secrets: Secrets,
    meter: OnceLock<Arc<Meter>>,
}

/// Almost every key has one secret; only rotation makes it two for a while.
#[derive(Debug)]
enum Secrets {
    One(Secret),
    Some(Box<[Secret]>),
}

#[derive(Debug)]
struct Secret {
    hash: SecretHash,
    id: Uuid,
    last_four: [u8; 4],
    unsaved: AtomicBool,
}

impl Entry {
    /// What the key may do.
    pub fn rule(&self) -> &Rule {
        &self.held.rule
    }

    /// What is counted for the key.
    pub fn meter(&self) -> &Arc<Meter> {
        self.held.meter.get_or_init(Arc::default)
    }

    /// The secret.
    pub fn secret_id(&self) -> Option<SecretId> {
        self.secret().map(|secret| SecretId::new(secret.id))
    }

    /// The last four characters of the secret.
    pub fn last_four(&self) -> &str {
        self.secret().and_then(|s| std::str::from_utf8(&s.last_four).ok()).unwrap_or_default()
    }

    /// True until the first call with the secret is written down.
    pub fn is_unsaved(&self) -> bool {
        self.secret().is_some_and(|secret| secret.unsaved.load(Ordering::Acquire))
    }

    /// Notes that the first call is written down.
    pub fn mark_saved(&self) {
        if let Some(secret) = self.secret() {
            secret.unsaved.store(false, Ordering::Release);
        }
    }

    fn secret(&self) -> Option<&Secret> {
        self.held.secrets.as_slice().get(self.place)
    }
}

impl Secrets {
    fn new(live: &[LiveSecret]) -> Self {
        let mut all: Vec<_> = live.iter().filter_map(Secret::new).collect();
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Self::One(one),
            (last, _) => Self::Some(all.into_iter().chain(last).collect()),
        }
    }

    fn as_slice(&self) -> &[Secret] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Some(all) => all,
        }
    }
}

impl Secret {
    fn new(live: &LiveSecret) -> Option<Self> {
        Some(Self {
            hash: live.hash()?,
            id: live.id.as_str().parse().ok()?,
            last_four: live.last_four.as_bytes().try_into().ok()?,
            unsaved: AtomicBool::new(live.is_unsaved()),
        })
    }
}

/// The first half of a secret's hash: enough to find the one key that it may open, whose whole hash is
/// then compared.
type HalfHash = [u8; 16];

fn half(hash: &SecretHash) -> HalfHash {
    hash.0.first_chunk().copied().unwrap_or_default()
}

/// A key in the set of all, by its id.
struct Known(Arc<Held>);

impl Borrow<Uuid> for Known {
    fn borrow(&self) -> &Uuid {
        &self.0.rule.key_id
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.rule.key_id.hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.0.rule.key_id == other.0.rule.key_id
    }
}

impl Eq for Known {}

/// A hash of a secret is as good as random already: eight bytes of it are enough to spread.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The key index of this node.
pub struct KeyIndex {
    by_hash: papaya::HashMap<HalfHash, Arc<Held>, BuildHasherDefault<Spread>>,
    /// Every key this node has heard of. Whoever changes the index holds it.
    known: Mutex<HashSet<Known>>,
    accounts: Accounts,
    catalogue: Catalogue,
    /// Keys that were used since the last flush.
    used: Mutex<Vec<(Uuid, Arc<Meter>)>>,
    /// Whether other nodes are heard; none where there are no others.
    pulse: OnceLock<Arc<Pulse>>,
    /// How often in a row usage could not be written.
    writes: Writes,
}

/// Keys whose usage is added to their counts at once.
const FEW: usize = 128;

impl KeyIndex {
    /// An index that holds every key of the database, and is told of each change from now on.
    pub async fn load(db: &Db) -> Result<Arc<Self>, Error> {
        let index = Arc::new(Self {
            by_hash: papaya::HashMap::default(),
            known: Mutex::default(),
            accounts: Accounts::default(),
            catalogue: db.site().catalogue.clone(),
            used: Mutex::default(),
            pulse: OnceLock::new(),
            writes: Writes::default(),
        });
        let told = Arc::clone(&index);
        // First listen, then read: a change in between arrives twice, and the older one is ignored.
        db.observe(Arc::new(move |changes| changes.into_iter().for_each(|one| told.apply(one))))?;
        if let Some(pulse) = db.follow().map_err(Error::Internal)? {
            let _ = index.pulse.set(pulse);
        }
        for account in db.read(organisations::list_accounts).await? {
            index.accounts.apply(account);
        }
        index.read_keys(db).await?;
        Ok(index)
    }

    async fn read_keys(&self, db: &Db) -> Result<(), Error> {
        let mut after = None;
        loop {
            let from = after.clone();
            let page =
                db.read(move |conn| keys::list_snapshots(conn, from.as_ref(), keys::PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.id.clone());
            for snapshot in page {
                self.apply_key(&snapshot);
            }
        }
    }

    /// The entry for a secret.
    pub fn find(&self, hash: &SecretHash) -> Option<Entry> {
        let held = Arc::clone(self.by_hash.pin().get(&half(hash))?);
        let place = held.secrets.as_slice().iter().position(|secret| secret.hash == *hash)?;
        Some(Entry { held, place })
    }

    /// The organisation with this id.
    pub fn account(&self, id: &OrganisationId) -> Option<Arc<Account>> {
        self.accounts.find(id)
    }

    /// The rule of a key as calls would be measured by it; nothing if its API left the catalogue.
    pub fn rule(&self, key: &Key) -> Option<Rule> {
        let account = self.accounts.find(&key.organisation_id)?;
        let api = self.catalogue.find(&key.grant.api)?;
        Some(Rule::new(key, account, Arc::clone(api)))
    }

    /// False if changes of other nodes may have gone unheard, or if the database takes no writes, so that
    /// nobody could revoke a key either: then nothing is let through.
    pub fn is_fresh(&self) -> bool {
        self.writes.come_through() && self.pulse.get().is_none_or(|pulse| pulse.is_alive())
    }

    /// How many secrets open something.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// True if no secret opens anything.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Takes a change over unless a newer one was taken before.
    pub fn apply(&self, change: Change) {
        match change {
            Change::Account(snapshot) => self.accounts.apply(*snapshot),
            Change::Key(snapshot) => self.apply_key(&snapshot),
        }
    }

    fn apply_key(&self, KeySnapshot { key, secrets }: &KeySnapshot) {
        let Some(rule) = self.rule(key) else {
            tracing::warn!(key = %key.id, api = key.grant.api, "a key of an unknown API opens nothing");
            return;
        };
        let mut known = lock(&self.known);
        let before = known.get(&rule.key_id).map(|known| &known.0);
        if before.is_some_and(|held| held.rule.version >= rule.version) {
            return;
        }
        let live = if key.state == KeyState::Active { secrets.as_slice() } else { &[] };
        let meter = OnceLock::new();
        if let Some(shared) = before.and_then(|held| held.meter.get()) {
            let _ = meter.set(Arc::clone(shared));
        }
        let held = Arc::new(Held { rule, secrets: Secrets::new(live), meter });
        let by_hash = self.by_hash.pin();
        let now = held.secrets.as_slice();
        for old in before.iter().flat_map(|held| held.secrets.as_slice()) {
            if now.iter().all(|secret| secret.hash != old.hash) {
                by_hash.remove(&half(&old.hash));
            }
        }
        for secret in now {
            by_hash.insert(half(&secret.hash), Arc::clone(&held));
        }
        known.replace(Known(held));
    }

    /// Counts what became of a call.
    pub fn note(&self, entry: &Entry, noted: &Noted<'_>) {
        let meter = entry.meter();
        if meter.note(noted) {
            lock(&self.used).push((entry.rule().key_id, Arc::clone(meter)));
        }
    }

    /// Takes what was counted since the last time to the database; gives of how many keys. If nothing was it
    /// asks the database all the same, because calls are only let through while it takes writes.
    pub async fn flush_usage(&self, db: &Db) -> Result<usize, Error> {
        self.writes.begin();
        let flushed = self.flush(db).await;
        if flushed.is_ok() {
            self.writes.succeed();
        }
        flushed
    }

    async fn flush(&self, db: &Db) -> Result<usize, Error> {
        let used = std::mem::take(&mut *lock(&self.used));
        let (meters, batch): (Vec<_>, Vec<(KeyId, Taken)>) = patiently(used, 200)
            .filter_map(|(id, meter)| Some((KeyId::new(id), meter.take_usage()?, id, meter)))
            .map(|(key, taken, id, meter)| ((id, meter), (key, taken)))
            .unzip();
        if batch.is_empty() {
            return db.write(|_| Ok(0)).await;
        }
        let batch = Arc::new(batch);
        let written = write(db, &batch).await;
        if written.is_err() {
            for ((id, meter), (_, taken)) in meters.into_iter().zip(batch.iter()) {
                if meter.put_back(taken) {
                    lock(&self.used).push((id, meter));
                }
            }
        }
        written.map(|()| batch.len())
    }
}

/// Adds what was counted of few keys to their counts; that of many is only written down, as is that which
/// cannot be added.
async fn write(db: &Db, batch: &Arc<Vec<(KeyId, Taken)>>) -> Result<(), Error> {
    if batch.len() <= FEW {
        let few = Arc::clone(batch);
        match db.write(move |tx| usage::flush(tx, &few).map(drop)).await {
            Err(Error::Internal(cause)) => {
                let cause = format!("{cause:#}");
                tracing::error!(cause, "usage could not be added to the counts; it is kept");
            }
            written => return written,
        }
    }
    // Beside the runtime, on which every other write of this node waits for its answer.
    let many = Arc::clone(batch);
    let lines = tokio::task::spawn_blocking(move || usage_journal::Lines::new(&many));
    let lines = lines.await.map_err(Error::internal)??;
    db.write(move |tx| usage_journal::append(tx, &lines)).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
