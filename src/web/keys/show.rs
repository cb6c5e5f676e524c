//! A key's own page, and what can be done there.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;

use super::{ListQuery, Tab, people};
use crate::actions;
use crate::domain::catalogue::Credential;
use crate::domain::id::KeyId;
use crate::domain::key::{Key, KeyStatus, Secret};
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::domain::secret::PlainSecret;
use crate::domain::text::parse_note;
use crate::domain::usage::Usage;
use crate::error::Error;
use crate::store::{Conn, keys, requests, secrets, usage};
use crate::web::State;
use crate::web::error::PageError;
use crate::web::page::{Flash, Frame, Nav, html, html_after_flash, redirect_with};
use crate::web::signed_in::{Post, SignedIn};
use crate::web::story::Story;
use crate::web::usage::{Range, UsageSection};
use crate::web::view::{Beside, KeyView, Names};

#[derive(Template)]
#[template(path = "keys/show.html")]
struct ShowPage {
    frame: Frame,
    key: KeyView,
    status: KeyStatus,
    usage: UsageSection,
    story: Story,
    request_url: String,
    /// The newest secret that was shown.
    secret: Option<Secret>,
    is_maker: bool,
    may_revoke: bool,
    /// The secret itself, on the one answer that shows it.
    revealed: Option<Revealed>,
    revoke_error: Option<RevokeError>,
}

struct Revealed {
    secret: PlainSecret,
    /// A call to try the key with.
    try_it: String,
}

/// A revocation that came back.
struct RevokeError {
    /// `reason` or `confirm_label`.
    field: &'static str,
    message: String,
    /// What was typed.
    reason: String,
    label: String,
}

impl ShowPage {
    /// True if the key can still be revealed to its maker: never shown, or shown and not saved.
    fn can_reveal(&self) -> bool {
        let open = self.secret.as_ref().is_none_or(Secret::is_unsaved);
        self.is_maker && open && matches!(self.status, KeyStatus::Approved | KeyStatus::Active)
    }

    /// True while a secret was shown and neither saved nor used.
    fn is_unsaved(&self) -> bool {
        self.secret.as_ref().is_some_and(Secret::is_unsaved)
    }

    fn has_ended(&self) -> bool {
        matches!(self.status, KeyStatus::Expired | KeyStatus::Revoked)
    }

    /// What is wrong with a field of the revocation, if anything.
    fn revoke_mistake(&self, field: &str) -> Option<&str> {
        self.revoke_error.as_ref().filter(|e| e.field == field).map(|e| e.message.as_str())
    }

    fn revoke_reason(&self) -> &str {
        self.revoke_error.as_ref().map_or("", |e| &e.reason)
    }

    fn revoke_label(&self) -> &str {
        self.revoke_error.as_ref().map_or("", |e| &e.label)
    }
}

/// `GET /settings/api-keys/{tab}` and `GET /settings/api-keys/{key}`: the words of the tabs are no ids.
pub(in crate::web) async fn show_or_list(
    state: Data<State>,
    me: SignedIn,
    segment: Path<String>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, PageError> {
    if let Some(tab) = Tab::find(&segment) {
        return super::list(&state, me, tab, query.into_inner()).await;
    }
    let (id, flash) = (parse(&segment)?, me.flash);
    let page = load(&state, me, (id, query.range), |_| ()).await?;
    Ok(html_after_flash(&page, flash))
}

/// `POST /settings/api-keys/{key}/reveal`: the one answer with a secret in it. No redirect, because
/// the secret would have to wait somewhere for the next request.
pub(in crate::web) async fn reveal(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let (id, me) = (parse(&id)?, post.me.actor.clone());
    let key = id.clone();
    let (key, secret) = state.db.write(move |tx| actions::keys::reveal(tx, &me, &key)).await?;
    let site = state.db.site();
    let api = site.catalogue.find(&key.grant.api).cloned();
    let url = site.public_url.clone();
    let show = move |page: &mut ShowPage| {
        let credential = api.as_ref().and_then(|api| api.credentials.first());
        let account = page.frame.organisation.account_name();
        let try_it = try_it(&url, &key, credential.map(|credential| (credential, account)));
        page.revealed = Some(Revealed { secret, try_it });
    };
    let page = load(&state, post.me, (id, None), show).await?;
    Ok(html(StatusCode::OK, &page))
}

/// `POST /settings/api-keys/{key}/confirm`
pub(in crate::web) async fn confirm(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let (id, me) = (parse(&id)?, post.me.actor);
    let url = format!("/settings/api-keys/{id}");
    let seen = Some(post.form.text("secret")).filter(|seen| !seen.is_empty());
    let seen = seen.map(str::parse).transpose().map_err(|_| Error::NotFound)?;
    state.db.write(move |tx| actions::keys::confirm(tx, &me, &id, seen.as_ref())).await?;
    Ok(redirect_with(&url, Flash::Saved))
}

/// `POST /settings/api-keys/{key}/revoke`
pub(in crate::web) async fn revoke(
    state: Data<State>,
    id: Path<String>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let id = parse(&id)?;
    let typed = |name: &str| post.form.text(name).to_owned();
    let (reason, label) = (typed("reason"), typed("confirm_label"));
    let refused = match parse_note(&reason) {
        Err(mistake) => Refusal::Invalid(mistake.to_owned()),
        Ok(reason) => {
            let (me, key, label) = (post.me.actor.clone(), id.clone(), label.clone());
            let revoked = state
                .db
                .write(move |tx| actions::keys::revoke(tx, &me, &key, &label, &reason))
                .await;
            match revoked {
                Ok(()) => {
                    return Ok(redirect_with(&format!("/settings/api-keys/{id}"), Flash::Revoked));
                }
                Err(Error::Refused(refusal @ (Refusal::LabelMismatch | Refusal::Invalid(_)))) => {
                    refusal
                }
                Err(e) => return Err(e.into()),
            }
        }
    };
    let field = if refused == Refusal::LabelMismatch { "confirm_label" } else { "reason" };
    let error = RevokeError { field, message: refused.to_string(), reason, label };
    let page =
        load(&state, post.me, (id, None), move |page| page.revoke_error = Some(error)).await?;
    Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

async fn load(
    state: &State,
    me: SignedIn,
    (id, range): (KeyId, Option<Range>),
    change: impl FnOnce(&mut ShowPage) + Send + 'static,
) -> Result<ShowPage, Error> {
    let catalogue = state.db.site().catalogue.clone();
    state
        .db
        .read(move |conn| {
            let frame = Frame::load(conn, &me, Nav::Keys)?;
            let key = keys::get(conn, me.actor.organisation(), &id)?;
            let request = requests::get(conn, me.actor.organisation(), &key.request_id)?;
            let shown = secrets::list(conn, &id)?;
            let story = Story::load(conn, &request, Some((&key, &shown)), me.now)?;
            let names = Names::load(conn, people(&key))?;
            let currency = frame.organisation.currency;
            let beside = Beside { catalogue: &catalogue, currency, now: me.now, names: &names };
            let used = usage_of(conn, &key)?;
            let section = UsageSection::load(conn, &key, range.unwrap_or_default(), &beside)?;
            let mut page = ShowPage {
                key: KeyView::new(&key, &shown.iter().collect::<Vec<_>>(), used, &beside),
                status: key.status(me.now),
                usage: section,
                story,
                request_url: crate::web::view::request_url(&request),
                secret: shown.into_iter().next(),
                is_maker: policy::may_reveal(&me.actor, &key).is_ok(),
                may_revoke: policy::may_revoke(&me.actor).is_ok(),
                revealed: None,
                revoke_error: None,
                frame,
            };
            change(&mut page);
            Ok(page)
        })
        .await
}

fn usage_of(conn: &mut Conn, key: &Key) -> Result<Usage, Error> {
    let counts = usage::list(conn, &[&key.id])?;
    Ok(counts.into_iter().next().map_or_else(Usage::default, |(_, usage)| usage))
}

fn parse(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(|_| Error::NotFound)
}

/// A call that shows whether the key works; the key itself is not part of it.
fn try_it(public_url: &str, key: &Key, credential: Option<(&Credential, String)>) -> String {
    let reads_balance = key.grant.api == "wallet" && key.grant.permissions.contains("read_balance");
    let path = if reads_balance {
        format!("distributors/{}/balance", key.organisation_id)
    } else {
        "keys/self".to_owned()
    };
    let headers = credential.map_or_else(String::new, |(credential, account)| {
        let scheme = credential.scheme.as_ref().map(|scheme| format!("{scheme} "));
        let key = format!("-H \"{}: {}$API_KEY\" ", credential.header, scheme.unwrap_or_default());
        let partner = credential.partner_header.as_ref();
        key + &partner.map(|name| format!("-H \"{name}: {account}\" ")).unwrap_or_default()
    });
    format!("curl {headers}\\\n  {public_url}/api/v1/{path}")
}
