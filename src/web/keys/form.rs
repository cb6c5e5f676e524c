//! The form that asks for a key.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use crate::actions;
use crate::domain::catalogue::{AccessType, Api, Catalogue, Restriction};
use crate::domain::key_form::{FIELDS, KeyForm, Mistake};
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::store::organisations;
use crate::web::error::PageError;
use crate::web::form::Form;
use crate::web::page::{Flash, Frame, Nav, html, redirect_with};
use crate::web::signed_in::{Post, SignedIn};
use crate::web::view::{Endpoint, endpoints};
use crate::web::{State, client};

#[derive(Template)]
#[template(path = "keys/form.html")]
struct FormPage {
    frame: Frame,
    api: Arc<Api>,
    /// The other APIs a key can be asked for.
    others: Vec<Arc<Api>>,
    form: KeyForm,
    mistakes: Vec<Mistake>,
    /// The maker's own address, to be added to the list with one press.
    own_ip: Option<String>,
}

impl FormPage {
    /// What is wrong with a field, if anything.
    fn mistake(&self, field: &str) -> Option<&str> {
        self.mistakes
            .iter()
            .find(|mistake| mistake.field == field)
            .map(|mistake| mistake.message.as_str())
    }

    /// True if a permission is ticked.
    fn is_ticked(&self, slug: &str) -> bool {
        self.form.permissions.iter().any(|ticked| ticked == slug)
    }

    /// True if a value of a restriction is ticked.
    fn is_chosen(&self, list: &str, value: &str) -> bool {
        self.form.restrictions.get(list).is_some_and(|chosen| chosen.iter().any(|v| v == value))
    }

    /// The id of the element that a mistake's link leads to.
    fn anchor(mistake: &Mistake) -> &str {
        if mistake.field.is_empty() { "main" } else { &mistake.field }
    }

    /// The names of the access types that have a permission.
    fn types_with(&self, permission: &str) -> String {
        let types = self.api.access_types.iter().filter(|access| access.allows(permission));
        types.map(|access| access.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The calls an access type opens.
    fn opened_by(&self, access: &AccessType) -> Vec<Endpoint<'_>> {
        endpoints(&self.api, |permission| access.allows(permission))
    }

    /// The calls of the whole API.
    fn all_calls(&self) -> Vec<Endpoint<'_>> {
        endpoints(&self.api, |_| true)
    }
}

#[derive(serde::Deserialize)]
pub(in crate::web) struct FormQuery {
    api: Option<String>,
}

/// `GET /settings/api-keys/new`
pub(in crate::web) async fn form(
    req: HttpRequest,
    state: Data<State>,
    me: SignedIn,
    query: Query<FormQuery>,
) -> Result<HttpResponse, PageError> {
    policy::may_request(&me.actor)?;
    let catalogue = &state.db.site().catalogue;
    let api = match &query.api {
        Some(slug) => catalogue.find(slug),
        None => catalogue.default_api(),
    };
    let blank = KeyForm::blank(api.ok_or(Error::NotFound)?);
    let page = load(&req, &state, me, blank, Vec::new()).await?;
    Ok(html(StatusCode::OK, &page))
}

/// `POST /settings/api-keys`
pub(in crate::web) async fn submit(
    req: HttpRequest,
    state: Data<State>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    policy::may_request(&post.me.actor)?;
    let typed = read(&post, &state.db.site().catalogue);
    let owner = post.me.actor.organisation().clone();
    let currency = state.db.read(move |conn| organisations::get(conn, &owner)).await?.currency;
    let known: Vec<_> =
        FIELDS.iter().copied().chain(typed.restrictions.keys().map(String::as_str)).collect();
    let unknown = post.form.unknown(&known);
    let unknown =
        unknown.map(|_| Mistake::new("", "The form has a field that does not belong to it."));
    let parsed = match (unknown, typed.parse(&state.db.site().catalogue, currency)) {
        (Some(mistake), _) => Err(vec![mistake]),
        (None, parsed) => parsed,
    };
    let (grant, justification) = match parsed {
        Ok(parsed) => parsed,
        Err(mistakes) => return again(&req, &state, post.me, typed, mistakes).await,
    };
    let field = if grant.access_type.is_some() { "access_type" } else { "api" };
    let me = post.me.actor.clone();
    let submitted =
        state.db.write(move |tx| actions::requests::submit(tx, &me, grant, justification)).await;
    let mistake = match submitted {
        Ok(id) => return Ok(redirect_with(&format!("/requests/{id}"), Flash::Sent)),
        Err(Error::Refused(refusal @ Refusal::NobodyCanApprove(_))) => {
            Mistake::new("", refusal.to_string())
        }
        Err(Error::Refused(refusal @ Refusal::CapReached(..))) => {
            Mistake::new(field, refusal.to_string())
        }
        Err(e) => return Err(e.into()),
    };
    again(&req, &state, post.me, typed, vec![mistake]).await
}

/// What was typed. A field that is not there at all means the default of the contract, not "empty";
/// nothing but the API is the one press that some APIs offer.
fn read(post: &Post, catalogue: &Catalogue) -> KeyForm {
    let form = &post.form;
    let slug = form.text("api");
    let api = if slug.is_empty() { catalogue.default_api() } else { catalogue.find(slug) };
    let Some(api) = api else { return typed(form, slug, &[]) };
    let mut read = if api.auto_label && form.unknown(&["api"]).is_none() {
        KeyForm::blank(api)
    } else {
        typed(form, &api.slug, &api.restrictions)
    };
    if !form.has("expires_in_days") {
        read.expires_in_days = KeyForm::blank(api).expires_in_days;
    }
    if !form.has("environment") {
        "production".clone_into(&mut read.environment);
    }
    read.name_it(api, post.me.now);
    read
}

fn typed(form: &Form, api: &str, restrictions: &[Restriction]) -> KeyForm {
    let text = |name: &str| form.text(name).to_owned();
    let lists = restrictions.iter().map(|list| (list.slug.clone(), form.all(&list.slug)));
    KeyForm {
        api: api.to_owned(),
        label: text("label"),
        contact_email: text("contact_email"),
        system: text("system"),
        environment: text("environment"),
        access_type: text("access_type"),
        permissions: form.all("permissions"),
        restrictions: lists.collect(),
        max_transaction_amount: text("max_transaction_amount"),
        max_daily_volume: text("max_daily_volume"),
        allowed_ips: text("allowed_ips"),
        expires_in_days: text("expires_in_days"),
        justification: text("justification"),
    }
}

/// The form once more, with what was typed and what is wrong with it.
async fn again(
    req: &HttpRequest,
    state: &State,
    me: SignedIn,
    typed: KeyForm,
    mistakes: Vec<Mistake>,
) -> Result<HttpResponse, PageError> {
    let page = load(req, state, me, typed, mistakes).await?;
    Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

async fn load(
    req: &HttpRequest,
    state: &State,
    me: SignedIn,
    form: KeyForm,
    mistakes: Vec<Mistake>,
) -> Result<FormPage, Error> {
    let catalogue = &state.db.site().catalogue;
    let api = catalogue.find(&form.api).or_else(|| catalogue.default_api()).cloned();
    let api = api.ok_or_else(|| Error::internal("the catalogue is empty"))?;
    let others = catalogue.list().iter().filter(|other| other.slug != api.slug).cloned().collect();
    let own_ip = client::ip(req.head(), &state.settings.trusted_proxies).map(|ip| ip.to_string());
    let frame = state.db.read(move |conn| Frame::load(conn, &me, Nav::Keys)).await?;
    Ok(FormPage { frame, api, others, form, mistakes, own_ip })
}
