//! The form that asks for a movement of money.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use sha2::{Digest as _, Sha256};

use crate::actions;
use crate::domain::id::RequestId;
use crate::domain::key_form::Mistake;
use crate::domain::member::Actor;
use crate::domain::money::Money;
use crate::domain::movement::Movement;
use crate::domain::operation_form::{FIELDS, OperationForm};
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::store::idempotency::Attempt;
use crate::store::{organisations, wallets};
use crate::web::State;
use crate::web::error::PageError;
use crate::web::form::Form;
use crate::web::page::{Flash, Frame, Nav, html, redirect_with};
use crate::web::signed_in::{Post, SignedIn};

#[derive(Template)]
#[template(path = "operations/form.html")]
struct FormPage {
    frame: Frame,
    balance: Money,
    form: OperationForm,
    /// The name of this form, so that sending it twice asks once.
    attempt: String,
    mistakes: Vec<Mistake>,
}

impl FormPage {
    /// What is wrong with a field, if anything.
    fn mistake(&self, field: &str) -> Option<&str> {
        let found = self.mistakes.iter().find(|mistake| mistake.field == field);
        found.map(|mistake| mistake.message.as_str())
    }

    /// The id of the element that a mistake's link leads to.
    fn anchor(mistake: &Mistake) -> &str {
        if mistake.field.is_empty() { "main" } else { &mistake.field }
    }
}

/// `GET /operations/new`
pub(in crate::web) async fn form(
    state: Data<State>,
    me: SignedIn,
) -> Result<HttpResponse, PageError> {
    policy::may_request(&me.actor)?;
    let page = load(&state, me, OperationForm::blank(), new_attempt(), Vec::new()).await?;
    Ok(html(StatusCode::OK, &page))
}

/// `POST /operations`
pub(in crate::web) async fn submit(
    state: Data<State>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    policy::may_request(&post.me.actor)?;
    let typed = read(&post.form);
    let me = post.me.actor.clone();
    let owner = me.organisation().clone();
    let currency = state.db.read(move |conn| organisations::get(conn, &owner)).await?.currency;
    let parsed = match post.form.unknown(FIELDS) {
        Some(_) => Err(vec![mistake("", "The form has a field that does not belong to it.")]),
        None => typed.parse(currency),
    };
    let attempt = attempt(&post.form, &me, &typed)?;
    let asked = match parsed {
        Ok(asked) => asked,
        Err(mistakes) => return again(&state, post.me, typed, attempt.name, mistakes).await,
    };
    let refusal = match send(&state, &me, asked, &attempt).await {
        Ok(id) => return Ok(redirect_with(&format!("/requests/{id}"), Flash::Sent)),
        // The same form was sent before with something else in it.
        Err(Error::Stale) => {
            let sentence = "This form was sent before with other values. \
                            If you mean another operation, send it again.";
            let mistakes = vec![mistake("", sentence)];
            return again(&state, post.me, typed, new_attempt(), mistakes).await;
        }
        Err(Error::Refused(refusal)) => refusal,
        Err(e) => return Err(e.into()),
    };
    let field = match &refusal {
        Refusal::NobodyCanApprove(_) => "",
        Refusal::NotEnoughMoney => "amount",
        Refusal::Invalid(_) => typed.party_field(),
        _ => return Err(refusal.into()),
    };
    let mistakes = vec![mistake(field, &refusal.to_string())];
    again(&state, post.me, typed, attempt.name, mistakes).await
}

/// Asks for the movement; once more if the same form was being sent at the same moment.
async fn send(
    state: &State,
    me: &Actor,
    asked: (Movement, String),
    attempt: &Attempt,
) -> Result<RequestId, Error> {
    let once = || {
        let (me, (movement, why), attempt) = (me.clone(), asked.clone(), attempt.clone());
        state
            .db
            .write(move |tx| actions::requests::submit_operation(tx, &me, movement, why, &attempt))
    };
    match once().await {
        Err(Error::Stale) => once().await,
        answered => answered,
    }
}

/// What this sending of the form is called, and what stands in it.
fn attempt(form: &Form, me: &Actor, typed: &OperationForm) -> Result<Attempt, Error> {
    let sent = form.text("attempt");
    let name = if (1..=64).contains(&sent.len()) { sent.to_owned() } else { new_attempt() };
    let whole = serde_json::to_vec(typed).map_err(Error::internal)?;
    let fingerprint = Sha256::digest(whole).into();
    Ok(Attempt { owner_id: me.id().to_string(), name, fingerprint })
}

fn new_attempt() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn mistake(field: &'static str, message: &str) -> Mistake {
    Mistake::new(field, message)
}

/// The form once more, with what was typed and what is wrong with it.
async fn again(
    state: &State,
    me: SignedIn,
    typed: OperationForm,
    attempt: String,
    mistakes: Vec<Mistake>,
) -> Result<HttpResponse, PageError> {
    let page = load(state, me, typed, attempt, mistakes).await?;
    Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
}

async fn load(
    state: &State,
    me: SignedIn,
    mut form: OperationForm,
    attempt: String,
    mistakes: Vec<Mistake>,
) -> Result<FormPage, Error> {
    // The page has one field for the customer, whichever field was sent.
    if form.phone.is_empty() {
        form.phone = std::mem::take(&mut form.phone_to) + &std::mem::take(&mut form.phone_from);
    }
    if form.recipient.is_empty() && !form.merchant_to_short_code.is_empty() {
        "merchant".clone_into(&mut form.recipient);
    }
    let read = state.db.read(move |conn| {
        let balance = wallets::balance(conn, me.actor.organisation())?;
        Ok((Frame::load(conn, &me, Nav::Operations)?, balance))
    });
    let (frame, balance) = read.await?;
    Ok(FormPage { frame, balance, form, attempt, mistakes })
}

fn read(form: &Form) -> OperationForm {
    let text = |name: &str| form.text(name).to_owned();
    OperationForm {
        operation_type: text("operation_type"),
        amount: text("amount"),
        recipient: text("recipient"),
        phone: text("phone"),
        phone_to: text("phone_to"),
        phone_from: text("phone_from"),
        merchant_to_short_code: text("merchant_to_short_code"),
        cash_out_fulfillment_id: text("cash_out_fulfillment_id"),
        memo: text("memo"),
        justification: text("justification"),
    }
}
