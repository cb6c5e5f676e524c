//! Finding the key that comes with a request, in the headers that the catalogue names.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use super::ApiError;
use crate::domain::catalogue::{Catalogue, Credential};
use crate::enforce::Entry;

/// The headers besides `Authorization` that keys of some API arrive in.
#[derive(Clone, Debug)]
pub(in crate::web) struct KeyHeaders(Vec<HeaderName>);

impl KeyHeaders {
    /// Those of a catalogue.
    pub(in crate::web) fn of(catalogue: &Catalogue) -> Self {
        let credentials = catalogue.list().iter().flat_map(|api| &api.credentials);
        let mut names: Vec<HeaderName> =
            credentials.filter_map(|credential| credential.header.parse().ok()).collect();
        names.retain(|name| name != header::AUTHORIZATION);
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self(names)
    }

    /// The one key that comes with a request. Two different ones leave open which is meant.
    pub(in crate::web) fn find<'r>(
        &self,
        req: &'r HttpRequest,
    ) -> Result<Option<&'r str>, ApiError> {
        let mut found = None;
        let headers = req.headers();
        let bearers = headers.get_all(header::AUTHORIZATION).filter_map(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let others = self.0.iter().flat_map(|name| headers.get_all(name));
        let others = others.filter_map(|value| value.to_str().ok().map(str::trim));
        // A token with dots in it, such as a service's own JWT beside `X-API-KEY`, is no key of ours.
        for key in bearers.chain(others).filter(|key| !key.contains('.')) {
            match found {
                Some(before) if before != key => {
                    return Err(ApiError::invalid("", "Send one API key, not several"));
                }
                Some(_) | None => found = Some(key),
            }
        }
        Ok(found)
    }
}

/// True if the key stands in a header that its API accepts, with the companion it asks for.
pub(in crate::web) fn accepted(req: &HttpRequest, key: &str, entry: &Entry) -> bool {
    let rule = entry.rule();
    rule.api.credentials.iter().any(|credential| {
        stands_in(req, credential, key)
            && credential.partner_header.as_ref().is_none_or(|partner| {
                let mut values = req.headers().get_all(partner.as_str());
                let name = values.next().map(HeaderValue::as_bytes);
                name == Some(rule.account.name.as_bytes()) && values.next().is_none()
            })
    })
}

fn stands_in(req: &HttpRequest, credential: &Credential, key: &str) -> bool {
    let mut values = req.headers().get_all(credential.header.as_str());
    values.any(|value| match (value.to_str(), &credential.scheme) {
        (Err(_), _) => false,
        (Ok(text), None) => text.trim() == key,
        (Ok(text), Some(scheme)) => text
            .split_once(' ')
            .is_some_and(|(word, rest)| word.eq_ignore_ascii_case(scheme) && rest.trim() == key),
    })
}
