//! What a key was used for: a section of its page, and the same as a file.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};

use super::State;
use super::chart::{Chart, Stack};
use super::error::PageError;
use super::signed_in::SignedIn;
use super::view::{Beside, key_url};
use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::domain::money::{Currency, Money, group};
use crate::domain::usage::{Address, Outcome, hour_of, start_of_hour};
use crate::error::Error;
use crate::store::usage::Hour;
use crate::store::{Conn, addresses, keys, organisations, usage};

/// Addresses on the page of a key.
const ADDRESSES: i64 = 20;
/// For how long an address is called new.
const NEW: TimeDelta = TimeDelta::hours(24);

/// How far back usage is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub(super) enum Range {
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

impl Range {
    pub(super) const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    /// What one bar stands for.
    pub(super) fn each(self) -> &'static str {
        match self {
            Self::Day => "hour",
            Self::Week => "6 hours",
            Self::Month => "day",
        }
    }

    /// How many bars there are, and the hours of each.
    fn bars(self) -> (i64, i64) {
        match self {
            Self::Day => (24, 1),
            Self::Week => (28, 6),
            Self::Month => (30, 24),
        }
    }

    /// When it begins: the last bar is the one that `now` belongs to.
    pub(super) fn start(self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.start_of_bar(now, 0)
    }

    fn start_of_bar(self, now: DateTime<Utc>, bar: i64) -> DateTime<Utc> {
        let (bars, hours) = self.bars();
        start_of_hour((hour_of(now).div_euclid(hours) - bars + 1 + bar) * hours)
    }

    /// Where the names of times stand below the bars: in halves of a bar from the left.
    fn labels(self, starts: &[DateTime<Utc>]) -> Vec<(usize, String)> {
        let label = |(i, at): (usize, &DateTime<Utc>)| match self {
            Self::Day => (at.hour() % 6 == 0).then(|| (2 * i + 1, at.format("%H:%M").to_string())),
            // In the middle of its day.
            Self::Week => (at.hour() == 12).then(|| (2 * i, at.format("%a").to_string())),
            Self::Month => (i % 7 == 4).then(|| (2 * i + 1, at.format("%-d %b").to_string())),
        };
        starts.iter().enumerate().filter_map(label).collect()
    }

    fn time(self, at: DateTime<Utc>) -> String {
        let form = if self == Self::Month { "%a %-d %b" } else { "%a %-d %b, %H:%M" };
        at.format(form).to_string()
    }
}

/// The section *Usage* of a key's page.
pub(super) struct UsageSection {
    pub(super) url: String,
    pub(super) range: Range,
    pub(super) chart: Chart,
    pub(super) rows: Vec<Bucket>,
    pub(super) sum: Sum,
    /// Without the currency; none for keys that cannot move any.
    pub(super) moved: Option<String>,
    pub(super) reasons: Vec<Share>,
    pub(super) endpoints: Vec<Share>,
    pub(super) addresses: Vec<AddressRow>,
    pub(super) more_addresses: i64,
}

/// Calls of one bar, for the table.
pub(super) struct Bucket {
    pub(super) at: DateTime<Utc>,
    pub(super) time: String,
    pub(super) sum: Sum,
    /// Without the currency; empty for nothing.
    pub(super) moved: String,
}

/// How many calls, and what they moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) allowed: i64,
    pub(super) denied: i64,
    amount: i64,
}

impl Sum {
    fn add(&mut self, hour: &Hour) {
        let count =
            if hour.outcome == Outcome::Allowed { &mut self.allowed } else { &mut self.denied };
        *count = count.saturating_add(hour.calls);
        self.amount = self.amount.saturating_add(hour.amount);
    }

    pub(super) fn calls(&self) -> i64 {
        self.allowed.saturating_add(self.denied)
    }
}

/// A part of all calls.
pub(super) struct Share {
    pub(super) name: String,
    pub(super) calls: i64,
    pub(super) denied: i64,
    /// Of the largest part, in percent.
    pub(super) allowed_percent: i64,
    pub(super) denied_percent: i64,
}

/// An address the key was used from.
pub(super) struct AddressRow {
    pub(super) address: Address,
    pub(super) is_new: bool,
}

impl UsageSection {
    pub(super) fn load(
        conn: &mut Conn,
        key: &Key,
        range: Range,
        beside: &Beside<'_>,
    ) -> Result<Self, Error> {
        let now = beside.now;
        let hours = usage::list_hours(conn, &key.id, range.start(now))?;
        let listed = addresses::list(conn, &key.id, ADDRESSES)?;
        let more_addresses = match i64::try_from(listed.len()) {
            Ok(ADDRESSES) => addresses::count(conn, &key.id)? - ADDRESSES,
            _ => 0,
        };
        let address = |address: Address| {
            let is_new = now - address.first_seen_at < NEW;
            AddressRow { address, is_new }
        };
        let mut sum = Sum::default();
        for hour in &hours {
            sum.add(hour);
        }
        let rows = buckets(range, &hours, beside);
        let api = beside.catalogue.find(&key.grant.api);
        let can_move = api.is_some_and(|api| {
            let mut all = key.grant.permissions.iter().filter_map(|slug| api.permission(slug));
            all.any(|permission| permission.moves_money)
        });
        let moved = short(sum.amount, beside.currency);
        let denied = hours.iter().filter(|hour| hour.outcome != Outcome::Allowed);
        Ok(Self {
            url: key_url(key),
            range,
            chart: chart(range, &rows),
            rows,
            sum,
            moved: (can_move || sum.amount > 0).then_some(moved),
            reasons: shares(denied, |hour| hour.outcome.words()),
            endpoints: shares(hours.iter(), |hour| &hour.endpoint),
            addresses: listed.into_iter().map(address).collect(),
            more_addresses,
        })
    }

    /// The chart in a sentence, for those who do not see it.
    pub(super) fn summary(&self) -> String {
        let busiest = self.rows.iter().max_by_key(|row| row.sum.calls());
        let most = busiest.map_or_else(String::new, |row| {
            format!(" The most in one bar: {}, from {} UTC.", group(row.sum.calls()), row.time)
        });
        format!("{} allowed, {} denied.{most}", group(self.sum.allowed), group(self.sum.denied))
    }
}

fn buckets(range: Range, hours: &[Hour], beside: &Beside<'_>) -> Vec<Bucket> {
    let (bars, _) = range.bars();
    let mut sums = BTreeMap::new();
    for bar in 0..bars {
        sums.insert(range.start_of_bar(beside.now, bar), Sum::default());
    }
    for hour in hours {
        if let Some((_, sum)) = sums.range_mut(..=hour.at).next_back() {
            sum.add(hour);
        }
    }
    let bucket = |(at, sum): (DateTime<Utc>, Sum)| {
        let moved = short(sum.amount, beside.currency);
        let moved = if sum.amount > 0 { moved } else { String::new() };
        Bucket { at, time: range.time(at), sum, moved }
    };
    sums.into_iter().map(bucket).collect()
}

/// An amount without its currency, which stands beside it.
fn short(minor: i64, currency: Currency) -> String {
    let text = Money::from_minor(minor, currency).to_string();
    text.trim_start_matches(currency.as_str()).trim_start().to_owned()
}

fn chart(range: Range, rows: &[Bucket]) -> Chart {
    let stack = |row: &Bucket| Stack {
        allowed: row.sum.allowed,
        denied: row.sum.denied,
        tip: format!(
            "{}: {} allowed, {} denied",
            row.time,
            group(row.sum.allowed),
            group(row.sum.denied)
        ),
    };
    let starts: Vec<_> = rows.iter().map(|row| row.at).collect();
    Chart::new(rows.iter().map(stack).collect(), range.labels(&starts))
}

/// Calls by something they have in common, most first.
fn shares<'a>(
    hours: impl Iterator<Item = &'a Hour>,
    name: impl Fn(&'a Hour) -> &'a str,
) -> Vec<Share> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    hours.for_each(|hour| sums.entry(name(hour)).or_default().add(hour));
    let most = sums.values().map(Sum::calls).max().unwrap_or(0).max(1);
    let mut shares: Vec<_> = sums
        .into_iter()
        .map(|(name, sum)| Share {
            name: name.to_owned(),
            calls: sum.calls(),
            denied: sum.denied,
            allowed_percent: sum.allowed.saturating_mul(100) / most,
            denied_percent: sum.denied.saturating_mul(100) / most,
        })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.calls));
    shares
}

#[derive(serde::Deserialize)]
pub(super) struct CsvQuery {
    range: Option<Range>,
}

/// `GET /settings/api-keys/{key}/usage.csv`
pub(super) async fn csv(
    state: Data<State>,
    me: SignedIn,
    id: Path<String>,
    query: Query<CsvQuery>,
) -> Result<HttpResponse, PageError> {
    let id: KeyId = id.parse().map_err(|_| Error::NotFound)?;
    let (range, organisation) = (query.range.unwrap_or_default(), me.actor.organisation().clone());
    let (label, currency, hours) = state
        .db
        .read(move |conn| {
            let key = keys::get(conn, &organisation, &id)?;
            let currency = organisations::get(conn, &organisation)?.currency;
            let hours = usage::list_hours(conn, &id, range.start(me.now))?;
            Ok((key.grant.label, currency, hours))
        })
        .await?;
    let name = file_name(&label, range);
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(file(&label, currency, &hours)))
}

/// `usage-main-store-7d.csv`: of the label only what is safe in a header and on every disk.
fn file_name(label: &str, range: Range) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
    let name: String = words.join("-").chars().take(60).collect();
    format!("usage-{}-{}.csv", if name.is_empty() { "key" } else { &name }, range.slug())
}

fn file(label: &str, currency: Currency, hours: &[Hour]) -> String {
    let mut lines = vec!["key,hour,endpoint,outcome,calls,amount,currency\r\n".to_owned()];
    lines.extend(hours.iter().map(|hour| {
        format!(
            "{},{},{},{},{},{},{}\r\n",
            field(label),
            hour.at.format("%Y-%m-%dT%H:%M:%SZ"),
            field(&hour.endpoint),
            hour.outcome.as_str(),
            hour.calls,
            Money::from_minor(hour.amount, currency).plain(),
            currency
        )
    }));
    lines.concat()
}

/// A text as a field of RFC 4180. One that a spreadsheet would take for a formula is made a text.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bar_is_the_one_that_now_belongs_to() {
        let now: DateTime<Utc> = "2026-03-02T09:30:00Z".parse().unwrap();
        for (range, first, last) in [
            (Range::Day, "2026-03-01T10:00:00Z", "2026-03-02T09:00:00Z"),
            (Range::Week, "2026-02-23T12:00:00Z", "2026-03-02T06:00:00Z"),
            (Range::Month, "2026-02-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ] {
            let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
            assert_eq!(range.start(now), at(first));
            assert_eq!(range.start_of_bar(now, range.bars().0 - 1), at(last));
        }
    }

    #[test]
    fn fields_are_quoted_and_no_field_is_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2,3", "\"'-2,3\""),
            ("\t=1", "'\t=1"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(field(text), expected);
        }
    }

    #[test]
    fn a_file_has_a_name_that_fits_into_a_header() {
        assert_eq!(file_name("Main Store \"é\"\r\n", Range::Week), "usage-main-store-7d.csv");
        assert_eq!(file_name("漢字", Range::Day), "usage-key-24h.csv");
    }
}
