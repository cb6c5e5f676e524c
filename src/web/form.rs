//! Forms as they arrive: read whole, proved to come from our pages, then asked field by field.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{FromRequest as _, HttpMessage as _, HttpRequest};
use subtle::ConstantTimeEq as _;

use super::error::PageError;
use crate::domain::request::Version;
use crate::error::Error;

/// The field that carries the proof.
const CSRF: &str = "csrf";
/// How long a whole form may take to arrive; actix itself would wait for ever.
const PATIENCE: Duration = Duration::from_secs(15);

/// The fields of a form whose proof was checked.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form and checks that it carries `csrf`.
    pub(super) async fn read(
        req: &HttpRequest,
        payload: &mut Payload,
        csrf: &str,
    ) -> Result<Self, PageError> {
        let bad = PageError::BadRequest;
        if req.content_type() != "application/x-www-form-urlencoded" {
            return Err(bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, "This address takes forms only."));
        }
        let body = tokio::time::timeout(PATIENCE, Bytes::from_request(req, payload))
            .await
            .map_err(|_| bad(StatusCode::REQUEST_TIMEOUT, "The form took too long to arrive."))?
            .map_err(|e| match e.as_response_error().status_code() {
                StatusCode::PAYLOAD_TOO_LARGE => bad(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "The form is too large. Shorten what you typed.",
                ),
                _ => bad(StatusCode::BAD_REQUEST, "The form did not arrive whole. Send it again."),
            })?;
        let form = Self(url::form_urlencoded::parse(&body).into_owned().collect());
        if !bool::from(form.text(CSRF).as_bytes().ct_eq(csrf.as_bytes())) || csrf.is_empty() {
            return Err(bad(
                StatusCode::FORBIDDEN,
                "This form is from an earlier visit. Nothing was done. Go back, reload the page and try again.",
            ));
        }
        let state = super::signed_in::state(req)?;
        // The ticks of a list: permissions, and the restrictions of whatever API.
        let list =
            |name: &str| name == "permissions" || state.db.site().catalogue.has_restriction(name);
        if form.repeats_itself(list) {
            return Err(bad(StatusCode::BAD_REQUEST, "A field of the form is there twice."));
        }
        Ok(form)
    }

    /// The field with this name; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// True if the field is there, empty or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Every value of a field that may be there several times.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
    }

    /// The version of a request that the person was looking at.
    pub(super) fn version(&self) -> Result<Version, Error> {
        self.text("version").parse().map(Version).map_err(|_| Error::Stale)
    }

    /// A field that none of `known` names, which nobody's browser sends.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0
            .iter()
            .map(|(field, _)| field.as_str())
            .find(|field| *field != CSRF && !known.contains(field))
    }

    fn repeats_itself(&self, may: impl Fn(&str) -> bool) -> bool {
        let mut seen = std::collections::HashSet::new();
        self.0.iter().any(|(field, _)| !may(field) && !seen.insert(field))
    }
}
