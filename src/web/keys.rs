//! Settings → API keys: the lists, the request form, and a key's own page.

mod check;
mod form;
mod show;

pub(super) use check::show as check;
pub(super) use form::{form, submit};
pub(super) use show::{confirm, reveal, revoke, show_or_list as show};

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};

use super::State;
use super::error::PageError;
use super::outer::see_other;
use super::page::{Frame, Nav, html_after_flash};
use super::signed_in::SignedIn;
use super::usage::Range;
use super::view::{Badge, Beside, GrantView, KeyView, Names, Pager, ROWS, request_url};
use crate::domain::catalogue::{Api, Catalogue};
use crate::domain::id::{KeyId, MemberId};
use crate::domain::key::{Key, Secret};
use crate::domain::request::{Request, RequestState};
use crate::domain::usage::Usage;
use crate::error::Error;
use crate::store::{Conn, keys, requests, secrets, usage};

/// A tab of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Pending,
    Active,
    Expired,
    Revoked,
    Rejected,
}

impl Tab {
    const ALL: [Self; 5] =
        [Self::Pending, Self::Active, Self::Expired, Self::Revoked, Self::Rejected];

    fn slug(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Rejected => "rejected",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Expired => "Expired",
            Self::Revoked => "Revoked",
            Self::Rejected => "Rejected",
        }
    }

    fn find(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tab| tab.slug() == slug)
    }

    /// Which keys it shows, if it shows keys.
    fn keys(self) -> Option<keys::Listed> {
        match self {
            Self::Active => Some(keys::Listed::Live),
            Self::Expired => Some(keys::Listed::Expired),
            Self::Revoked => Some(keys::Listed::Revoked),
            Self::Pending | Self::Rejected => None,
        }
    }

    /// Which requests it shows, if it shows requests.
    fn requests(self) -> Option<RequestState> {
        match self {
            Self::Pending => Some(RequestState::Pending),
            Self::Rejected => Some(RequestState::Rejected),
            Self::Active | Self::Expired | Self::Revoked => None,
        }
    }
}

#[derive(Template)]
#[template(path = "keys/list.html")]
struct ListPage {
    frame: Frame,
    tab: Tab,
    counts: Vec<(Tab, i64)>,
    keys: Vec<KeyView>,
    requests: Vec<RequestRow>,
    pager: Pager,
    /// Every API, to narrow the list to one.
    apis: Vec<Arc<Api>>,
    /// The one it is narrowed to.
    api: Option<String>,
}

impl ListPage {
    /// The address of a tab, narrowed to the same API.
    fn url(&self, tab: Tab) -> String {
        let url = format!("/settings/api-keys/{}", tab.slug());
        self.api.as_ref().map_or_else(|| url.clone(), |api| format!("{url}?api={api}"))
    }

    /// The address that ends where the number of a page goes.
    fn page_url(&self) -> String {
        let url = self.url(self.tab);
        format!("{url}{}page=", if url.contains('?') { '&' } else { '?' })
    }

    /// True if the list is narrowed to this API.
    fn is_narrowed_to(&self, slug: &str) -> bool {
        self.api.as_deref() == Some(slug)
    }

    /// Where the form starts: at the API the list is narrowed to.
    fn new_url(&self) -> String {
        let api = self.api.as_ref().map(|api| format!("?api={api}")).unwrap_or_default();
        format!("/settings/api-keys/new{api}")
    }
}

#[derive(serde::Deserialize)]
pub(super) struct ListQuery {
    page: Option<i64>,
    api: Option<String>,
    /// What the usage of a single key is shown for.
    range: Option<Range>,
}

/// A request as a row of the tabs *pending* and *rejected*.
struct RequestRow {
    url: String,
    badge: Badge,
    grant: GrantView,
    maker: String,
    own: bool,
    created_at: DateTime<Utc>,
    /// Who rejected it, when and why.
    rejected: Option<(String, DateTime<Utc>, String)>,
}

/// `GET /settings/api-keys`
pub(super) async fn index(me: SignedIn) -> HttpResponse {
    drop(me);
    std::future::ready(see_other("/settings/api-keys/active")).await
}

/// `GET /settings/api-keys/{tab}`
async fn list(
    state: &Data<State>,
    me: SignedIn,
    tab: Tab,
    ListQuery { page, api, .. }: ListQuery,
) -> Result<HttpResponse, PageError> {
    let flash = me.flash;
    let catalogue = state.db.site().catalogue.clone();
    let api = api.filter(|slug| !slug.is_empty());
    if api.as_ref().is_some_and(|slug| catalogue.find(slug).is_none()) {
        return Err(Error::NotFound.into());
    }
    let page = state
        .db
        .read(move |conn| {
            let frame = Frame::load(conn, &me, Nav::Keys)?;
            let counts =
                Tab::ALL.into_iter().map(|tab| Ok((tab, count(conn, &me, (tab, api.as_deref()))?)));
            let counts = counts.collect::<Result<Vec<_>, Error>>()?;
            let total = counts.iter().find(|(other, _)| *other == tab).map_or(0, |(_, n)| *n);
            let pager = Pager::new(page, total);
            let beside = (&catalogue, frame.organisation.currency);
            let keys = match tab.keys() {
                Some(which) => key_rows(conn, &me, (which, api.as_deref(), pager), beside)?,
                None => Vec::new(),
            };
            let requests = match tab.requests() {
                Some(state) => request_rows(conn, &me, (state, api.as_deref(), pager), beside)?,
                None => Vec::new(),
            };
            let apis = catalogue.list().to_vec();
            Ok(ListPage { frame, tab, counts, keys, requests, pager, apis, api })
        })
        .await?;
    Ok(html_after_flash(&page, flash))
}

fn count(conn: &mut Conn, me: &SignedIn, (tab, api): (Tab, Option<&str>)) -> Result<i64, Error> {
    let organisation = me.actor.organisation();
    match (tab.keys(), tab.requests()) {
        (Some(which), _) => {
            let filter = keys::Filter { api, ..keys::Filter::of(which, me.now) };
            keys::count(conn, organisation, filter)
        }
        (None, Some(state)) => requests::count(conn, organisation, of_keys(&[state], api)),
        (None, None) => Ok(0),
    }
}

fn of_keys<'a>(states: &'a [RequestState], api: Option<&'a str>) -> requests::Filter<'a> {
    requests::Filter { states, kind: Some("issue_key"), api, ..requests::Filter::default() }
}

type Site<'a> = (&'a Catalogue, crate::domain::money::Currency);

fn key_rows(
    conn: &mut Conn,
    me: &SignedIn,
    (which, api, pager): (keys::Listed, Option<&str>, Pager),
    (catalogue, currency): Site<'_>,
) -> Result<Vec<KeyView>, Error> {
    let filter = keys::Filter { api, ..keys::Filter::of(which, me.now) };
    let found = keys::list(conn, me.actor.organisation(), filter, (pager.offset(), ROWS))?;
    let ids: Vec<&KeyId> = found.iter().map(|key| &key.id).collect();
    let secrets = secrets::of_keys(conn, &ids)?;
    let usage = usage::list(conn, &ids)?;
    let day = usage::list_calls_since(conn, &ids, Range::Day.start(me.now))?;
    let names = Names::load(conn, found.iter().flat_map(people))?;
    let beside = Beside { catalogue, currency, now: me.now, names: &names };
    let view = |key: &Key| {
        let own: Vec<&Secret> = secrets.iter().filter(|secret| secret.key_id == key.id).collect();
        let used = usage
            .iter()
            .find(|(id, _)| *id == key.id)
            .map_or_else(Usage::default, |(_, usage)| usage.clone());
        let day = day.iter().find(|(id, ..)| *id == key.id);
        let day = day.map_or((0, 0), |(_, calls, denied)| (*calls, *denied));
        KeyView { day, ..KeyView::new(key, &own, used, &beside) }
    };
    Ok(found.iter().map(view).collect())
}

fn request_rows(
    conn: &mut Conn,
    me: &SignedIn,
    (state, api, pager): (RequestState, Option<&str>, Pager),
    (catalogue, currency): Site<'_>,
) -> Result<Vec<RequestRow>, Error> {
    let filter = requests::Filter {
        newest_first: state != RequestState::Pending,
        offset: pager.offset(),
        limit: ROWS,
        ..of_keys(std::slice::from_ref(&state), api)
    };
    let found = requests::list(conn, me.actor.organisation(), filter)?;
    let ids: Vec<_> = found.iter().map(|request| &request.id).collect();
    let decisions = requests::list_decisions(conn, &ids)?;
    let checkers = decisions.iter().map(|decision| &decision.checker_id);
    let names = Names::load(conn, found.iter().map(|request| &request.maker_id).chain(checkers))?;
    let view = |request: &Request| {
        let last = decisions.iter().rfind(|decision| decision.request_id == request.id);
        Some(RequestRow {
            url: request_url(request),
            badge: request.state.into(),
            grant: GrantView::new(request.payload.grant()?, catalogue, currency),
            maker: names.of(&request.maker_id),
            own: request.maker_id == *me.actor.id(),
            created_at: request.created_at,
            rejected: last.filter(|_| request.state == RequestState::Rejected).map(|decision| {
                (names.of(&decision.checker_id), decision.at, decision.comment.clone())
            }),
        })
    };
    Ok(found.iter().filter_map(view).collect())
}

/// The members a key names.
fn people(key: &Key) -> Vec<&MemberId> {
    let revoker = match &key.state {
        crate::domain::key::KeyState::Revoked { by, .. } => by.as_ref(),
        _ => None,
    };
    std::iter::once(&key.maker_id).chain(revoker).collect()
}
