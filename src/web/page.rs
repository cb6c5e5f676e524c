//! What every page has in common: the frame round it, and how it becomes an answer.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use chrono::{DateTime, Utc};

use super::context::Context;
use super::outer::see_other;
use super::signed_in::SignedIn;
use crate::domain::member::Roles;
use crate::error::Error;
use crate::store::{Conn, organisations, requests};

/// The cookie of a flash; over https browsers insist on https, this host and the whole path.
fn flash_name() -> &'static str {
    if Context::current().secure { "__Host-flash" } else { "flash" }
}

/// Which entry of the navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nav {
    Home,
    Operations,
    Keys,
    Requests,
    Docs,
}

/// The frame around a page: who is looking, and what to tell them.
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) roles: Roles,
    pub(super) organisation: crate::domain::organisation::Organisation,
    pub(super) csrf: String,
    pub(super) flash: Option<Flash>,
    pub(super) nav: Nav,
    pub(super) theme: &'static str,
    /// Requests of others that this member could decide.
    pub(super) waiting: i64,
    pub(super) now: DateTime<Utc>,
}

/// Something to say on the page after a redirect. Only its code travels, so nobody can put words
/// into our mouth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flash {
    Sent,
    Approved,
    Moved,
    NotMoved,
    Voted,
    Rejected,
    Withdrawn,
    Saved,
    Revoked,
    Joined,
    SignedOut,
}

impl Flash {
    const ALL: [Self; 11] = [
        Self::Sent,
        Self::Approved,
        Self::Moved,
        Self::NotMoved,
        Self::Voted,
        Self::Rejected,
        Self::Withdrawn,
        Self::Saved,
        Self::Revoked,
        Self::Joined,
        Self::SignedOut,
    ];

    fn code(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Approved => "approved",
            Self::Moved => "moved",
            Self::NotMoved => "not-moved",
            Self::Voted => "voted",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Saved => "saved",
            Self::Revoked => "revoked",
            Self::Joined => "joined",
            Self::SignedOut => "signed-out",
        }
    }

    /// The sentence on the page.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Sent => "Your request was sent. Every checker has been told by mail.",
            Self::Approved => "You approved the request. The maker can reveal the key now.",
            Self::Moved => "You approved the operation, and the money has moved.",
            Self::NotMoved => {
                "You approved the operation, but the wallet that was to pay did not hold enough. Nothing has moved."
            }
            Self::Voted => "You approved the request. It still needs somebody else.",
            Self::Rejected => "You rejected the request. The maker has been told why.",
            Self::Withdrawn => "You took the request back. Nobody can approve it any more.",
            Self::Saved => "The key is saved and ready to use. It will not be shown again.",
            Self::Revoked => "The key is revoked. Calls with it are refused from now on.",
            Self::Joined => "Your password is set. Sign in with it.",
            Self::SignedOut => "You are signed out.",
        }
    }

    /// The flash that the last answer left in a cookie.
    pub(super) fn read(cookie: Option<&Cookie<'_>>) -> Option<Self> {
        let code = cookie?.value();
        Self::ALL.into_iter().find(|flash| flash.code() == code)
    }
}

impl Frame {
    /// The frame for a signed-in member.
    pub(super) fn load(conn: &mut Conn, me: &SignedIn, nav: Nav) -> Result<Self, Error> {
        let member = &me.actor.member;
        let organisation = organisations::get(conn, &member.organisation_id)?;
        let waiting = if member.roles.checker {
            requests::count_waiting_for(conn, &member.organisation_id, &member.id)?
        } else {
            0
        };
        Ok(Self {
            name: member.name.clone(),
            roles: member.roles,
            organisation,
            csrf: me.csrf.clone(),
            flash: me.flash,
            nav,
            theme: me.context.theme,
            waiting,
            now: me.now,
        })
    }
}

/// Renders a page as an HTML answer.
pub(super) fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(body) => {
            HttpResponseBuilder::new(status).content_type("text/html; charset=utf-8").body(body)
        }
        Err(e) => {
            tracing::error!(request_id = Context::current().request_id.as_str(), cause = %e, "a page did not render");
            HttpResponse::InternalServerError()
                .content_type("text/plain; charset=utf-8")
                .body("Something went wrong on our side.")
        }
    }
}

/// Renders a page that has said what its flash had to say.
pub(super) fn html_after_flash(page: &impl Template, flash: Option<Flash>) -> HttpResponse {
    let mut res = html(StatusCode::OK, page);
    if flash.is_some() {
        let mut gone = flash_cookie("");
        gone.make_removal();
        // A cookie that cannot be set is only a sentence said twice.
        let _ = res.add_cookie(&gone);
    }
    res
}

/// Leads to another page that will say `flash`.
pub(super) fn redirect_with(location: &str, flash: Flash) -> HttpResponse {
    let mut res = see_other(location);
    let _ = res.add_cookie(&flash_cookie(flash.code()));
    res
}

fn flash_cookie(code: &'static str) -> Cookie<'static> {
    Cookie::build(flash_name(), code)
        .path("/")
        .http_only(true)
        .secure(Context::current().secure)
        .same_site(SameSite::Lax)
        .max_age(Duration::minutes(1))
        .finish()
}

/// The flash of a request.
pub(super) fn flash(req: &actix_web::HttpRequest) -> Option<Flash> {
    Flash::read(req.cookie(flash_name()).as_ref())
}
