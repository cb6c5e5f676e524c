//! Would this call be allowed? Every check with what it compared; nothing is counted.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{DateTime, Utc};

use crate::domain::catalogue::{Api, Catalogue};
use crate::domain::denial::Denial;
use crate::domain::id::KeyId;
use crate::domain::key::Key;
use crate::domain::money::{AmountError, Money};
use crate::enforce::{Call, KeyIndex, Rule, explain};
use crate::error::Error;
use crate::store::{Conn, keys, volumes};
use crate::web::error::PageError;
use crate::web::page::{Frame, Nav, html};
use crate::web::signed_in::SignedIn;
use crate::web::view::{Badge, key_url};
use crate::web::{State, client};

#[derive(Template)]
#[template(path = "keys/check.html")]
struct CheckPage {
    frame: Frame,
    key_url: String,
    label: String,
    badge: Badge,
    /// What the key opens; none if the catalogue has dropped it.
    api: Option<Arc<Api>>,
    permission: String,
    amount: String,
    ip: String,
    amount_mistake: Option<&'static str>,
    ip_mistake: Option<&'static str>,
    verdict: Option<Verdict>,
}

impl CheckPage {
    /// True if a permission is the chosen one.
    fn is_chosen(&self, slug: &str) -> bool {
        self.permission == slug
    }
}

/// What would become of the call, and why.
struct Verdict {
    denial: Option<Denial>,
    checks: Vec<Made>,
    /// What is counted as calls are made, and therefore not looked at here.
    rate_limit: String,
}

/// One check with what it compared.
struct Made {
    passed: bool,
    question: &'static str,
    detail: String,
    denial: Denial,
}

#[derive(serde::Deserialize)]
pub(in crate::web) struct CheckQuery {
    permission: Option<String>,
    amount: Option<String>,
    ip: Option<String>,
}

/// The call as it was typed, understood.
struct Asked {
    permission: Option<String>,
    amount: Option<Money>,
    ip: Option<IpAddr>,
    now: DateTime<Utc>,
}

/// `GET /settings/api-keys/{key}/check?permission=&amount=&ip=`
pub(in crate::web) async fn show(
    req: HttpRequest,
    state: Data<State>,
    me: SignedIn,
    id: Path<String>,
    query: Query<CheckQuery>,
) -> Result<HttpResponse, PageError> {
    let id: KeyId = id.parse().map_err(|_| Error::NotFound)?;
    let own_ip = client::ip(req.head(), &state.settings.trusted_proxies).map(|ip| ip.to_string());
    let (index, catalogue) = (Arc::clone(&state.index), state.db.site().catalogue.clone());
    let page = state
        .db
        .read(move |conn| load(conn, &me, (&id, query.into_inner(), own_ip), (&index, &catalogue)))
        .await?;
    Ok(html(StatusCode::OK, &page))
}

fn load(
    conn: &mut Conn,
    me: &SignedIn,
    (id, query, own_ip): (&KeyId, CheckQuery, Option<String>),
    (index, catalogue): (&KeyIndex, &Catalogue),
) -> Result<CheckPage, Error> {
    let frame = Frame::load(conn, me, Nav::Keys)?;
    let key = keys::get(conn, me.actor.organisation(), id)?;
    let api = catalogue.find(&key.grant.api).cloned();
    let is_asked = query.permission.is_some() || query.amount.is_some() || query.ip.is_some();
    let typed = |text: Option<String>| text.unwrap_or_default().trim().to_owned();
    let mut page = CheckPage {
        key_url: key_url(&key),
        label: key.grant.label.clone(),
        badge: key.status(me.now).into(),
        api,
        permission: typed(query.permission),
        amount: typed(query.amount),
        ip: if is_asked { typed(query.ip) } else { own_ip.unwrap_or_default() },
        amount_mistake: None,
        ip_mistake: None,
        verdict: None,
        frame,
    };
    let asked = if is_asked { page.read(me.now) } else { None };
    if let (Some(asked), Some(rule)) = (asked, index.rule(&key)) {
        page.verdict = Some(judge(conn, &key, &rule, &asked)?);
    }
    Ok(page)
}

impl CheckPage {
    /// The call, or nothing once the mistakes are noted.
    fn read(&mut self, now: DateTime<Utc>) -> Option<Asked> {
        let currency = self.frame.organisation.currency;
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let amount = filled(&self.amount).map(|text| Money::parse_typed(&text, currency));
        let ip = filled(&self.ip).map(|text| text.parse::<IpAddr>());
        self.amount_mistake = amount.and_then(Result::err).map(AmountError::sentence);
        let wrong_ip = ip.as_ref().is_some_and(Result::is_err);
        self.ip_mistake = wrong_ip.then_some("Enter an address such as 203.0.113.7.");
        let permission = filled(&self.permission);
        Some(Asked { permission, amount: amount.transpose().ok()?, ip: ip.transpose().ok()?, now })
    }
}

/// The same checks that calls go through, and the day's volume as it stands.
fn judge(conn: &mut Conn, key: &Key, rule: &Rule, asked: &Asked) -> Result<Verdict, Error> {
    let organisation = &rule.account.organisation;
    let call = Call {
        api: Some(&rule.api.slug),
        permission: asked.permission.as_deref(),
        organisation: Some(organisation.id.as_str()),
        amount: asked.amount.map(Money::minor),
        ..Call::at(asked.now, asked.ip)
    };
    let mut checks: Vec<_> = explain(rule, &call)
        .into_iter()
        .map(|(check, passed)| Made {
            passed,
            question: check.question,
            detail: detail(check.denial, rule, asked),
            denial: check.denial,
        })
        .collect();
    let used = volumes::used(conn, &key.id, organisation.day(asked.now))?;
    checks.push(daily_volume(rule, asked, used));
    let denial = checks.iter().find(|check| !check.passed).map(|check| check.denial);
    Ok(Verdict { denial, checks, rate_limit: rate_limit(rule, asked) })
}

/// What a check compared, in figures.
fn detail(denial: Denial, rule: &Rule, asked: &Asked) -> String {
    let money = |minor| Money::from_minor(minor, rule.account.organisation.currency).grouped();
    match denial {
        Denial::NotLive => {
            let word = Badge::from(rule.status(asked.now)).word.to_lowercase();
            match rule.expires_at() {
                Some(at) => {
                    format!("It is {word}; its end is {}.", at.format("%-d %b %Y, %H:%M UTC"))
                }
                None => format!("It is {word}, and has no end."),
            }
        }
        Denial::IpNotAllowed => address(rule, asked.ip),
        Denial::InsufficientPermission => {
            let all: Vec<_> = rule.permissions().map(|slug| name(rule, slug)).collect();
            let all = all.join(", ");
            match &asked.permission {
                None => "The call needs none.".to_owned(),
                Some(slug) if rule.may(slug) => format!("{} is among: {all}.", name(rule, slug)),
                Some(slug) => format!("{} is not among: {all}.", name(rule, slug)),
            }
        }
        Denial::DistributorMismatch => {
            format!("The call is for {}, as the key is.", rule.account.organisation.name)
        }
        Denial::RestrictionDenied => match rule.restrictions() {
            None => "The key is not narrowed down.".to_owned(),
            Some(_) => "The call asks for no restricted value.".to_owned(),
        },
        Denial::TransactionLimitExceeded => match (asked.amount, rule.max_transaction()) {
            (None, _) => "No amount.".to_owned(),
            (Some(_), None) => "The key has no limit per operation.".to_owned(),
            (Some(amount), Some(max)) => {
                let sign = if amount.minor() <= max { '≤' } else { '>' };
                format!("{} {sign} {}", amount.grouped(), money(max))
            }
        },
        // Of counters, not of these checks.
        Denial::RateLimited(_) | Denial::DailyVolumeExceeded | Denial::InsufficientBalance => {
            String::new()
        }
    }
}

fn address(rule: &Rule, ip: Option<IpAddr>) -> String {
    let Some(list) = rule.allowed_ips() else {
        return "Any address is allowed.".to_owned();
    };
    let all = list.entries().join(", ");
    match (ip, ip.and_then(|ip| list.entry_of(ip))) {
        (None, _) => format!("No address is given, and the key lists {all}."),
        (Some(ip), Some(entry)) if entry == ip.to_canonical().to_string() => {
            format!("{ip} is on the list.")
        }
        (Some(ip), Some(entry)) => format!("{ip} is in {entry}."),
        (Some(ip), None) => format!("{ip} is not in {all}."),
    }
}

fn daily_volume(rule: &Rule, asked: &Asked, used: i64) -> Made {
    let money = |minor| Money::from_minor(minor, rule.account.organisation.currency).grouped();
    let (passed, detail) = match (asked.amount, rule.max_daily()) {
        (None, None) => (true, "The key has no limit per day.".to_owned()),
        (None, Some(max)) => {
            (true, format!("No amount. Used today: {} of {}", money(used), money(max)))
        }
        (Some(_), None) => {
            (true, format!("The key has no limit per day. Used today: {}", money(used)))
        }
        (Some(amount), Some(max)) => {
            let passed = used.checked_add(amount.minor()).is_some_and(|sum| sum <= max);
            let sign = if passed { '≤' } else { '>' };
            let sum = format!("used today {} + {}", money(used), amount.grouped());
            (passed, format!("{sum} {sign} {}", money(max)))
        }
    };
    let question = "Is the amount within what is left of the day?";
    Made { passed, question, detail, denial: Denial::DailyVolumeExceeded }
}

fn rate_limit(rule: &Rule, asked: &Asked) -> String {
    match rule.rate_limit(asked.permission.as_deref()) {
        None => "Calls with this key are not counted against any rate.".to_owned(),
        Some((_, limit)) => {
            format!("At most {} calls in {} seconds.", limit.calls, limit.seconds)
        }
    }
}

fn name(rule: &Rule, slug: &str) -> String {
    rule.api.permission(slug).map_or_else(|| slug.to_owned(), |permission| permission.name.clone())
}
