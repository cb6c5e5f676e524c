//! Refused calls by address: a flood of them is answered cheaply, and no key pays for it.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::window::{Window, monotonic_ms};
use crate::domain::catalogue::RateLimit;

/// Refused calls from one address that get a reason.
pub const LIMIT: RateLimit = RateLimit { calls: 1_000, seconds: 10 };
/// Addresses share so many windows, so that the memory does not grow with them.
const WINDOWS: usize = 4_096;

/// The refused calls of everybody.
pub struct Strangers {
    windows: Box<[Mutex<Window>]>,
    /// Keeps outsiders from choosing whom they share a window with.
    hasher: std::collections::hash_map::RandomState,
}

impl Default for Strangers {
    fn default() -> Self {
        let windows = (0..WINDOWS).map(|_| Mutex::default()).collect();
        Self { windows, hasher: std::collections::hash_map::RandomState::new() }
    }
}

impl Strangers {
    /// Counts a refused call; too many are refused with the seconds to wait.
    pub fn refuse(&self, ip: IpAddr) -> Result<(), u32> {
        use std::hash::BuildHasher as _;
        // Whoever has an IPv6 network has 2^64 addresses in it.
        let subject = match ip.to_canonical() {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => u64::try_from(u128::from(v6) >> 64).unwrap_or(u64::MAX),
        };
        let hash = self.hasher.hash_one(subject);
        let place = usize::try_from(hash).unwrap_or_default() % WINDOWS;
        let Some(window) = self.windows.get(place) else { return Ok(()) };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.take(LIMIT, monotonic_ms()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_slowed_down_and_another_is_not() {
        let strangers = Strangers::default();
        let flood: IpAddr = "2001:db8::1".parse().unwrap();
        for n in 0..LIMIT.calls {
            let same_network = format!("2001:db8::{n:x}").parse().unwrap();
            assert_eq!(strangers.refuse(same_network), Ok(()));
        }
        assert!(strangers.refuse(flood).is_err());
        let others =
            (1..=20_u8).filter(|n| strangers.refuse(IpAddr::from([203, 0, 113, *n])).is_ok());
        assert!(others.count() >= 19);
    }
}
