//! Operations: the history of movements of money, and the form that asks for one.

mod form;
pub(super) mod review;

pub(super) use form::{form, submit};

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};

use super::State;
use super::error::PageError;
use super::page::{Frame, Nav, html_after_flash};
use super::signed_in::SignedIn;
use super::view::{Badge, Names, Pager, ROWS};
use crate::domain::id::KeyId;
use crate::domain::money::{Currency, Money};
use crate::domain::movement::OperationKind;
use crate::domain::operation::{Operation, OperationStatus};
use crate::domain::organisation::Organisation;
use crate::error::Error;
use crate::store::history::Asker;
use crate::store::operations::{Filter, Total};
use crate::store::{Conn, history, operations, wallets};

/// The longest text that is searched for, in characters.
const TEXT_MAX: usize = 100;

#[derive(Template)]
#[template(path = "operations/list.html")]
struct ListPage {
    frame: Frame,
    balance: Money,
    tabs: Vec<Tab>,
    totals: Vec<(OperationStatus, Badge, Total, String)>,
    rows: Vec<Row>,
    pager: Pager,
    /// Where the pages are, up to the number.
    pager_url: String,
    asked: Asked,
}

/// A tab: everything, or one status.
struct Tab {
    name: &'static str,
    url: String,
    count: i64,
    current: bool,
}

/// An operation as a row of a list.
pub(super) struct Row {
    pub(super) url: String,
    pub(super) kind: &'static str,
    /// With a sign, seen from the organisation's wallet.
    pub(super) amount: String,
    pub(super) other: String,
    /// The phone number or short code of the other side.
    pub(super) other_code: String,
    pub(super) memo: Option<String>,
    pub(super) maker: String,
    /// Page and label of the key it came through.
    pub(super) key: Option<(String, String)>,
    pub(super) badge: Badge,
    pub(super) last_error: Option<String>,
    pub(super) at: DateTime<Utc>,
}

#[derive(serde::Deserialize)]
pub(super) struct ListQuery {
    state: Option<String>,
    kind: Option<String>,
    q: Option<String>,
    from: Option<String>,
    to: Option<String>,
    page: Option<i64>,
}

/// What was asked of the list, as it was typed, and what it means.
#[derive(Clone, Default)]
struct Asked {
    state: Option<OperationStatus>,
    kind: Option<OperationKind>,
    text: String,
    from: String,
    to: String,
    from_mistake: Option<&'static str>,
    to_mistake: Option<&'static str>,
    filter: Filter,
}

impl Asked {
    fn read(query: &ListQuery, organisation: &Organisation) -> Self {
        let typed = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
        let text: String = typed(&query.q).chars().take(TEXT_MAX).collect();
        let (from, to) = (typed(&query.from), typed(&query.to));
        let state = query.state.as_deref().and_then(|state| state.parse().ok());
        let kind: Option<OperationKind> = query.kind.as_deref().and_then(|kind| kind.parse().ok());
        let (first, from_mistake) = day(&from);
        let (last, mut to_mistake) = day(&to);
        if first.zip(last).is_some_and(|(first, last)| last < first) {
            to_mistake = Some("This day is before the first one.");
        }
        // The last day counts too: up to where the next one begins.
        let next = last.and_then(|last| last.succ_opt());
        let filter = Filter {
            status: None,
            kind: kind.map(OperationKind::as_str),
            since: first.map(|day| organisation.start_of(day)),
            until: next.map(|day| organisation.start_of(day)),
            text: Some(text.clone()).filter(|text| !text.is_empty()),
        };
        Self { state, kind, text, from, to, from_mistake, to_mistake, filter }
    }

    /// True if less than everything is shown, whatever the tab.
    fn is_narrowed(&self) -> bool {
        self.kind.is_some()
            || [&self.text, &self.from, &self.to].iter().any(|text| !text.is_empty())
    }

    /// True if an operation kind is the chosen one.
    fn is_kind(&self, kind: OperationKind) -> bool {
        self.kind == Some(kind)
    }

    /// The word of the chosen status; empty for all.
    fn state_word(&self) -> &'static str {
        self.state.map_or("", OperationStatus::as_str)
    }

    /// The address of the list with this status and the same filters.
    fn url(&self, state: Option<OperationStatus>) -> String {
        let fields = [
            ("state", state.map_or("", OperationStatus::as_str)),
            ("kind", self.kind.map_or("", OperationKind::as_str)),
            ("q", &self.text),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
        let query = query.finish();
        if query.is_empty() { "/operations".to_owned() } else { format!("/operations?{query}") }
    }
}

/// A day as browsers send it, or what is wrong with it.
fn day(text: &str) -> (Option<NaiveDate>, Option<&'static str>) {
    if text.is_empty() {
        return (None, None);
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    match day.filter(|day| (1970..10_000).contains(&day.year())) {
        None => (None, Some("Enter a day such as 2026-03-29.")),
        found => (found, None),
    }
}

/// `GET /operations`
pub(super) async fn list(
    state: Data<State>,
    me: SignedIn,
    query: Query<ListQuery>,
) -> Result<HttpResponse, PageError> {
    let flash = me.flash;
    let page = state.db.read(move |conn| load(conn, &me, &query)).await?;
    Ok(html_after_flash(&page, flash))
}

fn load(conn: &mut Conn, me: &SignedIn, query: &ListQuery) -> Result<ListPage, Error> {
    let frame = Frame::load(conn, me, Nav::Operations)?;
    let (organisation, currency) = (me.actor.organisation(), frame.organisation.currency);
    let asked = Asked::read(query, &frame.organisation);
    let mut totals = Vec::new();
    for status in OperationStatus::ALL {
        let filter = Filter { status: Some(status), ..asked.filter.clone() };
        let total = operations::total(conn, organisation, &filter)?;
        let sum = Money::from_minor(total.amount, currency).grouped();
        totals.push((status, Badge::from(status), total, sum));
    }
    let count = |state: Option<OperationStatus>| {
        let counted = totals.iter().filter(|(status, ..)| state.is_none_or(|one| one == *status));
        counted.map(|(_, _, total, _)| total.count).sum::<i64>()
    };
    let states = std::iter::once(None).chain(OperationStatus::ALL.map(Some));
    let tabs = states.map(|state| Tab {
        name: state.map_or("All", |state| Badge::from(state).word),
        url: asked.url(state),
        count: count(state),
        current: state == asked.state,
    });
    let tabs: Vec<_> = tabs.collect();
    let pager = Pager::new(query.page, count(asked.state));
    let shown = Filter { status: asked.state, ..asked.filter.clone() };
    let found = operations::list(conn, organisation, &shown, (pager.offset(), ROWS))?;
    let rows = Row::load(conn, &found, currency)?;
    let url = asked.url(asked.state);
    let pager_url = format!("{url}{}page=", if url.contains('?') { '&' } else { '?' });
    let balance = wallets::balance(conn, organisation)?;
    Ok(ListPage { frame, balance, tabs, totals, rows, pager, pager_url, asked })
}

impl Row {
    /// The rows for these operations.
    pub(super) fn load(
        conn: &mut Conn,
        found: &[Operation],
        currency: Currency,
    ) -> Result<Vec<Self>, Error> {
        let ids: Vec<_> = found.iter().map(|operation| &operation.id).collect();
        let askers = history::list_askers(conn, &ids)?;
        let names = Names::load(conn, askers.values().map(|asker| &asker.member_id))?;
        let row = |operation: &Operation| {
            Self::new(operation, askers.get(&operation.id), &names, currency)
        };
        Ok(found.iter().map(row).collect())
    }

    fn new(
        operation: &Operation,
        asker: Option<&Asker>,
        names: &Names,
        currency: Currency,
    ) -> Self {
        let sign = match operation.kind {
            OperationKind::CashIn => '−',
            OperationKind::CashOutFulfillment => '+',
        };
        let other = &operation.counterparty;
        let code = other.short_code.as_ref().map(|code| format!("Merchant {code}"));
        Self {
            url: format!("/requests/{}", operation.id),
            kind: operation.kind.name(),
            amount: format!("{sign}{}", Money::from_minor(operation.amount, currency).grouped()),
            other: other.name.clone(),
            other_code: code.or_else(|| other.phone.clone()).unwrap_or_default(),
            memo: operation.memo.clone(),
            maker: asker.map_or_else(String::new, |asker| names.of(&asker.member_id)),
            key: asker
                .and_then(|asker| asker.key.clone())
                .map(|(id, label)| (key_page(&id), label)),
            badge: operation.status.into(),
            last_error: operation.last_error.clone(),
            at: operation.created_at,
        }
    }
}

fn key_page(id: &KeyId) -> String {
    format!("/settings/api-keys/{id}")
}
