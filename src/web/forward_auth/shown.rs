//! Which key came with a call: only headers that the key's own API accepts count.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;

use crate::domain::catalogue::Credential;
use crate::domain::secret::PlainSecret;
use crate::enforce::Entry;
use crate::web::State;
use crate::web::api::ApiError;

/// The entry of the key in the headers. Two different keys leave open which is meant.
pub(super) async fn find(headers: &HeaderMap, state: &State) -> Result<Arc<Entry>, ApiError> {
    let apis = state.db.site().catalogue.list();
    let known = apis.iter().flat_map(|api| &api.credentials);
    let shown: Vec<_> = known.flat_map(|known| secrets(headers, known)).collect();
    let first = shown.first().ok_or(ApiError::Unauthorized)?;
    if shown.iter().any(|secret| secret.expose() != first.expose()) {
        return Err(ApiError::Invalid("invalid_request", "Send one API key, not several"));
    }
    let entry = state.index.find(&first.hash()).ok_or(ApiError::Unauthorized)?;
    let api = state.db.site().catalogue.find(&entry.key.grant.api).ok_or(ApiError::Unauthorized)?;
    let owner = entry.key.organisation_id.clone();
    let account = state
        .db
        .read(move |conn| crate::store::organisations::get(conn, &owner))
        .await?
        .account_name();
    let accepted = api.credentials.iter().any(|known| {
        secrets(headers, known).next().is_some() && is_partner(headers, known, &account)
    });
    if accepted { Ok(entry) } else { Err(ApiError::Unauthorized) }
}

/// The well-formed secrets that came in a header.
fn secrets<'a>(headers: &'a HeaderMap, known: &'a Credential) -> impl Iterator<Item = PlainSecret> {
    headers.get_all(known.header.as_str()).filter_map(|value| {
        let text = value.to_str().ok()?;
        let text = match &known.scheme {
            None => text,
            Some(scheme) => {
                let (word, rest) = text.split_once(' ')?;
                word.eq_ignore_ascii_case(scheme).then(|| rest.trim())?
            }
        };
        PlainSecret::parse(text)
    })
}

/// True if the companion header, where one is asked for, names the key's organisation.
fn is_partner(headers: &HeaderMap, known: &Credential, account: &str) -> bool {
    known.partner_header.as_ref().is_none_or(|name| {
        let mut values = headers.get_all(name.as_str()).map(|value| value.as_bytes());
        values.next() == Some(account.as_bytes()) && values.next().is_none()
    })
}
