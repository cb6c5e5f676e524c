//! The home page: the balance, what waits, and keys that need attention.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use super::State;
use super::error::PageError;
use super::operations::Row;
use super::page::{Frame, Nav, html_after_flash};
use super::signed_in::SignedIn;
use super::view::{Names, key_url, request_url};
use crate::domain::key::Key;
use crate::domain::money::Money;
use crate::domain::operation::OperationStatus;
use crate::domain::request::{Request, RequestState};
use crate::error::Error;
use crate::store::{Conn, keys, operations, requests, wallets};

/// Keys that end within this time need attention.
const SOON: TimeDelta = TimeDelta::days(30);
/// Keys approved longer ago than this and never used need attention.
const UNUSED: TimeDelta = TimeDelta::days(7);
/// Waiting requests shown; the inbox has the rest.
const SHOWN: i64 = 5;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    balance: Money,
    /// How many operations wait for a checker, and what they come to.
    unsettled: (i64, Money),
    latest: Vec<Row>,
    active_keys: i64,
    waiting: Vec<Waiting>,
    /// My own pending requests.
    mine: Vec<Waiting>,
    to_reveal: Vec<Attention>,
    attention: Vec<Attention>,
}

/// A request that waits.
struct Waiting {
    url: String,
    title: String,
    kind: &'static str,
    maker: String,
    /// True if it came through a key of the maker.
    by_key: bool,
    at: DateTime<Utc>,
}

/// Why a key should be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Approved, and not revealed since.
    ToReveal,
    /// It ends soon.
    Expires,
    /// It never made a call since it was approved.
    NeverUsed,
}

/// A key that somebody should look at, and since or until when.
struct Attention {
    url: String,
    label: String,
    why: Why,
    at: DateTime<Utc>,
}

/// `GET /`
pub(super) async fn show(state: Data<State>, me: SignedIn) -> Result<HttpResponse, PageError> {
    let flash = me.flash;
    let page = state.db.read(move |conn| load(conn, &me)).await?;
    Ok(html_after_flash(&page, flash))
}

fn load(conn: &mut Conn, me: &SignedIn) -> Result<HomePage, Error> {
    let frame = Frame::load(conn, me, Nav::Home)?;
    let (organisation, id, now) = (me.actor.organisation(), me.actor.id(), me.now);
    let pending = requests::Filter {
        states: &[RequestState::Pending],
        limit: SHOWN,
        ..requests::Filter::default()
    };
    let mine = requests::Filter { maker: Some(id), ..pending };
    let mine = requests::list(conn, organisation, mine)?;
    let others = requests::Filter { not_maker: Some(id), ..pending };
    let others = if me.actor.member.roles.checker {
        requests::list(conn, organisation, others)?
    } else {
        Vec::new()
    };
    let names = Names::load(conn, mine.iter().chain(&others).map(|request| &request.maker_id))?;
    let view = |request: &Request| Waiting {
        url: request_url(request),
        title: request.payload.title(),
        kind: request.payload.kind_name(),
        maker: names.of(&request.maker_id),
        by_key: request.maker_key_id.is_some(),
        at: request.created_at,
    };
    let unsettled =
        operations::Filter { status: Some(OperationStatus::Pending), ..Default::default() };
    let unsettled = operations::total(conn, organisation, &unsettled)?;
    let latest = operations::list(conn, organisation, &operations::Filter::default(), (0, SHOWN))?;
    let latest = Row::load(conn, &latest, frame.organisation.currency)?;
    let key = |key: &Key, why, at| Attention {
        url: key_url(key),
        label: key.grant.label.clone(),
        why,
        at,
    };
    let to_reveal = keys::list_to_reveal(conn, organisation, id, now)?;
    let expiring = keys::list_expiring(conn, organisation, now, now + SOON)?;
    let unused = keys::list_never_used(conn, organisation, now, now - UNUSED)?;
    let ends = expiring.iter().filter_map(|k| Some(key(k, Why::Expires, k.expires_at?)));
    let ending = |k: &Key| expiring.iter().any(|other| other.id == k.id);
    let idle = unused.iter().filter(|k| !ending(k)).map(|k| key(k, Why::NeverUsed, k.created_at));
    let live = keys::Filter::of(keys::Listed::Live, now);
    Ok(HomePage {
        balance: wallets::balance(conn, organisation)?,
        unsettled: (
            unsettled.count,
            Money::from_minor(unsettled.amount, frame.organisation.currency),
        ),
        latest,
        frame,
        active_keys: keys::count(conn, organisation, live)?,
        waiting: others.iter().map(view).collect(),
        mine: mine.iter().map(view).collect(),
        to_reveal: to_reveal.iter().map(|k| key(k, Why::ToReveal, k.created_at)).collect(),
        attention: ends.chain(idle).collect(),
    })
}
