//! The mails of the product: who gets which, and what they say. Rendered when they are queued.

mod addresses;

use askama::Template;
use chrono::TimeDelta;

use crate::domain::key::{Grant, Key};
use crate::domain::member::{Actor, Member};
use crate::domain::money::{Currency, Money};
use crate::domain::movement::Movement;
use crate::domain::operation::OperationStatus;
use crate::domain::organisation::Organisation;
use crate::domain::request::{Payload, Request};
use crate::domain::text::Email;
use crate::error::Error;
use crate::mail::Letter;
use crate::store::operations::News;
use crate::store::{Tx, members, outbox};

pub(super) use addresses::addresses_seen;

/// Checkers hear of the operations of keys at most so often.
pub(super) const DIGEST_EVERY: TimeDelta = TimeDelta::minutes(5);

/// What every mail is made of; one template for text and one for HTML.
struct Content {
    subject: String,
    opening: String,
    facts: Vec<(&'static str, String)>,
    closing: &'static str,
    link: (&'static str, String),
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct TextLetter<'a> {
    content: &'a Content,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct HtmlLetter<'a> {
    content: &'a Content,
}

/// Tells each checker that a request waits.
pub(super) fn request_made(
    tx: &mut Tx<'_>,
    request: &Request,
    (maker, organisation): (&Actor, &Organisation),
    checkers: &[Member],
) -> Result<(), Error> {
    let mut facts = vec![("Asked by", maker.member.name.clone())];
    let what = match &request.payload {
        Payload::IssueKey(grant) => {
            facts.extend(grant_facts(tx, grant, organisation.currency));
            ("for a key", "for an API key")
        }
        Payload::Operation(movement) => {
            facts.extend(movement_facts(movement));
            ("to move money", "to move money")
        }
    };
    if !request.justification.is_empty() {
        facts.push(("Why", request.justification.replace('\n', "\n    ")));
    }
    let content = Content {
        subject: format!("{} asks {}: {}", maker.member.name, what.0, request.payload.title()),
        opening: format!(
            "{} of {} asks {} and needs somebody else to agree.",
            maker.member.name, organisation.name, what.1
        ),
        facts,
        closing: "Opening the link decides nothing. You approve or reject on the page, after signing in.",
        link: ("Review the request", request_link(tx, request)),
    };
    checkers.iter().try_for_each(|checker| queue(tx, &checker.email, &content))
}

/// Tells the maker that the key is ready to be revealed.
pub(super) fn request_approved(
    tx: &mut Tx<'_>,
    request: &Request,
    checker: &Actor,
    key: &Key,
) -> Result<(), Error> {
    let content = Content {
        subject: format!("Approved: {}", request.payload.title()),
        opening: format!(
            "{} approved your request for “{}”.",
            checker.member.name,
            request.payload.title()
        ),
        facts: Vec::new(),
        closing: "Open the key's page and reveal it when you are ready to store it. It is shown once.",
        link: ("Reveal your key", format!("{}/settings/api-keys/{}", tx.site.public_url, key.id)),
    };
    to_maker(tx, request, &content)
}

/// Tells the maker whether the money has moved.
pub(super) fn operation_done(
    tx: &mut Tx<'_>,
    request: &Request,
    checker: &Actor,
    status: OperationStatus,
) -> Result<(), Error> {
    let (subject, end, closing) = if status == OperationStatus::Completed {
        ("Completed", "and the money has moved", "The balance shows it already.")
    } else {
        (
            "Failed",
            "but the wallet that was to pay did not hold enough, so nothing has moved",
            "Ask again once the wallet is funded.",
        )
    };
    let content = Content {
        subject: format!("{subject}: {}", request.payload.title()),
        opening: format!("{} approved “{}”, {end}.", checker.member.name, request.payload.title()),
        facts: Vec::new(),
        closing,
        link: ("See the operation", request_link(tx, request)),
    };
    to_maker(tx, request, &content)
}

/// Tells each checker how many operations keys have asked for.
pub(super) fn operations_wait(
    tx: &mut Tx<'_>,
    organisation: &Organisation,
    news: &News,
    checkers: &[Member],
) -> Result<(), Error> {
    let count = match news.total.count {
        1 => "1 operation waits".to_owned(),
        n => format!("{n} operations wait"),
    };
    let amount = Money::from_minor(news.total.amount, organisation.currency);
    let content = Content {
        subject: format!("{count} for a checker: {amount}"),
        opening: format!(
            "Keys of {} asked to move money, and somebody has to agree: {count}, {amount} in all.",
            organisation.name
        ),
        facts: Vec::new(),
        closing: "You will not hear of further ones for five minutes. Opening the link decides nothing.",
        link: ("See what waits", format!("{}/operations?state=pending", tx.site.public_url)),
    };
    checkers.iter().try_for_each(|checker| queue(tx, &checker.email, &content))
}

/// Tells the maker why not.
pub(super) fn request_rejected(
    tx: &mut Tx<'_>,
    request: &Request,
    checker: &Actor,
    reason: &str,
) -> Result<(), Error> {
    let content = Content {
        subject: format!("Rejected: {}", request.payload.title()),
        opening: format!(
            "{} rejected your request for “{}”.",
            checker.member.name,
            request.payload.title()
        ),
        facts: vec![("Reason", reason.replace('\n', "\n    "))],
        closing: "You can send a new request that takes the reason into account.",
        link: ("See the request", request_link(tx, request)),
    };
    to_maker(tx, request, &content)
}

/// Tells the maker that nobody decided in time.
pub(super) fn request_expired(tx: &mut Tx<'_>, request: &Request) -> Result<(), Error> {
    let content = Content {
        subject: format!("Expired: {}", request.payload.title()),
        opening: format!(
            "Nobody decided your request for “{}” within 14 days.",
            request.payload.title()
        ),
        facts: Vec::new(),
        closing: "If you still need it, ask for it again and tell a checker.",
        link: ("See the request", request_link(tx, request)),
    };
    to_maker(tx, request, &content)
}

/// Tells the maker and the contact address that the secret was shown.
pub(super) fn key_revealed(
    tx: &mut Tx<'_>,
    key: &Key,
    maker: &Actor,
    again: bool,
) -> Result<(), Error> {
    let (subject, what) = if again {
        ("Revealed again", "once more: it has a new secret now, and the one shown before has ended")
    } else {
        ("Revealed", "and it works from now on")
    };
    let content = Content {
        subject: format!("{subject}: {}", key.grant.label),
        opening: format!("{} revealed the key “{}” {what}.", maker.member.name, key.grant.label),
        facts: Vec::new(),
        closing: "If that was not expected, revoke the key on its page; that takes effect at once.",
        link: ("See the key", key_link(tx, key)),
    };
    to_maker_and_contact(tx, key, &content)
}

/// Tells the maker and the contact address that the key has ended.
pub(super) fn key_revoked(tx: &mut Tx<'_>, key: &Key, by: &str, reason: &str) -> Result<(), Error> {
    let content = Content {
        subject: format!("Revoked: {}", key.grant.label),
        opening: format!(
            "{by} revoked the key “{}”. Calls with it are refused from now on.",
            key.grant.label
        ),
        facts: vec![("Reason", reason.replace('\n', "\n    "))],
        closing: "A revoked key cannot be brought back. Ask for a new one if it is still needed.",
        link: ("See the key", key_link(tx, key)),
    };
    to_maker_and_contact(tx, key, &content)
}

/// Invites somebody to choose a password.
pub(super) fn invitation(
    tx: &mut Tx<'_>,
    member: &Member,
    organisation: &Organisation,
    link: &str,
) -> Result<(), Error> {
    let content = Content {
        subject: format!("Join {}", organisation.name),
        opening: format!(
            "Hello {}, you are invited to join {} on Countersign.",
            member.name, organisation.name
        ),
        facts: vec![
            ("Sign in as", member.email.to_string()),
            ("Your roles", member.roles.to_string()),
        ],
        closing: "The link works once, for 24 hours. If you do not expect this, ignore it.",
        link: ("Choose a password", link.to_owned()),
    };
    queue(tx, &member.email, &content)
}

fn to_maker(tx: &mut Tx<'_>, request: &Request, content: &Content) -> Result<(), Error> {
    match members::find(tx.conn, &request.maker_id)? {
        Some(maker) => queue(tx, &maker.email, content),
        None => Ok(()),
    }
}

fn to_maker_and_contact(tx: &mut Tx<'_>, key: &Key, content: &Content) -> Result<(), Error> {
    maker_and_contact(tx, key)?.iter().try_for_each(|to| queue(tx, to, content))
}

fn maker_and_contact(tx: &mut Tx<'_>, key: &Key) -> Result<Vec<Email>, Error> {
    let maker = members::find(tx.conn, &key.maker_id)?.map(|maker| maker.email);
    let contact = key.grant.contact_email.clone().filter(|contact| maker.as_ref() != Some(contact));
    Ok(maker.into_iter().chain(contact).collect())
}

fn queue(tx: &mut Tx<'_>, to: &Email, content: &Content) -> Result<(), Error> {
    let letter = Letter {
        id: tx.new_id().to_string(),
        to: to.to_string(),
        subject: format!("[Countersign] {}", content.subject),
        text: TextLetter { content }.render().map_err(Error::internal)?,
        html: HtmlLetter { content }.render().map_err(Error::internal)?,
    };
    outbox::insert(tx, &letter)
}

/// What would move, in the words of the review page.
fn movement_facts(movement: &Movement) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Operation", movement.kind.name().to_owned()),
        ("Amount", movement.money().to_string()),
        ("Other side", movement.party.to_string()),
    ];
    facts.extend(movement.memo.clone().map(|memo| ("Memo", memo)));
    facts
}

/// What a grant allows, in the words of the review page.
fn grant_facts(tx: &Tx<'_>, grant: &Grant, currency: Currency) -> Vec<(&'static str, String)> {
    let catalogue = &tx.site.catalogue;
    let names: Vec<_> =
        grant.permissions.iter().map(|slug| catalogue.permission_name(&grant.api, slug)).collect();
    let limit = |minor: Option<i64>| {
        minor.map_or_else(
            || "no limit".to_owned(),
            |minor| Money::from_minor(minor, currency).to_string(),
        )
    };
    let addresses = if grant.allowed_ips.is_any() {
        "any address".to_owned()
    } else {
        grant.allowed_ips.to_string()
    };
    let life =
        grant.expires_in_days.map_or_else(|| "never".to_owned(), |days| format!("{days} days"));
    let entry = catalogue.find(&grant.api);
    let api = entry.map_or_else(|| grant.api.clone(), |api| api.name.clone());
    let mut facts = vec![("Key", grant.label.clone()), ("API", api)];
    facts.extend(grant.system.clone().map(|system| ("System", system)));
    facts.push(("Environment", grant.environment.as_str().to_owned()));
    facts.extend(entry.and_then(|api| {
        let access = api.access_type(grant.access_type.as_deref()?)?;
        Some(("Access type", access.name.clone()))
    }));
    facts.push(("Permissions", names.join(", ")));
    for (slug, values) in &grant.restrictions {
        let name = entry.and_then(|api| api.restriction(slug)).map_or(slug, |list| &list.name);
        let values = values.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        facts.push(("Restricted to", format!("{name}: {values}")));
    }
    if entry.is_none_or(|api| api.money_limits) {
        facts.push(("Most per operation", limit(grant.max_transaction)));
        facts.push(("Most per day", limit(grant.max_daily)));
    }
    facts.extend([("Allowed addresses", addresses), ("Expires after", life)]);
    facts
}

fn request_link(tx: &Tx<'_>, request: &Request) -> String {
    format!("{}/requests/{}", tx.site.public_url, request.id)
}

fn key_link(tx: &Tx<'_>, key: &Key) -> String {
    format!("{}/settings/api-keys/{}", tx.site.public_url, key.id)
}
