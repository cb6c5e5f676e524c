//! The form that asks for a key.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use crate::actions;
use crate::domain::catalogue::{Api, Catalogue};
use crate::domain::key_form::{FIELDS, KeyForm, Mistake};
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::store::organisations;
use crate::web::error::PageError;
use crate::web::form::Form;
use crate::web::page::{Flash, Frame, Nav, html, redirect_with};
use crate::web::signed_in::{Post, SignedIn};
use crate::web::{State, client};

#[derive(Template)]
#[template(path = "keys/form.html")]
struct FormPage {
    frame: Frame,
    api: Arc<Api>,
    /// The other APIs a key can be asked for, by slug and name.
    others: Vec<(String, String)>,
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

    /// The id of the element that a mistake's link leads to.
    fn anchor(mistake: &Mistake) -> &'static str {
        if mistake.field.is_empty() { "main" } else { mistake.field }
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
    let mut typed = read(&post.form);
    fill_in(&mut typed, &post.form, &state.db.site().catalogue);
    let owner = post.me.actor.organisation().clone();
    let currency = state.db.read(move |conn| organisations::get(conn, &owner)).await?.currency;
    let unknown = post.form.unknown(FIELDS).map(|_| Mistake {
        field: "",
        message: "The form has a field that does not belong to it.".to_owned(),
    });
    let parsed = match (unknown, typed.parse(&state.db.site().catalogue, currency)) {
        (Some(mistake), _) => Err(vec![mistake]),
        (None, parsed) => parsed,
    };
    let (grant, justification) = match parsed {
        Ok(parsed) => parsed,
        Err(mistakes) => return again(&req, &state, post.me, typed, mistakes).await,
    };
    let me = post.me.actor.clone();
    let submitted =
        state.db.write(move |tx| actions::requests::submit(tx, &me, grant, justification)).await;
    match submitted {
        Ok(id) => Ok(redirect_with(&format!("/requests/{id}"), Flash::Sent)),
        Err(Error::Refused(refusal @ Refusal::NobodyCanApprove(_))) => {
            let mistake = Mistake { field: "", message: refusal.to_string() };
            again(&req, &state, post.me, typed, vec![mistake]).await
        }
        Err(e) => Err(e.into()),
    }
}

/// What a field means that is not there at all: the default of the contract, not "empty".
fn fill_in(typed: &mut KeyForm, form: &Form, catalogue: &Catalogue) {
    let default = catalogue.default_api();
    if typed.api.is_empty()
        && let Some(api) = default
    {
        typed.api.clone_from(&api.slug);
    }
    if !form.has("expires_in_days")
        && let Some(api) = catalogue.find(&typed.api)
    {
        typed.expires_in_days = KeyForm::blank(api).expires_in_days;
    }
    if !form.has("environment") {
        "production".clone_into(&mut typed.environment);
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
    let others = catalogue.list().iter().filter(|other| other.slug != api.slug);
    let others = others.map(|other| (other.slug.clone(), other.name.clone())).collect();
    let own_ip = client::ip(req, &state.settings.trusted_proxies).map(|ip| ip.to_string());
    let frame = state.db.read(move |conn| Frame::load(conn, &me, Nav::Keys)).await?;
    Ok(FormPage { frame, api, others, form, mistakes, own_ip })
}

fn read(form: &Form) -> KeyForm {
    let text = |name: &str| form.text(name).to_owned();
    KeyForm {
        api: text("api"),
        label: text("label"),
        contact_email: text("contact_email"),
        system: text("system"),
        environment: text("environment"),
        access_type: text("access_type"),
        permissions: form.all("permissions"),
        max_transaction_amount: text("max_transaction_amount"),
        max_daily_volume: text("max_daily_volume"),
        allowed_ips: text("allowed_ips"),
        expires_in_days: text("expires_in_days"),
        justification: text("justification"),
    }
}
