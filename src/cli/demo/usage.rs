//! What the keys of a demo were used for, hour by hour: invented, and the same in every demo.

use std::net::IpAddr;

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc, Weekday};

use crate::domain::usage::{Count, LastUse, Outcome, Seen, Taken, hour_of, start_of_hour};

/// How a key is used.
pub(super) struct Habit {
    /// For how many hours before the last call.
    hours: i64,
    /// The most calls in an hour of a working day, and of a Sunday.
    busy: (i64, i64),
    /// The hours of a day with calls, UTC.
    open: (u32, u32),
    /// One call of so many moves money; and how much it moves on average, in minor units.
    operations: Option<(i64, i64)>,
    /// What else is called.
    endpoint: &'static str,
    /// One call of so many is denied, and why.
    denied: &'static [(i64, Outcome)],
    /// Where the calls come from, and how many hours before the last call the first one came; most
    /// come from the first.
    addresses: &'static [([u8; 4], i64)],
    /// An address that is not on the key's list, and when it tried.
    stranger: Option<([u8; 4], i64)>,
    agent: &'static str,
}

/// A till: busy by day, quiet on Sundays, now and then above its limits.
pub(super) const TILL: Habit = Habit {
    hours: 18 * 24,
    busy: (26, 9),
    open: (6, 20),
    operations: Some((3, 280_000)),
    endpoint: "balance",
    denied: &[
        (61, Outcome::TransactionLimitExceeded),
        (97, Outcome::InsufficientPermission),
        (211, Outcome::DailyVolumeExceeded),
    ],
    addresses: &[([102, 89, 23, 14], 18 * 24), ([102, 89, 23, 15], 11 * 24)],
    stranger: Some(([105, 112, 4, 77], 5)),
    agent: "okhttp",
};

/// A program that looks every quarter of an hour, by day and by night.
pub(super) const MONITOR: Habit = Habit {
    hours: 17 * 24,
    busy: (4, 4),
    open: (0, 24),
    operations: None,
    endpoint: "balance",
    denied: &[],
    addresses: &[([10, 20, 4, 8], 17 * 24)],
    stranger: None,
    agent: "python-requests",
};

/// An auditor with a script, for two days.
pub(super) const AUDIT: Habit = Habit {
    hours: 2 * 24,
    busy: (7, 0),
    open: (8, 17),
    operations: None,
    endpoint: "operations.list",
    denied: &[(31, Outcome::RateLimited)],
    addresses: &[([197, 210, 54, 3], 2 * 24)],
    stranger: None,
    agent: "curl",
};

impl Habit {
    /// Everything up to the last call.
    pub(super) fn history(&self, last: DateTime<Utc>) -> Taken {
        let end = hour_of(last);
        let mut counts = Vec::new();
        for hour in end - self.hours..=end {
            // The last hour is as full as it is old, and never empty.
            let all = self.calls(hour);
            let part = if hour == end { i64::from(last.minute()) } else { 60 };
            let calls = if hour == end { (all * part / 60).max(1) } else { all };
            self.count(hour, calls, &mut counts);
        }
        let mut addresses = self.seen(last, &counts);
        if let Some((ip, ago)) = self.stranger {
            let (at, calls) = (last - TimeDelta::hours(ago), 2);
            let (hour, outcome) = (hour_of(at), Outcome::IpNotAllowed);
            counts.push(Count { hour, endpoint: self.endpoint.into(), outcome, calls, amount: 0 });
            addresses.push(Seen { ip: ip.into(), first: at, last: at, calls, denied: calls });
        }
        let ip = self.addresses.first().map(|(ip, _)| IpAddr::from(*ip));
        let last = Some(LastUse { at: last, ip, agent: Some(self.agent.to_owned()) });
        Taken { counts, last, addresses }
    }

    fn calls(&self, hour: i64) -> i64 {
        let at = start_of_hour(hour);
        let (from, to) = self.open;
        let most = if at.weekday() == Weekday::Sun { self.busy.1 } else { self.busy.0 };
        if most == 0 || !(from..to).contains(&at.hour()) {
            return 0;
        }
        if from == 0 {
            return most;
        }
        // Slow at both ends of the day, and no hour quite like another.
        let edge = (at.hour() - from + 1).min(to - at.hour()).min(4);
        (most * i64::from(edge) / 4 - dice(hour, most / 3 + 1)).max(1)
    }

    fn count(&self, hour: i64, calls: i64, counts: &mut Vec<Count>) {
        let mut left = calls;
        let mut push = |endpoint: &str, outcome, calls: i64, amount| {
            if calls > 0 {
                counts.push(Count { hour, endpoint: endpoint.into(), outcome, calls, amount });
            }
        };
        for (every, outcome) in self.denied {
            let n = i64::from(left > 1 && dice(hour + every, *every) < calls);
            let moving = self.operations.is_some();
            push(if moving { "operations.create" } else { self.endpoint }, *outcome, n, 0);
            left -= n;
        }
        if let Some((every, average)) = self.operations {
            let n = left / every;
            let amount = n * (average / 2 + dice(hour, average / 100) * 100);
            push("operations.create", Outcome::Allowed, n, amount);
            left -= n;
        }
        push(self.endpoint, Outcome::Allowed, left, 0);
    }

    /// The addresses of these calls: the first has what the others leave.
    fn seen(&self, last: DateTime<Utc>, counts: &[Count]) -> Vec<Seen> {
        let mut calls: i64 = counts.iter().map(|count| count.calls).sum();
        let refused = counts.iter().filter(|count| count.outcome != Outcome::Allowed);
        let mut denied: i64 = refused.map(|count| count.calls).sum();
        let mut seen = Vec::new();
        for (n, (ip, ago)) in self.addresses.iter().enumerate().rev() {
            let part = |all: i64| if n == 0 { all } else { all * ago / self.hours / 3 };
            let (some, bad) = (part(calls), part(denied));
            (calls, denied) = (calls - some, denied - bad);
            let first = last - TimeDelta::hours(*ago);
            seen.push(Seen { ip: (*ip).into(), first, last, calls: some, denied: bad });
        }
        seen
    }
}

/// A number below `sides` that looks like chance and depends on the hour alone.
fn dice(hour: i64, sides: i64) -> i64 {
    let mixed = hour.wrapping_mul(6_364_136_223_846_793_005).rotate_right(29);
    mixed.wrapping_mul(2_654_435_769).rotate_right(17).rem_euclid(sides.max(1))
}
