//! The checker's inbox and the review page.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono::{DateTime, Utc};

use super::State;
use super::error::PageError;
use super::operations::review::{OperationView, Operations};
use super::page::{Flash, Frame, Nav, html, html_after_flash, redirect_with};
use super::signed_in::{Post, SignedIn};
use super::story::Story;
use super::view::{Badge, GrantView, Names, Pager, ROWS, key_url, request_url};
use crate::actions;
use crate::domain::catalogue::Catalogue;
use crate::domain::id::RequestId;
use crate::domain::key::{Key, KeyStatus};
use crate::domain::money::Currency;
use crate::domain::operation::OperationStatus;
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Decision, Payload, Request, RequestState};
use crate::domain::risk::Risk;
use crate::domain::text::parse_note;
use crate::error::Error;
use crate::store::history::Asker;
use crate::store::{Conn, history, keys, operations, requests, secrets};

const CLOSED: &[RequestState] = &[
    RequestState::Approved,
    RequestState::Rejected,
    RequestState::Withdrawn,
    RequestState::Expired,
    RequestState::Void,
];

/// The kinds a list can be narrowed to.
const KINDS: &[&str] = &["issue_key", "operation"];

#[derive(Template)]
#[template(path = "requests/list.html")]
struct ListPage {
    frame: Frame,
    closed: bool,
    pending_count: i64,
    closed_count: i64,
    rows: Vec<Row>,
    pager: Pager,
    /// The one kind that is shown; empty for all.
    kind: &'static str,
}

impl ListPage {
    /// The address of the list with this kind, on the same tab.
    fn url(&self, kind: &str) -> String {
        match (self.closed, kind) {
            (false, "") => "/requests".to_owned(),
            (false, kind) => format!("/requests?kind={kind}"),
            (true, "") => "/requests?state=closed".to_owned(),
            (true, kind) => format!("/requests?state=closed&kind={kind}"),
        }
    }
}

struct Row {
    url: String,
    title: String,
    kind: &'static str,
    maker: String,
    /// Page and label of the key it came through.
    key: Option<(String, String)>,
    own: bool,
    badge: Badge,
    risks: Vec<Risk>,
    /// Who decided, if somebody did.
    deciders: Vec<String>,
    created_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

#[derive(serde::Deserialize)]
pub(super) struct ListQuery {
    state: Option<String>,
    kind: Option<String>,
    page: Option<i64>,
}

/// `GET /requests`
pub(super) async fn list(
    state: Data<State>,
    me: SignedIn,
    query: Query<ListQuery>,
) -> Result<HttpResponse, PageError> {
    let flash = me.flash;
    let catalogue = state.db.site().catalogue.clone();
    let page = state.db.read(move |conn| load_list(conn, &me, &query, &catalogue)).await?;
    Ok(html_after_flash(&page, flash))
}

fn load_list(
    conn: &mut Conn,
    me: &SignedIn,
    query: &ListQuery,
    catalogue: &Catalogue,
) -> Result<ListPage, Error> {
    let frame = Frame::load(conn, me, Nav::Requests)?;
    let organisation = me.actor.organisation();
    let closed = query.state.as_deref() == Some("closed");
    let kind = query.kind.as_deref().and_then(|kind| KINDS.iter().find(|known| **known == kind));
    let kind = kind.copied();
    let filter = |states| requests::Filter { states, kind, ..requests::Filter::default() };
    let pending_count = requests::count(conn, organisation, filter(&[RequestState::Pending]))?;
    let closed_count = requests::count(conn, organisation, filter(CLOSED))?;
    let pager = Pager::new(query.page, if closed { closed_count } else { pending_count });
    let filter = requests::Filter {
        newest_first: closed,
        offset: pager.offset(),
        limit: ROWS,
        ..filter(if closed { CLOSED } else { &[RequestState::Pending] })
    };
    let found = requests::list(conn, organisation, filter)?;
    let beside = RowsBeside::load(conn, me, &found)?;
    let currency = frame.organisation.currency;
    let rows = found.iter().map(|one| beside.row(one, me, (catalogue, currency))).collect();
    let kind = kind.unwrap_or_default();
    Ok(ListPage { frame, closed, pending_count, closed_count, rows, pager, kind })
}

/// What rows are made of beside the requests.
struct RowsBeside {
    operations: Operations,
    decisions: Vec<Decision>,
    askers: HashMap<RequestId, Asker>,
    names: Names,
}

impl RowsBeside {
    fn load(conn: &mut Conn, me: &SignedIn, found: &[Request]) -> Result<Self, Error> {
        let ids: Vec<_> = found.iter().map(|request| &request.id).collect();
        let operations = Operations::load(conn, me.actor.organisation(), &ids, me.now)?;
        let decisions = requests::list_decisions(conn, &ids)?;
        let askers = history::list_askers(conn, &ids)?;
        let makers = found.iter().map(|request| &request.maker_id);
        let checkers = decisions.iter().map(|decision| &decision.checker_id);
        let names = Names::load(conn, makers.chain(checkers))?;
        Ok(Self { operations, decisions, askers, names })
    }

    fn row(
        &self,
        request: &Request,
        me: &SignedIn,
        (catalogue, currency): (&Catalogue, Currency),
    ) -> Row {
        let key = self.askers.get(&request.id).and_then(|asker| asker.key.as_ref());
        let decisions = self.decisions.iter().filter(|one| one.request_id == request.id);
        Row {
            url: request_url(request),
            title: request.payload.title(),
            kind: request.payload.kind_name(),
            maker: self.names.of(&request.maker_id),
            key: key.map(|(id, label)| (format!("/settings/api-keys/{id}"), label.clone())),
            own: request.maker_id == *me.actor.id(),
            badge: self.operations.badge(request),
            risks: match request.payload.grant() {
                Some(grant) => GrantView::new(grant, catalogue, currency).risks,
                None => self.operations.risks(request),
            },
            deciders: decisions.map(|one| self.names.of(&one.checker_id)).collect(),
            created_at: request.created_at,
            closed_at: request.closed_at,
        }
    }
}

#[derive(Template)]
#[template(path = "requests/show.html")]
struct ShowPage {
    frame: Frame,
    request: Request,
    url: String,
    badge: Badge,
    grant: Option<GrantView>,
    operation: Option<OperationView>,
    maker: String,
    story: Story,
    decision: DecisionBox,
    key_url: Option<String>,
    /// True if this member is the maker of a key that was never revealed.
    awaits_my_reveal: bool,
    /// What was wrong with an approval or a rejection that came back.
    approve_error: Option<String>,
    reject_error: Option<String>,
    comment: String,
    reason: String,
}

/// What this member can do about this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecisionBox {
    /// Approve or reject.
    Decide,
    /// Nothing but take it back: it is one's own.
    Own,
    /// Wait: one's own approval is already there.
    Voted,
    /// Look: the checker role is missing.
    Look,
    /// Nothing: it is closed, or its time is over.
    Closed,
}

/// `GET /requests/{id}`
pub(super) async fn show(
    state: Data<State>,
    me: SignedIn,
    id: Path<String>,
) -> Result<HttpResponse, PageError> {
    let (id, flash) = (parse(&id)?, me.flash);
    let page = load(&state, me, id, |_| ()).await?;
    Ok(html_after_flash(&page, flash))
}

async fn load(
    state: &State,
    me: SignedIn,
    id: RequestId,
    change: impl FnOnce(&mut ShowPage) + Send + 'static,
) -> Result<ShowPage, Error> {
    let catalogue = state.db.site().catalogue.clone();
    state
        .db
        .read(move |conn| {
            let frame = Frame::load(conn, &me, Nav::Requests)?;
            let request = requests::get(conn, me.actor.organisation(), &id)?;
            let key = keys::find_of_request(conn, &id)?;
            let secrets = key.as_ref().map(|key| secrets::list(conn, &key.id)).transpose()?;
            let parts = key.as_ref().zip(secrets.as_deref());
            let mut story = Story::load(conn, &request, parts, me.now)?;
            let operations = Operations::load(conn, me.actor.organisation(), &[&id], me.now)?;
            if let Some(operation) = operations.of(&request) {
                story.tell_operation(operation);
            }
            let beside = (&request, &operations);
            let operation = OperationView::load(conn, &frame.organisation, beside, me.now)?;
            let currency = frame.organisation.currency;
            let mut page = ShowPage {
                url: request_url(&request),
                badge: operations.badge(&request),
                operation,
                grant: request
                    .payload
                    .grant()
                    .map(|grant| GrantView::new(grant, &catalogue, currency)),
                maker: story.name(&request.maker_id),
                decision: decision_box(&me, &request, &story),
                key_url: key.as_ref().map(key_url),
                awaits_my_reveal: key.as_ref().is_some_and(|key| awaits_reveal(&me, key)),
                frame,
                request,
                story,
                approve_error: None,
                reject_error: None,
                comment: String::new(),
                reason: String::new(),
            };
            change(&mut page);
            Ok(page)
        })
        .await
}

fn awaits_reveal(me: &SignedIn, key: &Key) -> bool {
    key.status(me.now) == KeyStatus::Approved && policy::may_reveal(&me.actor, key).is_ok()
}

fn decision_box(me: &SignedIn, request: &Request, story: &Story) -> DecisionBox {
    if request.still_open(me.now).is_err() {
        return DecisionBox::Closed;
    }
    let voted = story.decisions.iter().any(|decision| decision.checker_id == *me.actor.id());
    match policy::may_decide(&me.actor, request) {
        Err(Refusal::OwnRequest) => DecisionBox::Own,
        Err(_) => DecisionBox::Look,
        Ok(()) if voted => DecisionBox::Voted,
        Ok(()) => DecisionBox::Decide,
    }
}

/// `POST /requests/{id}/approve`
pub(super) async fn approve(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let (id, seen) = (parse(&id)?, post.form.version()?);
    let typed = post.form.text("comment").to_owned();
    let comment = match parse_note(&typed) {
        Ok(comment) => comment,
        Err(mistake) => {
            let change = move |page: &mut ShowPage| {
                page.approve_error = Some(mistake.to_owned());
                page.comment = typed;
            };
            return again(&state, post.me, id, change).await;
        }
    };
    let (me, request) = (post.me.actor, id.clone());
    let flash = state
        .db
        .write(move |tx| {
            actions::requests::approve(tx, &me, &request, seen, &comment)?;
            let request = requests::get(tx.conn, me.organisation(), &request)?;
            outcome(tx.conn, &request)
        })
        .await?;
    Ok(redirect_with(&format!("/requests/{id}"), flash))
}

/// What an approval led to.
fn outcome(conn: &mut Conn, request: &Request) -> Result<Flash, Error> {
    match (request.state, &request.payload) {
        (RequestState::Approved, Payload::IssueKey(_)) => Ok(Flash::Approved),
        (RequestState::Approved, Payload::Operation(_)) => {
            let ended = operations::get(conn, &request.organisation_id, &request.id)?.status;
            let moved = ended == OperationStatus::Completed;
            Ok(if moved { Flash::Moved } else { Flash::NotMoved })
        }
        _ => Ok(Flash::Voted),
    }
}

/// `POST /requests/{id}/reject`
pub(super) async fn reject(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let (id, seen) = (parse(&id)?, post.form.version()?);
    let typed = post.form.text("reason").to_owned();
    let mistake = match parse_note(&typed) {
        Err(mistake) => mistake.to_owned(),
        Ok(reason) => {
            let (me, request) = (post.me.actor.clone(), id.clone());
            let rejected = state
                .db
                .write(move |tx| actions::requests::reject(tx, &me, &request, seen, &reason))
                .await;
            match rejected {
                Ok(()) => return Ok(redirect_with(&format!("/requests/{id}"), Flash::Rejected)),
                Err(Error::Refused(refusal @ Refusal::ReasonMissing)) => refusal.to_string(),
                Err(e) => return Err(e.into()),
            }
        }
    };
    let change = move |page: &mut ShowPage| {
        page.reject_error = Some(mistake);
        page.reason = typed;
    };
    again(&state, post.me, id, change).await
}

/// The review page once more, with what was typed and what is wrong with it.
async fn again(
    state: &State,
    me: SignedIn,
    id: RequestId,
    change: impl FnOnce(&mut ShowPage) + Send + 'static,
) -> Result<HttpResponse, PageError> {
    let page = load(state, me, id, change).await?;
    Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

/// `POST /requests/{id}/withdraw`
pub(super) async fn withdraw(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let (id, me) = (parse(&id)?, post.me.actor);
    let url = format!("/requests/{id}");
    state.db.write(move |tx| actions::requests::withdraw(tx, &me, &id)).await?;
    Ok(redirect_with(&url, Flash::Withdrawn))
}

fn parse(id: &str) -> Result<RequestId, Error> {
    id.parse().map_err(|_| Error::NotFound)
}
