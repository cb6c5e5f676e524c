//! Who is asking: the extractors every page handler starts with.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use chrono::{DateTime, Utc};

use super::context::Context;
use super::error::PageError;
use super::form::Form;
use super::page::{self, Flash};
use super::sessions::TypedSession;
use super::{State, client};
use crate::domain::member::{Actor, MemberState};
use crate::error::Error;
use crate::store::members;

/// A member with a live session, as they are in the database right now.
#[derive(Clone, Debug)]
pub(super) struct SignedIn {
    pub(super) actor: Actor,
    /// What forms carry to prove that they come from our pages.
    pub(super) csrf: String,
    pub(super) flash: Option<Flash>,
    pub(super) context: Context,
    pub(super) now: DateTime<Utc>,
}

/// A form that a signed-in member sent from one of our pages: proof of both.
pub(super) struct Post {
    pub(super) me: SignedIn,
    pub(super) form: Form,
}

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, PageError>>>>;

impl FromRequest for SignedIn {
    type Error = PageError;
    type Future = Extracted<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move { signed_in(&req).await })
    }
}

impl FromRequest for Post {
    type Error = PageError;
    type Future = Extracted<Self>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, mut payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let me = signed_in(&req).await?;
            let form = Form::read(&req, &mut payload, &me.csrf).await?;
            Ok(Self { me, form })
        })
    }
}

async fn signed_in(req: &HttpRequest) -> Result<SignedIn, PageError> {
    let state = state(req)?;
    let session = TypedSession::of(req);
    let (Some(id), Some(csrf)) = (session.member(), session.csrf()) else {
        return Err(sign_in_first(req));
    };
    // Read on every request, so that a lost role or a shut account counts from the next one on.
    let found = state.db.read(move |conn| members::find(conn, &id)).await?;
    let Some(member) = found.filter(|member| member.state == MemberState::Active) else {
        session.end();
        return Err(sign_in_first(req));
    };
    Ok(SignedIn {
        actor: Actor { member, origin: client::origin(req, &state.settings.trusted_proxies) },
        csrf,
        flash: page::flash(req),
        context: Context::current(),
        now: state.db.clock().now(),
    })
}

/// The state, which every route has.
pub(super) fn state(req: &HttpRequest) -> Result<Data<State>, Error> {
    req.app_data::<Data<State>>().cloned().ok_or_else(|| Error::internal("the app has no state"))
}

fn sign_in_first(req: &HttpRequest) -> PageError {
    if req.method().is_safe() {
        return PageError::SignInFirst(req.uri().to_string());
    }
    PageError::SignInFirst(page_of_form(req.path()).to_owned())
}

/// The page that a form's address belongs to: where its person wants to be again after signing in.
fn page_of_form(path: &str) -> &str {
    match path {
        "/settings/api-keys" => "/settings/api-keys/new",
        "/operations" => "/operations/new",
        "/logout" => "/",
        _ => path.rsplit_once('/').map_or("/", |(page, _verb)| page),
    }
}
