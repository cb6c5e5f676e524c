//! The mails of the product: who gets which, and what they say. Rendered when they are queued.

use askama::Template;

use crate::domain::key::{Grant, Key};
use crate::domain::member::{Actor, Member};
use crate::domain::money::{Currency, Money, group};
use crate::domain::organisation::Organisation;
use crate::domain::request::Request;
use crate::domain::text::Email;
use crate::domain::usage::Address;
use crate::error::Error;
use crate::mail::Letter;
use crate::store::addresses::News;
use crate::store::{Tx, members, outbox};

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
    if let Some(grant) = request.payload.grant() {
        facts.extend(grant_facts(tx, grant, organisation.currency));
    }
    if !request.justification.is_empty() {
        facts.push(("Why", request.justification.replace('\n', "\n    ")));
    }
    let content = Content {
        subject: format!("{} asks for a key: {}", maker.member.name, request.payload.title()),
        opening: format!(
            "{} of {} asks for an API key and needs somebody else to agree.",
            maker.member.name, organisation.name
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
        closing: "If you still need the key, ask for it again and tell a checker.",
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

/// Tells the maker and the contact address where the key was called from for the first time.
pub(super) fn addresses_seen(tx: &mut Tx<'_>, key: &Key, news: &News) -> Result<(), Error> {
    let label = &key.grant.label;
    let (subject, what) = if news.total == 1 {
        (format!("New address: {label}"), "an address".to_owned())
    } else {
        let total = group(news.total);
        (format!("{total} new addresses: {label}"), format!("{total} addresses"))
    };
    let mut facts: Vec<_> =
        news.newest.iter().map(|address| ("From", address_fact(address))).collect();
    let listed = i64::try_from(news.newest.len()).unwrap_or(i64::MAX);
    if news.total > listed {
        facts.push(("And", format!("{} more", group(news.total - listed))));
    }
    let content = Content {
        subject,
        opening: format!(
            "The key “{label}” was called from {what} it had never been called from before."
        ),
        facts,
        closing: "If that was not expected, revoke the key on its page; that takes effect at once. \
                  New addresses of one key are mailed at most once an hour.",
        link: ("See where the key is used", format!("{}#usage", key_link(tx, key))),
    };
    to_maker_and_contact(tx, key, &content)
}

fn address_fact(address: &Address) -> String {
    let calls = match address.calls {
        1 => "1 call".to_owned(),
        calls => format!("{} calls", group(calls)),
    };
    let denied = match address.denied {
        0 => String::new(),
        denied if denied == address.calls => ", denied".to_owned(),
        denied => format!(", {} denied", group(denied)),
    };
    let first = address.first_seen_at.format("%-d %b %Y, %H:%M UTC");
    format!("{}, first on {first}, {calls}{denied}", address.ip)
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
    let maker = members::find(tx.conn, &key.maker_id)?.map(|maker| maker.email);
    let contact = key.grant.contact_email.clone().filter(|contact| maker.as_ref() != Some(contact));
    maker.into_iter().chain(contact).try_for_each(|to| queue(tx, &to, content))
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
    let api = catalogue.find(&grant.api).map_or_else(|| grant.api.clone(), |api| api.name.clone());
    vec![
        ("Key", grant.label.clone()),
        ("API", api),
        ("Environment", grant.environment.as_str().to_owned()),
        ("Permissions", names.join(", ")),
        ("Most per operation", limit(grant.max_transaction)),
        ("Most per day", limit(grant.max_daily)),
        ("Allowed addresses", addresses),
        ("Expires after", life),
    ]
}

fn request_link(tx: &Tx<'_>, request: &Request) -> String {
    format!("{}/requests/{}", tx.site.public_url, request.id)
}

fn key_link(tx: &Tx<'_>, key: &Key) -> String {
    format!("{}/settings/api-keys/{}", tx.site.public_url, key.id)
}
