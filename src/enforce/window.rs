//! A sliding window over calls: never more than so many in any stretch of so many seconds.

use std::sync::OnceLock;
use std::time::Instant;

use crate::domain::catalogue::RateLimit;

/// A window is counted in so many parts, and in the part that is just beginning. What falls out of it
/// falls out a part at a time, so a call may wait a tenth of the window longer than it had to.
const PARTS: u64 = 10;
const SLOTS: usize = 11;

/// Milliseconds since the first call of this process, on a clock that nobody can turn.
pub fn monotonic_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

/// The calls of one key that count towards one limit.
#[derive(Debug, Default)]
pub struct Window {
    counts: [u32; SLOTS],
    /// The number of the newest part, counted from the start of the process.
    newest: u64,
}

/// One call that was counted, to be given back if it comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl Window {
    /// Counts a call; refused with the seconds until another one may pass.
    pub fn take(&mut self, limit: RateLimit, now_ms: u64) -> Result<Ticket, u32> {
        let part_ms = part_ms(limit);
        let part = now_ms / part_ms;
        self.move_to(part);
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if total < u64::from(limit.calls) {
            if let Some(count) = self.counts.get_mut(slot(part)) {
                *count = count.saturating_add(1);
            }
            return Ok(Ticket(part));
        }
        let first = part.saturating_sub(PARTS);
        let oldest = (first..=part).find(|part| self.counts.get(slot(*part)) > Some(&0));
        let free_at = oldest.unwrap_or(part).saturating_add(PARTS + 1).saturating_mul(part_ms);
        let seconds = free_at.saturating_sub(now_ms).div_ceil(1000).max(1);
        Err(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Gives a call back that came to nothing, unless its part has left the window.
    pub fn give_back(&mut self, Ticket(part): Ticket) {
        if part <= self.newest
            && self.newest.saturating_sub(part) <= PARTS
            && let Some(count) = self.counts.get_mut(slot(part))
        {
            *count = count.saturating_sub(1);
        }
    }

    fn move_to(&mut self, part: u64) {
        if part <= self.newest {
            return;
        }
        let first_stale = self.newest.saturating_add(1).max(part.saturating_sub(PARTS));
        for stale in first_stale..=part {
            if let Some(count) = self.counts.get_mut(slot(stale)) {
                *count = 0;
            }
        }
        self.newest = part;
    }
}

fn part_ms(limit: RateLimit) -> u64 {
    (u64::from(limit.seconds).saturating_mul(1000) / PARTS).max(1)
}

fn slot(part: u64) -> usize {
    usize::try_from(part % (PARTS + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RateLimit = RateLimit { calls: 10, seconds: 1 };

    #[test]
    fn exactly_the_limit_passes_and_the_wait_is_told() {
        let mut window = Window::default();
        let passed = (0..50).filter(|_| window.take(LIMIT, 5_000).is_ok()).count();
        assert_eq!(passed, 10);
        assert_eq!(window.take(LIMIT, 5_000), Err(2));
        assert_eq!(window.take(LIMIT, 6_099), Err(1));
        assert!(window.take(LIMIT, 6_100).is_ok());
    }

    #[test]
    fn what_is_given_back_may_pass_again_but_not_twice() {
        let mut window = Window::default();
        let tickets: Vec<_> = (0..10).filter_map(|_| window.take(LIMIT, 0).ok()).collect();
        window.give_back(tickets[3]);
        assert!(window.take(LIMIT, 50).is_ok());
        assert!(window.take(LIMIT, 50).is_err());
        window.move_to(100);
        window.give_back(tickets[4]);
        assert_eq!((0..50).filter(|_| window.take(LIMIT, 10_000).is_ok()).count(), 10);
    }

    proptest! {
        #[test]
        fn no_stretch_of_a_window_holds_more_than_the_limit(
            steps in proptest::collection::vec(0_u64..400, 1..300),
            calls in 1_u32..20,
        ) {
            let limit = RateLimit { calls, seconds: 2 };
            let (mut window, mut now, mut passed) = (Window::default(), 0, Vec::new());
            for step in steps {
                now += step;
                if window.take(limit, now).is_ok() {
                    passed.push(now);
                } else {
                    // Refused only if the window and its one part of patience are full.
                    let recent = passed.iter().filter(|at| **at + 2_200 > now).count();
                    prop_assert!(recent >= usize::try_from(calls).unwrap());
                }
            }
            for (i, from) in passed.iter().enumerate() {
                let within = passed[i..].iter().filter(|at| **at < from + 2_000).count();
                prop_assert!(within <= usize::try_from(calls).unwrap());
            }
        }
    }
}
