//! Setting up organisations, from the command line.

use serde_json::json;

use crate::domain::audit::{Event, Who};
use crate::domain::id::OrganisationId;
use crate::domain::money::Currency;
use crate::domain::movement::parse_short_code;
use crate::domain::organisation::Organisation;
use crate::domain::refusal::Refusal;
use crate::domain::text::parse_line;
use crate::error::Error;
use crate::store::{Tx, organisations, wallets};

/// What an organisation is made of.
#[derive(Clone, Debug)]
pub struct NewOrganisation {
    /// A given id, or a fresh one.
    pub id: Option<OrganisationId>,
    /// Its name.
    pub name: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The number others send money to.
    pub short_code: String,
    /// IANA name, such as `Africa/Lagos`.
    pub time_zone: String,
}

/// Creates an organisation with an empty wallet.
pub fn create(tx: &mut Tx<'_>, new: &NewOrganisation) -> Result<OrganisationId, Error> {
    let invalid = |message: String| Error::from(Refusal::Invalid(message));
    let currency: Currency = new.currency.parse().map_err(invalid)?;
    let short_code = parse_short_code(&new.short_code).map_err(invalid)?;
    let zone = new.time_zone.parse::<chrono_tz::Tz>();
    let organisation = Organisation {
        id: new.id.clone().unwrap_or_else(|| OrganisationId::new(tx.new_id())),
        name: parse_line(&new.name).map_err(|e| invalid(format!("Name: {e}")))?,
        currency,
        short_code,
        time_zone: zone.map_err(|_| {
            invalid(format!("{} is not a time zone such as UTC or Africa/Lagos.", new.time_zone))
        })?,
        approvals_needed: 1,
        created_at: tx.now,
    };
    organisations::insert(tx, &organisation)?;
    let holder = wallets::Holder::Organisation(organisation.id.clone());
    wallets::insert(tx, holder, &organisation.name, currency)?;
    organisations::announce_account(tx, &organisation.id)?;
    tx.audit(Event {
        organisation_id: Some(organisation.id.clone()),
        who: Who::Command,
        action: "organisation.created",
        subject_id: Some(organisation.id.to_string()),
        detail: json!({ "name": organisation.name, "currency": currency.as_str() }),
    });
    Ok(organisation.id)
}
