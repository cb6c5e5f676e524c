//! Accepting an invitation: the invitee chooses a password.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use zeroize::Zeroizing;

use super::context::Context;
use super::error::PageError;
use super::page::{Flash, html, redirect_with};
use super::sign_in::{AnonymousPost, Visitor};
use super::{State, client};
use crate::actions;
use crate::domain::member::Member;
use crate::domain::refusal::Refusal;
use crate::error::Error;

#[derive(Template)]
#[template(path = "account/invitation.html")]
struct InvitationPage {
    theme: &'static str,
    csrf: String,
    token: String,
    member: Member,
    error: Option<String>,
}

/// `GET /invitation/{token}`
pub(super) async fn form(
    req: HttpRequest,
    state: Data<State>,
    token: Path<String>,
) -> Result<HttpResponse, PageError> {
    let (token, now) = (token.into_inner(), state.db.clock().now());
    let asked = token.clone();
    let member =
        state.db.read(move |conn| actions::members::find_invited(conn, &asked, now)).await?;
    Ok(answer(&req, token, member, None)?)
}

/// The page for the holder of a link, once more with what is wrong with the password chosen.
fn answer(
    req: &HttpRequest,
    token: String,
    member: Member,
    error: Option<String>,
) -> Result<HttpResponse, Error> {
    let visitor = Visitor::of(req)?;
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let (theme, csrf) = (Context::current().theme, visitor.csrf.clone());
    let page = InvitationPage { theme, csrf, token, member, error };
    Ok(visitor.mark(html(status, &page)))
}

/// `POST /invitation/{token}`
pub(super) async fn submit(
    req: HttpRequest,
    state: Data<State>,
    token: Path<String>,
    AnonymousPost(form): AnonymousPost,
) -> Result<HttpResponse, PageError> {
    let (token, now) = (token.into_inner(), state.db.clock().now());
    let plain = Zeroizing::new(form.text("password").to_owned());
    let (asked, chosen) = (token.clone(), plain.clone());
    let (member, verdict) = state
        .db
        .read(move |conn| {
            let member = actions::members::find_invited(conn, &asked, now)?;
            let verdict = actions::members::check_password(conn, &member, &chosen);
            Ok((member, verdict))
        })
        .await?;
    if let Err(Error::Refused(refusal @ Refusal::WeakPassword(_))) = verdict {
        return Ok(answer(&req, token, member, Some(refusal.to_string()))?);
    }
    verdict?;
    let hash = state.passwords.hash(plain).await?;
    let origin = client::origin(&req, &state.settings.trusted_proxies);
    state.db.write(move |tx| actions::members::accept(tx, &token, &hash, origin)).await?;
    Ok(redirect_with("/login", Flash::Joined))
}
