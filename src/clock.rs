//! Where the time comes from.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// The system's time, or one that moves only when told to.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The time of this machine.
    System,
    /// A time that stands still until moved: for tests, and for a demo that needs a past.
    Fixed(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A clock stopped at `start`.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(Mutex::new(start)))
    }

    /// The present instant, to the microsecond: as fine as both databases keep it.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Fixed(t) => *t.lock().unwrap_or_else(PoisonError::into_inner),
        }
        .trunc_subsecs(6)
    }

    /// Moves a fixed clock, forward or (with a negative step) back; the system's is left alone.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Fixed(t) = self {
            *t.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
