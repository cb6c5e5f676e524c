//! An organisation: who owns keys and money.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};

use super::id::OrganisationId;
use super::money::Currency;

/// An organisation; in the wallet API it is the *distributor*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id, the `distributorID` of the wallet API.
    pub id: OrganisationId,
    /// Its name.
    pub name: String,
    /// The currency of its wallet and of the limits of its keys.
    pub currency: Currency,
    /// The number others send money to.
    pub short_code: String,
    /// Where its calendar day begins and ends.
    pub time_zone: chrono_tz::Tz,
    /// How many checkers must approve a request.
    pub approvals_needed: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

impl Organisation {
    /// Its calendar day at some moment.
    pub fn day(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.time_zone).date_naive()
    }

    /// When one of its calendar days begins: a little later where the clocks jump over midnight.
    pub fn start_of(&self, day: NaiveDate) -> DateTime<Utc> {
        let midnight = day.and_time(NaiveTime::MIN);
        let at = |hours| {
            let local = midnight.checked_add_signed(TimeDelta::hours(hours))?;
            self.time_zone.from_local_datetime(&local).earliest()
        };
        (0..=3).find_map(at).map_or_else(|| midnight.and_utc(), |begin| begin.to_utc())
    }

    /// Its name as machines send it: lower case, everything but letters and digits turned into
    /// single dashes.
    pub fn account_name(&self) -> String {
        let lower = self.name.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Organisation {
        Organisation {
            id: OrganisationId::new(uuid::Uuid::from_u128(1)),
            name: name.to_owned(),
            currency: "NGN".parse().unwrap(),
            short_code: "1".to_owned(),
            time_zone: chrono_tz::UTC,
            approvals_needed: 1,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_day_begins_where_the_organisation_is() {
        for (zone, day, begins) in [
            ("Africa/Lagos", "2026-03-02", "2026-03-01T23:00:00Z"),
            ("America/New_York", "2026-07-01", "2026-07-01T04:00:00Z"),
            // The clocks jump from midnight to one.
            ("America/Asuncion", "2023-10-01", "2023-10-01T04:00:00Z"),
        ] {
            let there = Organisation { time_zone: zone.parse().unwrap(), ..named("X") };
            let begin = there.start_of(day.parse().unwrap());
            assert_eq!(begin, begins.parse::<DateTime<Utc>>().unwrap(), "{zone}");
            assert_eq!(there.day(begin).to_string(), day);
        }
    }

    #[test]
    fn an_account_name_is_lower_case_with_single_dashes() {
        for (name, account) in [
            ("Demo Distributor", "demo-distributor"),
            ("  A & B  (Lagos) Ltd. ", "a-b-lagos-ltd"),
            ("Žluťoučký 2", "žluťoučký-2"),
            ("--", ""),
        ] {
            assert_eq!(named(name).account_name(), account);
        }
    }
}
