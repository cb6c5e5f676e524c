//! Signing in and out: what is counted, and what is written down. Passwords are hashed elsewhere,
//! outside any transaction.

use chrono::TimeDelta;
use serde_json::json;

use crate::domain::audit::{Event, Who};
use crate::domain::member::{Actor, Member, Origin};
use crate::domain::refusal::Refusal;
use crate::domain::text::Email;
use crate::error::Error;
use crate::store::{Tx, sessions, throttle};

/// Ten wrong passwords shut an account's sign-in for half an hour (PCI DSS 8.3.4); sessions go on.
const PER_ACCOUNT: throttle::Limit =
    throttle::Limit { failures: 10, pause: TimeDelta::minutes(30) };
/// A hundred failures shut an address out: enough for an office behind one, not for a guesser.
const PER_ADDRESS: throttle::Limit =
    throttle::Limit { failures: 100, pause: TimeDelta::minutes(15) };
/// Without a request for so long, a session has ended (PCI DSS 8.2.8).
pub const SESSION_IDLE: TimeDelta = TimeDelta::minutes(15);
/// So long after sign-in a session ends whatever happens (NIST SP 800-63B-4).
pub const SESSION_LIVES: TimeDelta = TimeDelta::hours(12);
/// How long counts are kept.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// Counts an attempt before the password is looked at, so that a burst cannot outrun the count.
pub fn count_attempt(tx: &mut Tx<'_>, email: Option<&Email>, origin: &Origin) -> Result<(), Error> {
    for (subject, limit) in subjects(email, origin) {
        if let Some(until) = throttle::count_attempt(tx, &subject, limit)? {
            let seconds = (until - tx.now).num_seconds().max(1);
            return Err(Refusal::Throttled(seconds.unsigned_abs()).into());
        }
    }
    Ok(())
}

/// Writes a sign-in down and forgets the account's failures.
pub fn succeeded(tx: &mut Tx<'_>, member: &Member, origin: &Origin) -> Result<(), Error> {
    for (subject, limit) in subjects(Some(&member.email), origin) {
        if subject.starts_with("account:") {
            throttle::forgive(tx, &subject)?;
        } else {
            // Else a guesser with an account of their own could wipe the slate clean.
            throttle::take_back(tx, &subject, limit)?;
        }
    }
    let actor = Actor { member: member.clone(), origin: origin.clone() };
    tx.audit(event(member, Who::Member(Box::new(actor)), "session.started"));
    Ok(())
}

/// Writes a refused sign-in down, for members who exist and for addresses that nobody has: both take
/// as long, and auditors see the guessing.
pub fn failed(tx: &mut Tx<'_>, member: Option<&Member>, origin: Origin) {
    tx.audit(Event {
        organisation_id: member.map(|member| member.organisation_id.clone()),
        who: Who::Visitor(origin),
        action: "session.refused",
        subject_id: member.map(|member| member.id.to_string()),
        detail: json!({}),
    });
}

/// Writes a sign-out down.
pub fn ended(tx: &mut Tx<'_>, me: &Actor) {
    tx.audit(event(&me.member, Who::Member(Box::new(me.clone())), "session.ended"));
}

/// Forgets counts of long ago and sessions that have ended.
pub fn sweep(tx: &mut Tx<'_>) -> Result<(), Error> {
    throttle::sweep(tx, tx.now - REMEMBERED)?;
    sessions::sweep(tx, tx.now - SESSION_IDLE, tx.now - SESSION_LIVES)?;
    Ok(())
}

/// What an attempt counts against: the account, existing or not, and the address it comes from.
fn subjects(email: Option<&Email>, origin: &Origin) -> Vec<(String, throttle::Limit)> {
    let account = email.map(|email| (format!("account:{email}"), PER_ACCOUNT));
    let address = origin.ip.map(|ip| (format!("address:{}", network(ip)), PER_ADDRESS));
    [account, address].into_iter().flatten().collect()
}

/// One subscriber: an IPv4 address, or the /64 an IPv6 address is in.
fn network(ip: std::net::IpAddr) -> String {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn event(member: &Member, who: Who, action: &'static str) -> Event {
    Event {
        organisation_id: Some(member.organisation_id.clone()),
        who,
        action,
        subject_id: Some(member.id.to_string()),
        detail: json!({}),
    }
}
