//! Whether the database takes what is written.

use std::sync::atomic::{AtomicU64, Ordering};

use super::window::monotonic_ms;

/// How long a database that takes no writes still counts as up, in milliseconds: longer than it may hesitate.
const PATIENCE_MS: u64 = 3_000;

/// Since when a write is waited for: an attempt that fails does not end it, and one that hangs neither.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// On the clock that nobody can turn, in milliseconds; 0 if the last attempt came through.
    waiting_since_ms: AtomicU64,
}

impl Writes {
    /// Notes that a write is attempted.
    pub(super) fn begin(&self) {
        let now = monotonic_ms().max(1);
        // Attempts that failed before are part of the same wait.
        let _ =
            self.waiting_since_ms.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Notes that a write came through.
    pub(super) fn succeed(&self) {
        self.waiting_since_ms.store(0, Ordering::Relaxed);
    }

    /// False if a write has been waited for for too long.
    pub(super) fn come_through(&self) -> bool {
        match self.waiting_since_ms.load(Ordering::Relaxed) {
            0 => true,
            since => monotonic_ms().saturating_sub(since) < PATIENCE_MS,
        }
    }
}
