//! The mails about addresses that keys had never been called from before.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Content, key_link, maker_and_contact, queue};
use crate::domain::key::Key;
use crate::domain::money::group;
use crate::domain::text::Email;
use crate::domain::usage::Address;
use crate::error::Error;
use crate::store::Tx;
use crate::store::addresses::News;

/// Addresses of one key that a mail about several keys lists.
const ADDRESSES: usize = 3;
const CLOSING: &str = "If that was not expected, revoke the key on its page; that takes effect at once. \
                       New addresses of one key are mailed at most once an hour.";

/// Tells makers and contact addresses where keys were called from for the first time: one mail to each of
/// them about all of these keys.
pub(in crate::actions) fn addresses_seen(
    tx: &mut Tx<'_>,
    told: &[(Key, News)],
) -> Result<(), Error> {
    let mut mails: BTreeMap<(&str, Email), Vec<&(Key, News)>> = BTreeMap::new();
    for one in told {
        for to in maker_and_contact(tx, &one.0)? {
            mails.entry((one.0.organisation_id.as_str(), to)).or_default().push(one);
        }
    }
    for ((_, to), about) in &mails {
        let content = match about.as_slice() {
            [(key, news)] => of_one(tx, key, news),
            many => of_many(tx, many),
        };
        queue(tx, to, &content)?;
    }
    Ok(())
}

fn of_one(tx: &Tx<'_>, key: &Key, news: &News) -> Content {
    let label = &key.grant.label;
    let (subject, what) = if news.total == 1 {
        (format!("New address: {label}"), "an address".to_owned())
    } else {
        let total = group(news.total);
        (format!("{total} new addresses: {label}"), format!("{total} addresses"))
    };
    let mut facts: Vec<_> =
        news.newest.iter().map(|address| ("From", address_fact(address))).collect();
    let more = news.total - count(news.newest.len());
    if more > 0 {
        facts.push(("And", format!("{} more", group(more))));
    }
    Content {
        subject,
        opening: format!(
            "The key “{label}” was called from {what} it had never been called from before."
        ),
        facts,
        closing: CLOSING,
        link: ("See where the key is used", format!("{}#usage", key_link(tx, key))),
    }
}

/// Every key is named, for the one that matters may be any of them; those that stand out come first.
fn of_many(tx: &Tx<'_>, told: &[&(Key, News)]) -> Content {
    let total = group(count(told.len()));
    let mut told: Vec<_> = told.iter().map(|(key, news)| (key, news)).collect();
    told.sort_by_key(|(key, news)| (Reverse(news.total), key.grant.label.clone()));
    Content {
        subject: format!("New addresses of {total} keys"),
        opening: format!(
            "{total} keys were called from addresses they had never been called from before."
        ),
        facts: told.into_iter().map(|(key, news)| ("Key", key_fact(key, news))).collect(),
        closing: CLOSING,
        link: ("See the keys", format!("{}/settings/api-keys/active", tx.site.public_url)),
    }
}

/// A key with the newest of its new addresses.
fn key_fact(key: &Key, news: &News) -> String {
    let seen = news.newest.iter().take(ADDRESSES);
    let mut from: Vec<_> =
        seen.map(|address| format!("{} ({})", address.ip, calls(address))).collect();
    let more = news.total - count(from.len());
    if more > 0 {
        from.push(format!("{} more", group(more)));
    }
    format!("{}, from {}", key.grant.label, from.join(", "))
}

fn address_fact(address: &Address) -> String {
    let first = address.first_seen_at.format("%-d %b %Y, %H:%M UTC");
    format!("{}, first on {first}, {}", address.ip, calls(address))
}

fn calls(address: &Address) -> String {
    let calls = match address.calls {
        1 => "1 call".to_owned(),
        calls => format!("{} calls", group(calls)),
    };
    let denied = match address.denied {
        0 => String::new(),
        denied if denied == address.calls => ", denied".to_owned(),
        denied => format!(", {} denied", group(denied)),
    };
    calls + &denied
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
