//! Signing in and out.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use askama::Template;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::PageError;
use super::form::Form;
use super::outer::see_other;
use super::page::{self, Flash, html, html_after_flash, redirect_with};
use super::sessions::TypedSession;
use super::signed_in::{Post, state};
use super::{State, client};
use crate::actions;
use crate::domain::member::{Member, MemberState};
use crate::domain::password;
use crate::domain::refusal::Refusal;
use crate::domain::secret::random_token;
use crate::domain::text::Email;
use crate::error::Error;
use crate::store::members;

#[derive(Template)]
#[template(path = "account/sign_in.html")]
struct SignInPage {
    theme: &'static str,
    csrf: String,
    next: String,
    email: String,
    flash: Option<Flash>,
    error: Option<String>,
}

/// Where to come back to after signing in.
#[derive(serde::Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// The sign-in page that leads back to `next`.
pub(super) fn url(next: &str) -> String {
    if next.is_empty() {
        return "/login".to_owned();
    }
    let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/login?next={query}")
}

/// A form of somebody who is not signed in, sent from one of our pages.
pub(super) struct AnonymousPost(pub(super) Form);

impl FromRequest for AnonymousPost {
    type Error = PageError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let (req, mut payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let csrf =
                req.cookie(visitor_cookie(&*state(&req)?)).map(|cookie| csrf_of(cookie.value()));
            Form::read(&req, &mut payload, &csrf.unwrap_or_default()).await.map(Self)
        })
    }
}

/// What visitors' forms carry: bound to a cookie that other sites can neither read nor, over https,
/// set, and that costs no row in the database.
pub(super) struct Visitor {
    pub(super) csrf: String,
    cookie: Option<Cookie<'static>>,
}

impl Visitor {
    pub(super) fn of(req: &HttpRequest) -> Result<Self, Error> {
        let state = state(req)?;
        let name = visitor_cookie(&state);
        if let Some(cookie) = req.cookie(name).filter(|cookie| cookie.value().len() == 64) {
            return Ok(Self { csrf: csrf_of(cookie.value()), cookie: None });
        }
        let token = random_token().map_err(Error::internal)?;
        let csrf = csrf_of(&token);
        let cookie = Cookie::build(name, token)
            .path("/")
            .http_only(true)
            .secure(state.settings.secure)
            .same_site(SameSite::Lax)
            .finish();
        Ok(Self { csrf, cookie: Some(cookie) })
    }

    /// Adds the cookie to the answer if the visitor has none yet.
    pub(super) fn mark(self, mut res: HttpResponse) -> HttpResponse {
        if let Some(cookie) = &self.cookie {
            let _ = res.add_cookie(cookie);
        }
        res
    }
}

fn visitor_cookie(state: &State) -> &'static str {
    if state.settings.secure { "__Host-visitor" } else { "visitor" }
}

fn csrf_of(token: &str) -> String {
    crate::domain::audit::hex(&Sha256::digest(format!("countersign visitor form {token}")))
}

/// `GET /login`
pub(super) async fn form(req: HttpRequest, next: Query<Next>) -> Result<HttpResponse, PageError> {
    let visitor = Visitor::of(&req)?;
    let flash = page::flash(&req);
    let page = SignInPage {
        theme: Context::current().theme,
        csrf: visitor.csrf.clone(),
        next: local(&next.next).to_owned(),
        email: String::new(),
        flash,
        error: None,
    };
    std::future::ready(Ok(visitor.mark(html_after_flash(&page, flash)))).await
}

/// `POST /login`
pub(super) async fn submit(
    req: HttpRequest,
    state: Data<State>,
    AnonymousPost(form): AnonymousPost,
) -> Result<HttpResponse, PageError> {
    let next = local(form.text("next")).to_owned();
    let email = form.text("email").trim().to_owned();
    let password = Zeroizing::new(form.text("password").to_owned());
    match check(&req, &state, &email, password).await {
        Ok(member) => {
            TypedSession::of(&req).begin(&member.id, &random_token().map_err(Error::internal)?)?;
            Ok(see_other(if next.is_empty() { "/" } else { &next }))
        }
        Err(Error::Refused(refusal @ (Refusal::BadCredentials | Refusal::Throttled(_)))) => {
            let visitor = Visitor::of(&req)?;
            let page = SignInPage {
                theme: Context::current().theme,
                csrf: visitor.csrf.clone(),
                next,
                email,
                flash: None,
                error: Some(refusal.to_string()),
            };
            Ok(visitor.mark(refused(&page, &refusal)))
        }
        Err(e) => Err(e.into()),
    }
}

fn refused(page: &SignInPage, refusal: &Refusal) -> HttpResponse {
    let Refusal::Throttled(seconds) = refusal else {
        return html(StatusCode::UNPROCESSABLE_ENTITY, page);
    };
    let mut res = html(StatusCode::TOO_MANY_REQUESTS, page);
    res.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
    res
}

/// The member, if address and password fit and the account is open. Counted first, hashed second.
async fn check(
    req: &HttpRequest,
    state: &State,
    email: &str,
    password: Zeroizing<String>,
) -> Result<Member, Error> {
    if password.len() > password::MAX_BYTES || email.len() > 320 {
        return Err(Refusal::BadCredentials.into());
    }
    let origin = client::origin(req, &state.settings.trusted_proxies);
    let email = email.parse::<Email>().ok();
    let (subject, from) = (email.clone(), origin.clone());
    state.db.write(move |tx| actions::sign_in::count_attempt(tx, subject.as_ref(), &from)).await?;
    let found = match email {
        Some(email) => state.db.read(move |conn| members::find_by_email(conn, &email)).await?,
        None => None,
    };
    let (member, hash) = found.map_or((None, None), |(member, hash)| (Some(member), hash));
    let fits = state.passwords.verify(hash, password).await?;
    match member {
        Some(member) if fits && member.state == MemberState::Active => {
            let known = member.clone();
            state.db.write(move |tx| actions::sign_in::succeeded(tx, &known, &origin)).await?;
            Ok(member)
        }
        known => {
            state
                .db
                .write(move |tx| {
                    actions::sign_in::failed(tx, known.as_ref(), origin);
                    Ok(())
                })
                .await?;
            Err(Refusal::BadCredentials.into())
        }
    }
}

/// `POST /logout`
pub(super) async fn sign_out(
    req: HttpRequest,
    state: Data<State>,
    post: Post,
) -> Result<HttpResponse, PageError> {
    let me = post.me.actor;
    state
        .db
        .write(move |tx| {
            actions::sign_in::ended(tx, &me);
            Ok(())
        })
        .await?;
    TypedSession::of(&req).end();
    let mut res = redirect_with("/login", Flash::SignedOut);
    let clear = header::HeaderValue::from_static("\"cache\"");
    res.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), clear);
    Ok(res)
}

/// A path on this server, or nothing: never an address that leads elsewhere.
fn local(next: &str) -> &str {
    let plain = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|b| b.is_ascii_graphic());
    if plain { next } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_returned_to() {
        assert_eq!(local("/requests?state=closed"), "/requests?state=closed");
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "requests",
            "/a\r\nb",
            "/\t/x",
        ] {
            assert_eq!(local(next), "", "{next:?}");
        }
        assert_eq!(url("/requests?state=closed"), "/login?next=%2Frequests%3Fstate%3Dclosed");
    }
}
