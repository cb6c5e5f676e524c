//! What is counted for a key in memory, so that a call costs no write; the worker takes it to the database.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::Denial;
use crate::domain::agent;
use crate::domain::usage::{Count, LastUse, Outcome, Seen, Taken, hour_of};

/// Addresses remembered between two flushes; calls from further ones are counted without theirs.
const ADDRESSES: usize = 64;
/// Kinds of calls told apart between two flushes; the endpoints of further ones are all [`OTHER`].
const KINDS: usize = 128;
/// The endpoint of calls that are not told apart any more.
const OTHER: &str = "other";
/// The part of a user agent that is looked at.
const AGENT: usize = 256;

/// One call, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    /// When.
    pub now: DateTime<Utc>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was called: a short word of ours, never the caller's.
    pub endpoint: &'a str,
    /// What it moved if it was allowed, in minor units.
    pub amount: i64,
    /// From where, if that could be told.
    pub ip: Option<IpAddr>,
    /// What the caller's program says of itself.
    pub agent: Option<&'a str>,
}

/// What was counted for one key since it was last taken. Counting allocates only for what is new.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Vec<Count>,
    /// Where the last call was counted: most calls are like the one before.
    last_count: usize,
    addresses: Vec<Seen>,
    last_address: usize,
    /// The last allowed call.
    used: Option<(DateTime<Utc>, Option<IpAddr>)>,
    /// Its user agent as it came; read only when it is taken.
    agent: String,
}

impl Tally {
    /// Counts a call; true if nothing was counted before it.
    pub fn note(&mut self, call: &Noted<'_>) -> bool {
        let was_empty = self.counts.is_empty();
        let allowed = call.outcome == Outcome::Allowed;
        let amount = if allowed { call.amount.max(0) } else { 0 };
        self.add((hour_of(call.now), call.endpoint, call.outcome), (1, amount));
        let ip = call.ip.map(|ip| ip.to_canonical());
        if let Some(ip) = ip {
            let (first, last, denied) = (call.now, call.now, i64::from(!allowed));
            self.see(&Seen { ip, first, last, calls: 1, denied });
        }
        if allowed {
            self.use_at(call.now, ip, call.agent.unwrap_or_default());
        }
        was_empty
    }

    /// Takes what was counted; nothing if there is nothing.
    pub fn take(&mut self) -> Option<Taken> {
        if self.counts.is_empty() {
            return None;
        }
        let last = self.used.take().map(|(at, ip)| {
            let agent = agent::family(&self.agent);
            LastUse { at, ip, agent }
        });
        let (counts, addresses) =
            (std::mem::take(&mut self.counts), std::mem::take(&mut self.addresses));
        Some(Taken { counts, last, addresses })
    }

    /// Puts back what could not be written; true if nothing was counted meanwhile.
    pub fn put_back(&mut self, taken: &Taken) -> bool {
        let was_empty = self.counts.is_empty();
        for count in &taken.counts {
            self.add((count.hour, &count.endpoint, count.outcome), (count.calls, count.amount));
        }
        for seen in &taken.addresses {
            self.see(seen);
        }
        if let Some(last) = &taken.last {
            self.use_at(last.at, last.ip, last.agent.as_deref().unwrap_or_default());
        }
        was_empty
    }

    fn add(
        &mut self,
        (hour, endpoint, outcome): (i64, &str, Outcome),
        (calls, amount): (i64, i64),
    ) {
        let is = |count: &Count| {
            count.outcome == outcome && count.hour == hour && *count.endpoint == *endpoint
        };
        if let Some(count) = find(&mut self.counts, &mut self.last_count, is) {
            count.calls = count.calls.saturating_add(calls);
            count.amount = count.amount.saturating_add(amount);
        } else if self.counts.len() >= KINDS && endpoint != OTHER {
            self.add((hour, OTHER, outcome), (calls, amount));
        } else {
            self.counts.push(Count { hour, endpoint: endpoint.into(), outcome, calls, amount });
        }
    }

    fn see(&mut self, seen: &Seen) {
        let is = |known: &Seen| known.ip == seen.ip;
        if let Some(known) = find(&mut self.addresses, &mut self.last_address, is) {
            known.add(seen);
        } else if self.addresses.len() < ADDRESSES {
            self.addresses.push(*seen);
        }
    }

    fn use_at(&mut self, at: DateTime<Utc>, ip: Option<IpAddr>, agent: &str) {
        if self.used.is_some_and(|(before, _)| before > at) {
            return;
        }
        self.used = Some((at, ip));
        let agent = beginning(agent);
        if self.agent != agent {
            self.agent.clear();
            self.agent.push_str(agent);
        }
    }
}

/// The item that fits, looked for first where the last one was.
fn find<'a, T>(
    items: &'a mut [T],
    last: &mut usize,
    fits: impl Fn(&T) -> bool,
) -> Option<&'a mut T> {
    if !items.get(*last).is_some_and(&fits) {
        *last = items.iter().position(fits)?;
    }
    items.get_mut(*last)
}

fn beginning(agent: &str) -> &str {
    if agent.len() <= AGENT {
        return agent;
    }
    let end = (0..=AGENT).rev().find(|end| agent.is_char_boundary(*end));
    end.and_then(|end| agent.get(..end)).unwrap_or_default()
}

impl From<Denial> for Outcome {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NotLive => Self::Unauthorized,
            Denial::IpNotAllowed => Self::IpNotAllowed,
            Denial::InsufficientPermission => Self::InsufficientPermission,
            Denial::DistributorMismatch => Self::DistributorMismatch,
            Denial::RestrictionDenied => Self::RestrictionDenied,
            Denial::TransactionLimitExceeded => Self::TransactionLimitExceeded,
            Denial::RateLimited(_) => Self::RateLimited,
            Denial::DailyVolumeExceeded => Self::DailyVolumeExceeded,
            Denial::InsufficientBalance => Self::InsufficientBalance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_442_000 + seconds, 0).unwrap()
    }

    fn call(seconds: i64, outcome: Outcome, ip: &str) -> Noted<'static> {
        let (ip, agent) = (ip.parse().ok(), Some("curl/8.5.0"));
        Noted { now: at(seconds), outcome, endpoint: "balance", amount: 5, ip, agent }
    }

    #[test]
    fn calls_are_counted_by_hour_endpoint_and_outcome() {
        let mut tally = Tally::default();
        assert!(tally.note(&call(0, Outcome::Allowed, "203.0.113.1")));
        assert!(!tally.note(&call(1, Outcome::Allowed, "::ffff:203.0.113.1")));
        tally.note(&call(2, Outcome::IpNotAllowed, "203.0.113.2"));
        tally.note(&call(3_600, Outcome::Allowed, "203.0.113.1"));
        let self_call = Noted { endpoint: "keys/self", ..call(4, Outcome::Allowed, "") };
        tally.note(&self_call);
        let taken = tally.take().unwrap();
        let counts: Vec<_> =
            taken.counts.iter().map(|c| (&*c.endpoint, c.outcome, c.calls, c.amount)).collect();
        assert_eq!(
            counts,
            [
                ("balance", Outcome::Allowed, 2, 10),
                ("balance", Outcome::IpNotAllowed, 1, 0),
                ("balance", Outcome::Allowed, 1, 5),
                ("keys/self", Outcome::Allowed, 1, 5),
            ]
        );
        assert_eq!(taken.counts[2].hour, taken.counts[0].hour + 1);
        let last = taken.last.unwrap();
        assert_eq!((last.at, last.agent.as_deref()), (at(3_600), Some("curl")));
        let seen: Vec<_> = taken.addresses.iter().map(|s| (s.calls, s.denied)).collect();
        assert_eq!(seen, [(3, 0), (1, 1)]);
        assert_eq!(tally.take(), None);
    }

    #[test]
    fn a_denied_call_is_no_last_use() {
        let mut tally = Tally::default();
        tally.note(&call(0, Outcome::RateLimited, "203.0.113.1"));
        assert_eq!(tally.take().unwrap().last, None);
    }

    #[test]
    fn what_could_not_be_written_is_counted_once_more_and_older_news_stay_older() {
        let mut tally = Tally::default();
        tally.note(&call(0, Outcome::Allowed, "203.0.113.1"));
        let taken = tally.take().unwrap();
        assert!(tally.put_back(&taken));
        assert_eq!(tally.take().unwrap(), taken);
        let newer = Noted { agent: Some("okhttp/4"), ..call(9, Outcome::Allowed, "203.0.113.2") };
        tally.note(&newer);
        assert!(!tally.put_back(&taken));
        let both = tally.take().unwrap();
        assert_eq!((both.counts[0].calls, both.counts.len(), both.addresses.len()), (2, 1, 2));
        assert_eq!(both.last.unwrap().agent.as_deref(), Some("okhttp"));
    }

    #[test]
    fn memory_is_bounded_whatever_the_calls_are() {
        let mut tally = Tally::default();
        for n in 0..10_000_u32 {
            let (ip, endpoint) = (IpAddr::from(n.to_be_bytes()), format!("endpoint {n}"));
            let agent = "x".repeat(10_000);
            let noted = Noted {
                endpoint: &endpoint,
                ip: Some(ip),
                agent: Some(&agent),
                ..call(0, Outcome::Allowed, "")
            };
            tally.note(&noted);
        }
        assert!(tally.agent.len() <= AGENT);
        let taken = tally.take().unwrap();
        assert_eq!(taken.addresses.len(), ADDRESSES);
        assert_eq!(taken.counts.len(), KINDS + 1);
        assert_eq!(taken.counts.iter().map(|count| count.calls).sum::<i64>(), 10_000);
    }
}
