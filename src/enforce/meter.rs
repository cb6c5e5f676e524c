//! What is counted for one key in memory: its rate windows and its usage, made at its first call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::usage::{Noted, Tally};
use super::window::{Ticket, Window, monotonic_ms};
use crate::domain::catalogue::RateLimit;
use crate::domain::usage::Taken;

/// The counters of one key.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    tally: Tally,
    /// By number; most keys have one.
    windows: Vec<(u8, Window)>,
}

impl Meter {
    /// Counts a call towards a limit; refused with the seconds until another one may pass.
    pub fn take(&self, (number, limit): (u8, RateLimit)) -> Result<(u8, Ticket), u32> {
        let now = monotonic_ms();
        let mut counts = self.lock();
        let ticket = counts.window(number).take(limit, now)?;
        Ok((number, ticket))
    }

    /// Gives a call back that came to nothing.
    pub fn give_back(&self, (number, ticket): (u8, Ticket)) {
        self.lock().window(number).give_back(ticket);
    }

    /// Counts what became of a call; true if nothing was counted before it.
    pub fn note(&self, noted: &Noted<'_>) -> bool {
        self.lock().tally.note(noted)
    }

    pub(super) fn take_usage(&self) -> Option<Taken> {
        self.lock().tally.take()
    }

    pub(super) fn put_back(&self, taken: &Taken) -> bool {
        self.lock().tally.put_back(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn window(&mut self, number: u8) -> &mut Window {
        let place = self.windows.iter().position(|(known, _)| *known == number);
        let place = place.unwrap_or_else(|| {
            self.windows.push((number, Window::default()));
            self.windows.len().saturating_sub(1)
        });
        #[expect(clippy::indexing_slicing, reason = "the place was just found or made")]
        &mut self.windows[place].1
    }
}
