//! The form that asks for a key: raw text in, a grant or a list of mistakes out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::addresses::AllowedIps;
use super::catalogue::{AccessType, Api, Catalogue};
use super::key::Grant;
use super::money::{AmountError, Currency, Money};
use super::text::{parse_line, parse_note};

/// Every field the form has for every API; restriction lists come on top of them by their slug.
pub const FIELDS: &[&str] = &[
    "api",
    "label",
    "contact_email",
    "system",
    "environment",
    "access_type",
    "permissions",
    "max_transaction_amount",
    "max_daily_volume",
    "allowed_ips",
    "expires_in_days",
    "justification",
];

/// What was typed, kept as it was so that the form can be shown again.
#[derive(Clone, Debug, Default)]
pub struct KeyForm {
    /// Slug of the API.
    pub api: String,
    /// What people will call the key; may be empty where the API makes one up.
    pub label: String,
    /// Who else hears about it; may be empty.
    pub contact_email: String,
    /// The site or system; may be empty where the API does not insist.
    pub system: String,
    /// `production` or `staging`.
    pub environment: String,
    /// A named permission set; may be empty.
    pub access_type: String,
    /// Slugs of the ticked permissions; none means all of the access type, where there is one.
    pub permissions: Vec<String>,
    /// Chosen values by slug of the restriction; none chosen means all.
    pub restrictions: BTreeMap<String, Vec<String>>,
    /// A decimal, thousands commas accepted; empty means no limit.
    pub max_transaction_amount: String,
    /// A decimal, thousands commas accepted; empty means no limit.
    pub max_daily_volume: String,
    /// Addresses and networks; empty means any.
    pub allowed_ips: String,
    /// Days; empty means never where the API allows it.
    pub expires_in_days: String,
    /// Why the key is needed.
    pub justification: String,
}

/// A field of the form and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name of the field; empty for the whole form.
    pub field: Cow<'static, str>,
    /// A sentence for the person.
    pub message: String,
}

impl Mistake {
    /// A mistake in this field.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Collects mistakes while the fields are read one after the other.
#[derive(Default)]
pub(super) struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, field: impl Into<Cow<'static, str>>, message: impl Into<String>) {
        self.0.push(Mistake::new(field, message));
    }

    /// The value, or nothing and one more mistake.
    pub(super) fn keep<T, E: Into<String>>(
        &mut self,
        field: &'static str,
        read: Result<T, E>,
    ) -> Option<T> {
        read.map_err(|message| self.add(field, message)).ok()
    }
}

/// Nothing if the text is blank, else what `read` makes of it.
pub(super) fn optional<T, E>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, E> {
    if text.trim().is_empty() { Ok(None) } else { read(text).map(Some) }
}

impl KeyForm {
    /// The form as it is first shown for an API, and as one press sends it.
    pub fn blank(api: &Api) -> Self {
        let all = api.permissions.iter().filter(|_| api.auto_label);
        Self {
            api: api.slug.clone(),
            environment: "production".to_owned(),
            expires_in_days: api
                .expiry
                .default_days
                .map_or_else(String::new, |days| days.to_string()),
            permissions: all.map(|permission| permission.slug.clone()).collect(),
            ..Self::default()
        }
    }

    /// Makes up a label where the API allows to leave it blank.
    pub fn name_it(&mut self, api: &Api, now: DateTime<Utc>) {
        if api.auto_label && self.label.trim().is_empty() {
            self.label = format!("{} key, {}", api.name, now.format("%-d %b %Y %H:%M:%S"));
        }
    }

    /// The grant and the justification, or every mistake at once.
    pub fn parse(
        &self,
        catalogue: &Catalogue,
        currency: Currency,
    ) -> Result<(Grant, String), Vec<Mistake>> {
        let Some(api) = catalogue.find(self.api.trim()) else {
            return Err(vec![Mistake::new("api", "Choose one of the APIs listed.")]);
        };
        let mut wrong = Mistakes::default();
        let label = wrong.keep("label", self.read_label());
        let contact_email = wrong.keep("contact_email", optional(&self.contact_email, str::parse));
        let system = wrong.keep("system", self.read_system(api));
        let environment = wrong.keep("environment", self.environment.parse());
        let access_type = wrong.keep("access_type", self.read_access_type(api));
        let access = access_type.flatten();
        let permissions = wrong.keep("permissions", self.read_permissions(api, access));
        let restrictions = self.read_restrictions(api, &mut wrong);
        let (max_transaction, max_daily) = self.read_limits(api, currency, &mut wrong);
        let allowed_ips = wrong.keep("allowed_ips", AllowedIps::parse(&self.allowed_ips));
        let expires_in_days = wrong.keep("expires_in_days", self.read_expiry(api));
        let justification = wrong.keep("justification", parse_note(&self.justification));
        let whole = || {
            let grant = Grant {
                api: api.slug.clone(),
                label: label?,
                contact_email: contact_email?,
                system: system?,
                environment: environment?,
                access_type: access.map(|access| access.slug.clone()),
                permissions: permissions?,
                restrictions,
                max_transaction,
                max_daily,
                allowed_ips: allowed_ips?,
                expires_in_days: expires_in_days?,
            };
            Some((grant, justification?))
        };
        match (wrong.0.is_empty(), whole()) {
            (true, Some(whole)) => Ok(whole),
            _ => Err(wrong.0),
        }
    }

    fn read_label(&self) -> Result<String, &'static str> {
        if self.label.trim().is_empty() { Err("Enter a label.") } else { parse_line(&self.label) }
    }

    fn read_system(&self, api: &Api) -> Result<Option<String>, String> {
        match (&api.system, self.system.trim()) {
            (Some(field), "") if field.required => Err(format!("Fill in “{}”.", field.label)),
            _ => optional(&self.system, parse_line).map_err(str::to_owned),
        }
    }

    fn read_access_type<'a>(&self, api: &'a Api) -> Result<Option<&'a AccessType>, &'static str> {
        let slug = self.access_type.trim();
        match (api.access_types.is_empty(), slug) {
            (true, "") => Ok(None),
            (true, _) => Err("This API has no access types."),
            (false, "") => Err("Choose an access type."),
            (false, _) => match api.access_type(slug) {
                Some(found) => Ok(Some(found)),
                None => Err("Choose one of the access types listed."),
            },
        }
    }

    /// The ticked permissions. An access type stands for all of its own, and never for more.
    fn read_permissions(
        &self,
        api: &Api,
        access: Option<&AccessType>,
    ) -> Result<BTreeSet<String>, String> {
        let chosen: BTreeSet<String> = self.permissions.iter().cloned().collect();
        if chosen.iter().any(|slug| api.permission(slug).is_none()) {
            return Err("Choose from the permissions listed.".to_owned());
        }
        let Some(access) = access else {
            // Where an access type is missing, that is the mistake.
            let missing = chosen.is_empty() && api.access_types.is_empty();
            return if missing {
                Err("Choose at least one permission.".to_owned())
            } else {
                Ok(chosen)
            };
        };
        let beyond = chosen.iter().find(|slug| !access.allows(slug));
        if let Some(beyond) = beyond.and_then(|slug| api.permission(slug)) {
            let (name, access) = (&beyond.name, &access.name);
            return Err(format!("“{name}” is not part of the access type {access}."));
        }
        let all = || access.permissions.iter().cloned().collect();
        Ok(if chosen.is_empty() { all() } else { chosen })
    }

    /// The chosen values; a list with none chosen is left out, which means all.
    fn read_restrictions(
        &self,
        api: &Api,
        wrong: &mut Mistakes,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut read = BTreeMap::new();
        for (slug, values) in self.restrictions.iter().filter(|(_, values)| !values.is_empty()) {
            let known = |value: &String| {
                api.restriction(slug).is_some_and(|list| list.value(value).is_some())
            };
            if values.iter().all(known) {
                read.insert(slug.clone(), values.iter().cloned().collect());
            } else {
                wrong.add(slug.clone(), "Choose from the values listed.");
            }
        }
        read
    }

    fn read_limits(
        &self,
        api: &Api,
        currency: Currency,
        wrong: &mut Mistakes,
    ) -> (Option<i64>, Option<i64>) {
        let read = |text: &str| {
            if !api.money_limits && !text.trim().is_empty() {
                return Err("This API has no money limits.");
            }
            optional(text, |text| {
                Money::parse_typed(text, currency).map(Money::minor).map_err(AmountError::sentence)
            })
        };
        let transaction =
            wrong.keep("max_transaction_amount", read(&self.max_transaction_amount)).flatten();
        let daily = wrong.keep("max_daily_volume", read(&self.max_daily_volume)).flatten();
        if let (Some(one), Some(day)) = (transaction, daily)
            && one > day
        {
            wrong.add(
                "max_transaction_amount",
                "One operation cannot be larger than the whole day.",
            );
        }
        (transaction, daily)
    }

    fn read_expiry(&self, api: &Api) -> Result<Option<i32>, String> {
        let text = self.expires_in_days.trim();
        if text.is_empty() {
            return if api.expiry.never {
                Ok(None)
            } else {
                Err("Enter the number of days.".to_owned())
            };
        }
        let range = 1..=api.expiry.max_days;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(days) if digits && range.contains(&days) => Ok(Some(days)),
            _ => Err(format!("Enter a whole number of days from 1 to {}.", api.expiry.max_days)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut KeyForm)) -> Result<(Grant, String), Vec<Cow<'static, str>>> {
        let catalogue =
            Catalogue::parse([("wallet", include_str!("../../catalogue/wallet.toml"))]).unwrap();
        let mut form = KeyForm::blank(catalogue.find("wallet").unwrap());
        form.label = "Main store".to_owned();
        form.permissions = vec!["read_balance".to_owned()];
        change(&mut form);
        form.parse(&catalogue, "NGN".parse().unwrap())
            .map_err(|wrong| wrong.into_iter().map(|mistake| mistake.field).collect())
    }

    #[test]
    fn a_blank_form_needs_only_a_label_and_a_permission() {
        let (grant, _) = read(|_| ()).unwrap();
        assert_eq!((grant.expires_in_days, grant.max_daily), (Some(365), None));
        assert!(grant.allowed_ips.is_any());
    }

    #[test]
    fn thousands_commas_are_accepted_in_their_places_only() {
        let (grant, _) = read(|f| {
            f.max_transaction_amount = "100,000".to_owned();
            f.max_daily_volume = " 1,000,000.50 ".to_owned();
        })
        .unwrap();
        assert_eq!((grant.max_transaction, grant.max_daily), (Some(10_000_000), Some(100_000_050)));
        for text in ["1,00", "1000,000", ",100", "1,000,", "1.000,00", "-5", "0", "1e5", "0.001"] {
            assert_eq!(
                read(|f| f.max_daily_volume = text.to_owned()),
                Err(vec!["max_daily_volume".into()]),
                "{text}"
            );
        }
    }

    #[test]
    fn every_mistake_is_named_at_its_field() {
        let wrong = read(|f| {
            f.label = String::new();
            f.contact_email = "nobody".to_owned();
            f.environment = "moon".to_owned();
            f.permissions = vec!["read_balance".to_owned(), "rule_the_world".to_owned()];
            f.max_transaction_amount = "10".to_owned();
            f.max_daily_volume = "5".to_owned();
            f.allowed_ips = "1.2.3.4, nonsense".to_owned();
            f.expires_in_days = String::new();
        })
        .unwrap_err();
        let all = [
            "label",
            "contact_email",
            "environment",
            "permissions",
            "max_transaction_amount",
            "allowed_ips",
            "expires_in_days",
        ];
        assert_eq!(wrong, all);
        for days in ["0", "-1", "3651", "1.5", "+7", "99999999999"] {
            assert_eq!(
                read(|f| f.expires_in_days = days.to_owned()),
                Err(vec!["expires_in_days".into()]),
                "{days}"
            );
        }
        assert_eq!(read(|f| f.permissions.clear()), Err(vec!["permissions".into()]));
        assert_eq!(read(|f| f.api = "moon".to_owned()), Err(vec!["api".into()]));
    }
}
