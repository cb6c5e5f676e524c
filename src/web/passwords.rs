//! argon2id, a few at a time: however many sign in at once, memory stays bounded and pages stay quick.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::error::Error;

/// Hashes at the same time: each takes 19 MiB.
const AT_ONCE: usize = 2;
/// Sign-ins that may wait for their turn.
const QUEUE: usize = 4 * AT_ONCE;
/// How long one may wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Hashes and verifies passwords.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// The hash of nobody's password: unknown people take as long as known ones.
    dummy: Arc<str>,
}

impl Passwords {
    /// With OWASP's least parameters for argon2id: 19 MiB, two passes, one lane.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(Params::DEFAULT)
    }

    /// So cheap that tests do not wait. Never for real passwords.
    pub fn for_tests() -> anyhow::Result<Self> {
        Self::with(Params::new(8, 1, 1, None).map_err(|e| anyhow::anyhow!("{e}"))?)
    }

    fn with(params: Params) -> anyhow::Result<Self> {
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let dummy =
            hash_with(&argon2, b"nobody has this password").context("hashing a password")?;
        Ok(Self {
            argon2,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + QUEUE)),
            dummy: dummy.into(),
        })
    }

    /// Hashes a new password.
    pub async fn hash(&self, plain: Zeroizing<String>) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        self.in_turn(move || hash_with(&argon2, plain.as_bytes()).map_err(Error::Internal)).await
    }

    /// True if the password fits the hash; without a hash it takes as long and is false.
    pub async fn verify(
        &self,
        hash: Option<String>,
        plain: Zeroizing<String>,
    ) -> Result<bool, Error> {
        let argon2 = self.argon2.clone();
        let (known, hash) = (hash.is_some(), hash.unwrap_or_else(|| self.dummy.to_string()));
        self.in_turn(move || {
            let parsed = PasswordHash::new(&hash)
                .map_err(|e| Error::internal(format!("a stored hash: {e}")))?;
            Ok(argon2.verify_password(plain.as_bytes(), &parsed).is_ok() && known)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| Error::Busy)?.map_err(Error::internal)?;
        // The permits go along: a caller that hangs up does not stop the hash it started.
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, turn);
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(held);
            result
        })
        .await
        .map_err(Error::internal)?
    }
}

fn hash_with(argon2: &Argon2<'_>, plain: &[u8]) -> anyhow::Result<String> {
    argon2.hash_password(plain).map(|hash| hash.to_string()).map_err(|e| anyhow::anyhow!("{e}"))
}
