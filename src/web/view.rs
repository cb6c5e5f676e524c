//! How domain things look on pages: badges, and a grant in words.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::catalogue::{Api, Catalogue};
use crate::domain::id::MemberId;
use crate::domain::key::{Grant, Key, KeyStatus, Secret};
use crate::domain::money::{Currency, Money, group};
use crate::domain::operation::OperationStatus;
use crate::domain::request::{Request, RequestState};
use crate::domain::risk::{self, Risk};
use crate::domain::usage::Usage;
use crate::error::Error;
use crate::store::requests::COUNTED;
use crate::store::{Conn, members};

/// The names of the members a page mentions.
pub(super) struct Names(HashMap<MemberId, String>);

impl Names {
    pub(super) fn load<'a>(
        conn: &mut Conn,
        ids: impl IntoIterator<Item = &'a MemberId>,
    ) -> Result<Self, Error> {
        let ids: Vec<_> = ids.into_iter().collect();
        Ok(Self(members::names(conn, &ids)?.into_iter().collect()))
    }

    pub(super) fn of(&self, id: &MemberId) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| "somebody".to_owned())
    }
}

/// A state as an icon and a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Badge {
    /// The class `badge-…`.
    pub(super) class: &'static str,
    pub(super) icon: &'static str,
    pub(super) word: &'static str,
}

impl From<KeyStatus> for Badge {
    fn from(status: KeyStatus) -> Self {
        let (icon, word) = match status {
            KeyStatus::Approved => ("check", "Approved"),
            KeyStatus::Active => ("check-circle", "Active"),
            KeyStatus::Suspended => ("pause", "Suspended"),
            KeyStatus::Expired => ("hourglass", "Expired"),
            KeyStatus::Revoked => ("ban", "Revoked"),
        };
        Self { class: status.name(), icon, word }
    }
}

impl From<RequestState> for Badge {
    fn from(state: RequestState) -> Self {
        let (icon, word) = match state {
            RequestState::Pending => ("clock", "Pending"),
            RequestState::Approved => ("check", "Approved"),
            RequestState::Rejected => ("x-circle", "Rejected"),
            RequestState::Withdrawn => ("undo", "Withdrawn"),
            RequestState::Expired => ("hourglass", "Expired"),
            RequestState::Void => ("undo", "Void"),
        };
        Self { class: state.name(), icon, word }
    }
}

impl From<OperationStatus> for Badge {
    fn from(status: OperationStatus) -> Self {
        let (icon, word) = match status {
            OperationStatus::Pending => ("clock", "Pending"),
            OperationStatus::Completed => ("check-circle", "Completed"),
            OperationStatus::Failed => ("alert", "Failed"),
            OperationStatus::Rejected => ("x-circle", "Rejected"),
        };
        Self { class: status.as_str(), icon, word }
    }
}

/// One permission as a tag.
pub(super) struct PermissionTag {
    slug: String,
    pub(super) name: String,
    pub(super) moves_money: bool,
}

/// A restriction of the API and what a grant leaves of it.
pub(super) struct RestrictionView {
    pub(super) name: String,
    /// Empty means all.
    pub(super) values: Vec<String>,
}

/// A call as the catalogue publishes it.
pub(super) struct Endpoint<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) permission: &'a str,
}

/// The calls of an API that the allowed permissions open.
pub(super) fn endpoints(api: &Api, allowed: impl Fn(&str) -> bool) -> Vec<Endpoint<'_>> {
    let open = api.routes.iter().filter(|route| allowed(&route.permission));
    let shown = open.map(|route| Endpoint {
        method: &route.method,
        path: &route.path,
        permission: api.permission(&route.permission).map_or("", |found| &found.name),
    });
    shown.collect()
}

/// A grant in words, for lists, the review page and the key page.
pub(super) struct GrantView {
    pub(super) label: String,
    pub(super) api: String,
    /// Its entry, unless the catalogue has dropped it since.
    entry: Option<Arc<Api>>,
    pub(super) system_label: String,
    pub(super) system: Option<String>,
    pub(super) environment: &'static str,
    pub(super) contact: Option<String>,
    pub(super) access_type: Option<String>,
    pub(super) permissions: Vec<PermissionTag>,
    pub(super) restrictions: Vec<RestrictionView>,
    pub(super) moves_money: bool,
    /// Whether limits on money mean anything for it.
    pub(super) money_limits: bool,
    /// With the currency; none means no limit.
    pub(super) per_transaction: Option<String>,
    pub(super) per_day: Option<String>,
    /// Without the currency, for columns that name it.
    pub(super) per_transaction_short: Option<String>,
    pub(super) per_day_short: Option<String>,
    /// Empty means any.
    pub(super) addresses: Vec<String>,
    pub(super) days: Option<i32>,
    pub(super) risks: Vec<Risk>,
}

impl GrantView {
    pub(super) fn new(grant: &Grant, catalogue: &Catalogue, currency: Currency) -> Self {
        let api = catalogue.find(&grant.api);
        let tag = |slug: &String| {
            let known = api.and_then(|api| api.permission(slug));
            PermissionTag {
                slug: slug.clone(),
                name: known.map_or_else(|| slug.clone(), |permission| permission.name.clone()),
                moves_money: known.is_some_and(|permission| permission.moves_money),
            }
        };
        // In the order of the catalogue, which goes from harmless to powerful.
        let rank =
            |slug: &String| api.map(|api| api.permissions.iter().position(|p| p.slug == **slug));
        let mut slugs: Vec<_> = grant.permissions.iter().collect();
        slugs.sort_by_key(|slug| rank(slug));
        let permissions: Vec<_> = slugs.into_iter().map(tag).collect();
        let money =
            |minor: Option<i64>| minor.map(|minor| Money::from_minor(minor, currency).to_string());
        let short = |minor: Option<i64>| {
            money(minor)
                .map(|text| text.trim_start_matches(currency.as_str()).trim_start().to_owned())
        };
        Self {
            label: grant.label.clone(),
            api: api.map_or_else(|| grant.api.clone(), |api| api.name.clone()),
            entry: api.cloned(),
            system_label: api
                .and_then(|api| api.system.as_ref())
                .map_or_else(|| "System".to_owned(), |field| field.label.clone()),
            system: grant.system.clone(),
            environment: grant.environment.as_str(),
            contact: grant.contact_email.as_ref().map(ToString::to_string),
            access_type: grant.access_type.as_ref().map(|slug| {
                let known = api.and_then(|api| api.access_type(slug));
                known.map_or_else(|| slug.clone(), |access| access.name.clone())
            }),
            restrictions: restrictions(grant, api),
            money_limits: api.is_none_or(|api| api.money_limits),
            moves_money: permissions.iter().any(|tag| tag.moves_money),
            permissions,
            per_transaction: money(grant.max_transaction),
            per_day: money(grant.max_daily),
            per_transaction_short: short(grant.max_transaction),
            per_day_short: short(grant.max_daily),
            addresses: grant.allowed_ips.entries(),
            days: grant.expires_in_days,
            risks: risk::hints(grant, catalogue),
        }
    }

    /// The calls of the catalogue that it opens.
    pub(super) fn endpoints(&self) -> Vec<Endpoint<'_>> {
        let allowed = |slug: &str| self.permissions.iter().any(|tag| tag.slug == slug);
        self.entry.as_ref().map_or_else(Vec::new, |api| endpoints(api, allowed))
    }

    /// Where it is used: `Gateway, production`.
    pub(super) fn place(&self) -> String {
        match &self.system {
            Some(system) => format!("{system}, {}", self.environment),
            None => self.environment.to_owned(),
        }
    }
}

/// Every restriction of the API, and those of the grant that the catalogue has dropped since.
fn restrictions(grant: &Grant, api: Option<&Arc<Api>>) -> Vec<RestrictionView> {
    let lists = api.map_or(&[][..], |api| &api.restrictions);
    let known = lists.iter().map(|list| {
        let chosen = grant.restrictions.get(&list.slug).into_iter().flatten();
        let name =
            |slug: &String| list.value(slug).map_or_else(|| slug.clone(), |v| v.name.clone());
        RestrictionView { name: list.name.clone(), values: chosen.map(name).collect() }
    });
    let is_known = |slug: &String| lists.iter().any(|list| list.slug == *slug);
    let dropped = grant.restrictions.iter().filter(|(slug, _)| !is_known(slug));
    let dropped = dropped.map(|(slug, values)| RestrictionView {
        name: slug.clone(),
        values: values.iter().cloned().collect(),
    });
    known.chain(dropped).collect()
}

/// A key as a row of a list and the head of its page.
pub(super) struct KeyView {
    pub(super) url: String,
    pub(super) badge: Badge,
    pub(super) grant: GrantView,
    /// `uwk_…a1B2`; none before the first reveal.
    pub(super) masked: Option<String>,
    pub(super) maker: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) usage: Usage,
    /// Calls in the last 24 hours, and how many of them were denied; where a list shows them.
    pub(super) day: (i64, i64),
    pub(super) revoked: Option<Revoked>,
}

/// When, by whom and why a key was revoked.
pub(super) struct Revoked {
    pub(super) at: DateTime<Utc>,
    pub(super) by: String,
    pub(super) reason: String,
}

/// What a [`KeyView`] is made of beside the key.
pub(super) struct Beside<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) currency: Currency,
    pub(super) now: DateTime<Utc>,
    pub(super) names: &'a Names,
}

impl KeyView {
    /// `secrets` are those of this key, in the order of the store.
    pub(super) fn new(key: &Key, secrets: &[&Secret], usage: Usage, beside: &Beside<'_>) -> Self {
        use crate::domain::key::KeyState;
        let prefix = beside.catalogue.find(&key.grant.api).map_or("key", |api| api.prefix.as_str());
        let revoked = match &key.state {
            KeyState::Revoked { at, by, reason } => Some(Revoked {
                at: *at,
                by: by
                    .as_ref()
                    .map_or_else(|| "the key itself".to_owned(), |by| beside.names.of(by)),
                reason: reason.clone(),
            }),
            KeyState::Approved | KeyState::Active | KeyState::Suspended => None,
        };
        Self {
            url: key_url(key),
            badge: key.status(beside.now).into(),
            grant: GrantView::new(&key.grant, beside.catalogue, beside.currency),
            masked: secrets.first().map(|secret| format!("{prefix}_…{}", secret.last_four)),
            maker: beside.names.of(&key.maker_id),
            created_at: key.created_at,
            expires_at: key.expires_at,
            usage,
            day: (0, 0),
            revoked,
        }
    }
}

impl KeyView {
    /// `128 calls in 24 h, 3 denied`; nothing if there were none.
    pub(super) fn day_in_words(&self) -> Option<String> {
        let (calls, denied) = self.day;
        let word = if calls == 1 { "call" } else { "calls" };
        let denied = (denied > 0).then(|| format!(", {} denied", group(denied)));
        let words = format!("{} {word} in 24 h{}", group(calls), denied.unwrap_or_default());
        (calls > 0).then_some(words)
    }
}

/// The address of a key's page.
pub(super) fn key_url(key: &Key) -> String {
    format!("/settings/api-keys/{}", key.id)
}

/// The address of a request's page.
pub(super) fn request_url(request: &Request) -> String {
    format!("/requests/{}", request.id)
}

/// A page of a long list: which one, and whether there are more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pager {
    pub(super) page: i64,
    /// How many pages there are, if the rows were counted to their end.
    pub(super) pages: Option<i64>,
}

/// Further than this nobody turns pages.
const PAGES: i64 = 100_000;

/// Rows on one page of a list.
pub(super) const ROWS: i64 = 50;

impl Pager {
    /// The pager for a list of `total` rows that was asked for page `asked`.
    pub(super) fn new(asked: Option<i64>, total: i64) -> Self {
        let pages = (total + ROWS - 1).div_euclid(ROWS).max(1);
        let pages = (total <= COUNTED).then_some(pages);
        Self { page: asked.unwrap_or(1).clamp(1, pages.unwrap_or(PAGES)), pages }
    }

    pub(super) fn offset(self) -> i64 {
        (self.page - 1) * ROWS
    }

    pub(super) fn previous(self) -> Option<i64> {
        (self.page > 1).then_some(self.page - 1)
    }

    pub(super) fn next(self) -> Option<i64> {
        (self.page < self.pages.unwrap_or(PAGES)).then_some(self.page + 1)
    }
}
