//! Collecting what keys ask for, so that many durable writes cost little more than one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::ApiError;
use crate::actions::operations::{self, Answer, Wish};
use crate::actions::spending::NotSpent;
use crate::domain::id::KeyId;
use crate::error::Error;
use crate::store::idempotency::Attempt;
use crate::store::{Db, Tx};

/// The most wishes in one transaction.
const BATCH: usize = 256;
/// Wishes that may wait; more than that and the caller is told to come back.
const QUEUE: usize = 1024;

/// How long a transaction waits for its turn.
const PATIENCE: Duration = Duration::from_millis(50);

struct Job {
    wish: Wish,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// Where the wishes of this node wait for the next transaction.
#[derive(Clone)]
pub(in crate::web) struct Till {
    /// One for each transaction that may be written at the same time; what a key asks for is always in the
    /// same one, because two transactions with one key wait for each other.
    lanes: Arc<[mpsc::Sender<Job>]>,
    /// Attempts that are being worked on, by owner and name.
    in_flight: Arc<Mutex<HashSet<(String, String)>>>,
}

/// Keeps a second request of the same name out while the first is worked on.
pub(super) struct Flight {
    in_flight: Arc<Mutex<HashSet<(String, String)>>>,
    place: (String, String),
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

impl Till {
    /// Starts to write what is handed in; it ends when the last clone is dropped.
    pub(in crate::web) fn start(db: &Db) -> Self {
        let pen = Arc::new(Semaphore::new(1));
        let lane = |_| {
            let (jobs, waiting) = mpsc::channel(QUEUE);
            tokio::spawn(work(db.clone(), Arc::clone(&pen), waiting));
            jobs
        };
        Self { lanes: (0..db.lanes()).map(lane).collect(), in_flight: Arc::default() }
    }

    /// Makes an operation of a wish; answers after the commit.
    pub(super) async fn make(&self, wish: Wish) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let lane = self.lane(&wish.key_id).ok_or(Error::Busy)?;
        lane.try_send(Job { wish, answer }).map_err(|_| Error::Busy)?;
        answered.await.map_err(|_| Error::Busy)?
    }

    fn lane(&self, key: &KeyId) -> Option<&mpsc::Sender<Job>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let place = usize::try_from(hasher.finish()).unwrap_or_default();
        self.lanes.get(place.checked_rem(self.lanes.len())?)
    }

    /// Notes that an attempt is being worked on.
    pub(super) fn board(&self, owner: &str, name: &str) -> Result<Flight, ApiError> {
        let place = (owner.to_owned(), name.to_owned());
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_flight.insert(place.clone()) {
            return Err(ApiError::Status(
                StatusCode::CONFLICT,
                "request_in_progress",
                "A request with this idempotency key is still being worked on",
            ));
        }
        Ok(Flight { in_flight: Arc::clone(&self.in_flight), place })
    }
}

/// Takes what waits, writes it in one transaction, and answers all; while that is being committed, the
/// next ones gather. One transaction holds the pen until all but its audit entries are written: two that are
/// worked out at once would be smaller, and take longer together than one.
async fn work(db: Db, pen: Arc<Semaphore>, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.recv().await {
        // One that waits for somebody else's lock must not make the other wait for as long.
        let held = timeout(PATIENCE, Arc::clone(&pen).acquire_owned()).await;
        let others = std::iter::from_fn(|| waiting.try_recv().ok()).take(BATCH - 1);
        let (wishes, callers): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(others).map(|job| (job.wish, job.answer)).unzip();
        let wishes: Arc<[Wish]> = wishes.into();
        let written = Arc::clone(&wishes);
        let callers = callers.into_iter();
        let write = move |tx: &mut Tx<'_>| {
            let answers = operations::make_all(tx, &written);
            drop(held);
            answers
        };
        match db.write(write).await {
            Ok(answers) => {
                for (caller, answer) in callers.zip(answers) {
                    // A caller that went away does not undo what is committed.
                    let _ = caller.send(Ok(answer));
                }
            }
            // A database that was too busy for all of them would be so for each, one wait after the other.
            Err(Error::Busy) => callers.for_each(|caller| drop(caller.send(Err(Error::Busy)))),
            Err(e) if wishes.len() == 1 && !matches!(e, Error::Stale) => {
                callers.for_each(|caller| drop(caller.send(Err(Error::Busy))));
                tracing::error!(cause = %e, "an operation could not be written");
            }
            // One wish that cannot be written must not take the others along.
            Err(_) => {
                for (wish, caller) in wishes.iter().zip(callers) {
                    let _ = caller.send(make_alone(&db, wish).await);
                }
            }
        }
    }
}

/// Writes one wish; once more if another node was faster under the same name, to find its answer.
async fn make_alone(db: &Db, wish: &Wish) -> Result<Answer, Error> {
    let mut result = Err(Error::Stale);
    for _ in 0..2 {
        let wish = wish.clone();
        result = db.write(move |tx| operations::make_all(tx, &[wish])).await;
        if !matches!(result, Err(Error::Stale)) {
            break;
        }
    }
    result?.pop().ok_or_else(|| Error::internal("an operation got no answer"))
}

/// The client's name for this attempt, if it gave one.
pub(super) fn attempt_name(req: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut values = req.headers().get_all("idempotency-key");
    let Some(first) = values.next() else { return Ok(None) };
    let name = first.to_str().ok().map(str::trim);
    match name {
        Some(name) if is_attempt_name(name) && values.next().is_none() => Ok(Some(name.to_owned())),
        Some(_) | None => Err(ApiError::invalid(
            "Idempotency-Key",
            "Idempotency-Key must be one value of 1 to 255 visible characters",
        )),
    }
}

/// True for what an attempt may be called: no database and no header holds more.
pub(super) fn is_attempt_name(name: &str) -> bool {
    let visible = name.bytes().all(|b| matches!(b, b' '..=b'~'));
    (1..=255).contains(&name.len()) && visible && name.trim() == name
}

/// An attempt of whoever chose the name, with what is asked for under it.
pub(super) fn attempt(
    owner: &str,
    name: &str,
    call: &str,
    asked: &impl serde::Serialize,
) -> Attempt {
    // What was understood is compared, not how it was spelt.
    let asked = serde_json::to_vec(asked).unwrap_or_default();
    let fingerprint = Sha256::new().chain_update(call).chain_update([0]).chain_update(asked);
    Attempt {
        owner_id: owner.to_owned(),
        name: name.to_owned(),
        fingerprint: fingerprint.finalize().into(),
    }
}

/// The answer of a write that ended with a verdict of its own.
pub(super) fn verdict<T>(result: Result<Result<T, NotSpent>, Error>) -> Result<T, ApiError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(why.into()),
        Err(e) => Err(e.into()),
    }
}
