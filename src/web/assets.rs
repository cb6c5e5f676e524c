//! The static files, inside the binary: a hash in the query makes them good for a year.

use actix_web::http::header;
use actix_web::web::{Path, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::error::PageError;
use crate::error::Error;

struct Asset {
    name: &'static str,
    kind: &'static str,
    hash: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The address of a static file, with the hash of its content.
pub(super) fn url(name: &str) -> String {
    let hash = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.hash);
    format!("/static/{name}?v={hash}")
}

#[derive(serde::Deserialize)]
pub(super) struct Version {
    v: Option<String>,
}

/// Serves a static file, compressed where the client takes it.
pub(super) async fn file(
    req: HttpRequest,
    name: Path<String>,
    version: Query<Version>,
) -> Result<HttpResponse, PageError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name.as_str()).ok_or(Error::NotFound)?;
    let etag = format!("\"{}\"", asset.hash);
    let is_current = version.v.as_deref() == Some(asset.hash);
    let cache = if is_current { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    let mut res = HttpResponse::Ok();
    res.insert_header((header::CACHE_CONTROL, cache))
        .insert_header((header::ETAG, etag.clone()))
        .insert_header((header::VARY, "Accept-Encoding"));
    let text =
        |name| req.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(header::IF_NONE_MATCH) == etag {
        return Ok(res.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    res.content_type(asset.kind);
    let takes_gzip =
        text(header::ACCEPT_ENCODING).split(',').any(|coding| coding.trim().starts_with("gzip"));
    let res = if takes_gzip {
        res.insert_header((header::CONTENT_ENCODING, "gzip")).body(asset.gzip)
    } else {
        res.body(asset.plain)
    };
    std::future::ready(Ok(res)).await
}
