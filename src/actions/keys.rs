//! What happens to a key after its request was approved.

use serde_json::json;

use super::{current, letters};
use crate::domain::audit::{Event, Who};
use crate::domain::id::{KeyId, OrganisationId, SecretId};
use crate::domain::key::{Grant, Key, KeyState, Secret};
use crate::domain::member::{Actor, Origin};
use crate::domain::policy;
use crate::domain::refusal::Refusal;
use crate::domain::request::Request;
use crate::domain::secret::PlainSecret;
use crate::domain::text::fold_spaces;
use crate::error::Error;
use crate::store::{Tx, keys, organisations, secrets, usage};

/// Refuses one key more than the catalogue allows to be live at a time. Whoever asks at the same time
/// queues up on the organisation, so that of two for the last place one is refused.
pub(super) fn keep_caps(
    tx: &mut Tx<'_>,
    organisation: &OrganisationId,
    grant: &Grant,
) -> Result<(), Error> {
    let Some(api) = tx.site.catalogue.find(&grant.api) else { return Ok(()) };
    for cap in api.caps(grant.access_type.as_deref()) {
        organisations::lock(tx, organisation)?;
        let live = keys::Filter {
            api: Some(&grant.api),
            access_type: cap.access_type,
            ..keys::Filter::of(keys::Listed::Live, tx.now)
        };
        if keys::count_to(tx.conn, organisation, live, i64::from(cap.keys))? >= i64::from(cap.keys)
        {
            let name = match cap.access_type {
                Some(_) => format!("{} ({})", api.name, cap.name),
                None => cap.name.to_owned(),
            };
            return Err(Refusal::CapReached(cap.keys, name).into());
        }
    }
    Ok(())
}

/// Makes the key that was approved; nothing secret exists yet.
pub(super) fn issue(tx: &mut Tx<'_>, request: &Request, grant: &Grant) -> Result<Key, Error> {
    keep_caps(tx, &request.organisation_id, grant)?;
    let key = Key {
        id: KeyId::new(tx.new_id()),
        organisation_id: request.organisation_id.clone(),
        request_id: request.id.clone(),
        maker_id: request.maker_id.clone(),
        grant: grant.clone(),
        expires_at: grant.expiry_from(tx.now),
        state: KeyState::Approved,
        version: 1,
        created_at: tx.now,
    };
    keys::insert(tx, &key)?;
    usage::insert(tx, &key.id)?;
    Ok(key)
}

/// Mints the secret of a key for its maker to see. A secret shown before that was neither saved nor
/// used ends here, so that of racing reveals exactly one stays good.
pub fn reveal(tx: &mut Tx<'_>, me: &Actor, id: &KeyId) -> Result<(Key, PlainSecret), Error> {
    let key = keys::lock(tx, me.organisation(), id)?;
    policy::may_reveal(&current(tx, me)?, &key)?;
    let key = key.reveal(tx.now)?;
    keys::update(tx, &key)?;
    // Ended before looked at: this waits for a first use that is just being written down.
    let replaced = secrets::end_unsaved(tx, id)?;
    if secrets::list(tx.conn, id)?.iter().any(|secret| secret.ended_at.is_none()) {
        return Err(Refusal::AlreadyRevealed.into());
    }
    let prefix = tx.site.catalogue.find(&key.grant.api).map(|api| api.prefix.clone());
    let prefix =
        prefix.ok_or_else(|| Error::internal(format!("{} left the catalogue", key.grant.api)))?;
    let plain = PlainSecret::mint(&prefix).map_err(Error::internal)?;
    let secret = Secret {
        id: SecretId::new(tx.new_id()),
        key_id: key.id.clone(),
        last_four: plain.last_four().to_owned(),
        minted_at: tx.now,
        confirmed_at: None,
        first_used_at: None,
        ended_at: None,
    };
    secrets::insert(tx, &secret, plain.hash())?;
    let detail = json!({ "last_four": secret.last_four, "replaces_unsaved": replaced });
    tx.audit(event(me, "secret.revealed", &key, detail));
    letters::key_revealed(tx, &key, me, replaced > 0)?;
    keys::announce(tx, key.clone())?;
    Ok((key, plain))
}

/// Notes that the maker saved the secret: from now on it is never shown again. `seen` is the one on
/// the maker's page; another tab may have revealed a newer one since, which ended it.
pub fn confirm(
    tx: &mut Tx<'_>,
    me: &Actor,
    id: &KeyId,
    seen: Option<&SecretId>,
) -> Result<Key, Error> {
    let key = keys::lock(tx, me.organisation(), id)?;
    policy::may_reveal(&current(tx, me)?, &key)?;
    let key = key.reveal(tx.now)?;
    keys::update(tx, &key)?;
    let live = secrets::list_live(tx.conn, id)?;
    if seen.is_some_and(|seen| live.iter().all(|secret| secret.id != *seen)) {
        return Err(Refusal::SecretReplaced.into());
    }
    if secrets::confirm(tx, id)? == 0 {
        return Err(Refusal::NothingToConfirm.into());
    }
    tx.audit(event(me, "secret.confirmed", &key, json!({})));
    keys::announce(tx, key.clone())?;
    Ok(key)
}

/// Ends a key for good, at once, on every node.
pub fn revoke(
    tx: &mut Tx<'_>,
    me: &Actor,
    id: &KeyId,
    typed_label: &str,
    reason: &str,
) -> Result<(), Error> {
    let key = keys::lock(tx, me.organisation(), id)?;
    policy::may_revoke(&current(tx, me)?)?;
    if fold_spaces(typed_label) != fold_spaces(&key.grant.label) {
        return Err(Refusal::LabelMismatch.into());
    }
    if reason.is_empty() {
        return Err(Refusal::Invalid("Say why you revoke it.".to_owned()).into());
    }
    let who = Who::Member(Box::new(me.clone()));
    end(tx, key, who, (&me.member.name, reason))
}

/// Ends a key for good because its bearer says so.
pub fn revoke_self(
    tx: &mut Tx<'_>,
    organisation: &OrganisationId,
    id: &KeyId,
    origin: &Origin,
) -> Result<(), Error> {
    let key = keys::lock(tx, organisation, id)?;
    let who = Who::Key(id.clone(), key.grant.label.clone(), origin.clone());
    end(tx, key, who, ("Its bearer", "Revoked by its bearer through the API."))
}

/// Ends a key and its secrets, and tells of it under this name and with this reason.
fn end(tx: &mut Tx<'_>, key: Key, who: Who, (name, reason): (&str, &str)) -> Result<(), Error> {
    let by = match &who {
        Who::Member(actor) => Some(actor.id().clone()),
        Who::Key(..) | Who::Command | Who::Worker | Who::Visitor(_) => None,
    };
    let key = key.revoke(by, reason.to_owned(), tx.now)?;
    keys::update(tx, &key)?;
    secrets::end_all(tx, &key.id)?;
    tx.audit(Event {
        organisation_id: Some(key.organisation_id.clone()),
        who,
        action: "key.revoked",
        subject_id: Some(key.id.to_string()),
        detail: json!({ "reason": reason }),
    });
    letters::key_revoked(tx, &key, name, reason)?;
    keys::announce(tx, key)
}

/// Writes down the first call with a secret, after which it can never be replaced by another reveal.
/// False if it was replaced or ended before.
pub fn note_first_use(tx: &mut Tx<'_>, id: &SecretId) -> Result<bool, Error> {
    secrets::note_first_use(tx, id)
}

fn event(me: &Actor, action: &'static str, key: &Key, detail: serde_json::Value) -> Event {
    Event {
        organisation_id: Some(key.organisation_id.clone()),
        who: Who::Member(Box::new(me.clone())),
        action,
        subject_id: Some(key.id.to_string()),
        detail,
    }
}
