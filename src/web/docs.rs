//! The documentation page: the API by example, in calls that can be pasted.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use super::State;
use super::error::PageError;
use super::page::{Frame, Nav, html_after_flash};
use super::signed_in::SignedIn;

#[derive(Template)]
#[template(path = "docs/show.html")]
struct DocsPage {
    frame: Frame,
    /// Where the API is.
    api: String,
    /// Where the organisation's own wallet is.
    wallet: String,
}

/// `GET /docs`
pub(super) async fn show(state: Data<State>, me: SignedIn) -> Result<HttpResponse, PageError> {
    let flash = me.flash;
    let frame = state.db.read(move |conn| Frame::load(conn, &me, Nav::Docs)).await?;
    let api = format!("{}/api/v1", state.db.site().public_url);
    let wallet = format!("{api}/distributors/{}", frame.organisation.id);
    Ok(html_after_flash(&DocsPage { frame, api, wallet }, flash))
}
