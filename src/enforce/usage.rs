//! Counters in memory, so that a call costs no write; the worker takes them to the database.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// What was counted for one key since the last flush.
#[derive(Debug, Default)]
pub struct Counters {
    allowed: AtomicI64,
    denied: AtomicI64,
    /// Microseconds since 1970 of the last allowed call; 0 for none.
    last_used: AtomicI64,
}

impl Counters {
    /// Counts a call that was allowed.
    pub fn allow(&self, now: DateTime<Utc>) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
        self.last_used.fetch_max(now.timestamp_micros(), Ordering::Relaxed);
    }

    /// Counts a call that was denied.
    pub fn deny(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what was counted; nothing if there is nothing.
    pub fn take(&self) -> Option<(i64, i64, Option<DateTime<Utc>>)> {
        let (allowed, denied) =
            (self.allowed.swap(0, Ordering::Relaxed), self.denied.swap(0, Ordering::Relaxed));
        if allowed == 0 && denied == 0 {
            return None;
        }
        let last = self.last_used.load(Ordering::Relaxed);
        Some((
            allowed,
            denied,
            if last == 0 { None } else { DateTime::from_timestamp_micros(last) },
        ))
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, allowed: i64, denied: i64) {
        self.allowed.fetch_add(allowed, Ordering::Relaxed);
        self.denied.fetch_add(denied, Ordering::Relaxed);
    }
}
