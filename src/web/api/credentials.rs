//! Finding the key that comes with a request, in the headers that the catalogue names.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::ApiError;
use crate::domain::catalogue::{Catalogue, Credential};
use crate::enforce::Rule;

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
        &'r self,
        headers: &'r HeaderMap,
    ) -> Result<Option<Presented<'r>>, ApiError> {
        let mut found: Option<Presented<'r>> = None;
        let bearers = headers.get_all(header::AUTHORIZATION).filter_map(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            is_bearer.then(|| (&header::AUTHORIZATION, Some(scheme), key.trim()))
        });
        let others = self.0.iter().flat_map(|name| {
            let texts = headers.get_all(name).filter_map(|value| value.to_str().ok());
            texts.map(move |text| (name, None, text.trim()))
        });
        // A token with dots in it, such as a service's own JWT beside `X-API-KEY`, is no key of ours.
        for (header, scheme, key) in bearers.chain(others).filter(|(.., key)| !key.contains('.')) {
            match &found {
                Some(before) if before.key != key => {
                    return Err(ApiError::invalid("", "Send one API key, not several"));
                }
                Some(_) => (),
                None => found = Some(Presented { key, header, scheme, headers }),
            }
        }
        Ok(found)
    }
}

/// A key as it came, with the first header that it stood in.
pub(in crate::web) struct Presented<'r> {
    pub(in crate::web) key: &'r str,
    header: &'r HeaderName,
    scheme: Option<&'r str>,
    headers: &'r HeaderMap,
}

impl Presented<'_> {
    /// True if the key stands in a header that its API accepts, with the companion it asks for.
    pub(in crate::web) fn is_accepted(&self, rule: &Rule) -> bool {
        rule.api.credentials.iter().any(|credential| {
            (self.came_by(credential) || self.stands_in(credential))
                && credential.partner_header.as_ref().is_none_or(|partner| {
                    let mut values = self.headers.get_all(partner.as_str());
                    let name = values.next().map(HeaderValue::as_bytes);
                    name == Some(rule.account.name.as_bytes()) && values.next().is_none()
                })
        })
    }

    fn came_by(&self, credential: &Credential) -> bool {
        let scheme = match (&credential.scheme, self.scheme) {
            (None, None) => true,
            (Some(word), Some(scheme)) => word.eq_ignore_ascii_case(scheme),
            (Some(_), None) | (None, Some(_)) => false,
        };
        scheme && credential.header.eq_ignore_ascii_case(self.header.as_str())
    }

    /// The same key may stand in several headers.
    fn stands_in(&self, credential: &Credential) -> bool {
        let mut values = self.headers.get_all(credential.header.as_str());
        values.any(|value| match (value.to_str(), &credential.scheme) {
            (Err(_), _) => false,
            (Ok(text), None) => text.trim() == self.key,
            (Ok(text), Some(scheme)) => text.split_once(' ').is_some_and(|(word, rest)| {
                word.eq_ignore_ascii_case(scheme) && rest.trim() == self.key
            }),
        })
    }
}
