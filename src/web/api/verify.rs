//! Asking whether somebody else's key may do something: for services that Countersign keeps keys for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use actix_web::dev::{Payload as Body, RequestHead};
use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::gate::{Gate, Needs, save_first_use};
use super::keys::Shown;
use super::spending::{attempt, is_attempt_name, verdict};
use super::{ApiError, body};
use crate::actions::spending;
use crate::domain::id::KeyId;
use crate::domain::money::Money;
use crate::domain::movement::Fault;
use crate::domain::secret::SecretHash;
use crate::domain::usage::Outcome;
use crate::enforce::usage::Noted;
use crate::enforce::{Call, Denial, Entry, Restrictions, Rule, evaluate};
use crate::error::Error;
use crate::web::State;

/// What is asked.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Question<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    permission: Cow<'a, str>,
    api: Option<String>,
    ip: Option<String>,
    amount: Option<Value>,
    #[serde(default)]
    restrictions: Asked,
    idempotency_key: Option<String>,
}

/// What an amount was asked for under one name; the key itself is never stored.
#[derive(serde::Serialize)]
struct Asks<'a> {
    permission: &'a str,
    amount: i64,
    restrictions: &'a Restrictions,
}

/// Restricted values: a list, or one alone; each restriction once.
#[derive(Default)]
struct Asked(Restrictions);

impl<'de> serde::Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> serde::de::Visitor<'de> for Lists {
            type Value = Asked;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of restrictions")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Asked, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(untagged)]
                enum Values {
                    One(String),
                    Many(Vec<String>),
                }
                let mut lists = BTreeMap::new();
                while let Some((list, values)) = map.next_entry::<String, Values>()? {
                    let values = match values {
                        Values::One(value) => vec![value],
                        Values::Many(values) => values,
                    };
                    if lists.insert(list, values.into_iter().collect()).is_some() {
                        return Err(serde::de::Error::custom("a restriction stands there twice"));
                    }
                }
                Ok(Asked(lists))
            }
        }
        from.deserialize_map(Lists)
    }
}

/// What is asked, understood.
struct Understood {
    ip: Option<IpAddr>,
    amount: Option<i64>,
    asker: KeyId,
}

/// The verdict, as it is answered.
#[derive(serde::Serialize)]
struct Verdict<'a> {
    valid: bool,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Shown<'a>>,
}

/// `POST /api/v1/verify`
pub(super) async fn verify(
    req: HttpRequest,
    state: Data<State>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    answer(req.head(), &state, payload.into_inner()).await
}

/// True for the address of this call.
pub(in crate::web) fn is_asked(req: &RequestHead) -> bool {
    req.uri.path() == "/api/v1/verify" && req.method == Method::POST
}

/// The same answer, whoever found the way here.
pub(in crate::web) async fn answer(
    req: &RequestHead,
    state: &State,
    payload: Body,
) -> Result<HttpResponse, ApiError> {
    let needs =
        Needs { api: Some("countersign"), permission: Some("verify"), ..Needs::any("verify") };
    let gate = Gate::open(req, state, needs)?;
    let body = body::read(req, payload).await.map_err(|why| gate.refuse(why))?;
    let question: Question<'_> = body::parse(&body).map_err(|why| gate.refuse(why))?;
    let asker = &gate.entry.rule().account;
    let understood = understand(&question, gate.entry.rule())
        .map_err(|fault| gate.refuse(ApiError::Invalid(fault)))?;
    let hash = SecretHash::of_presented(&question.key);
    let entry = hash.and_then(|hash| state.index.find(&hash));
    // Another organisation's key is nobody's business.
    let entry = entry.filter(|e| e.rule().account.organisation.id == asker.organisation.id);
    let pass = gate.take().await?;
    let denial = match &entry {
        None => Ok(Some(Denial::NotLive)),
        Some(entry) => decide(state, entry, &question, &understood).await,
    };
    match denial {
        Ok(denial) => {
            pass.allow(0);
            Ok(HttpResponse::Ok().json(verdict_on(entry.as_ref(), denial)))
        }
        Err(why) => Err(pass.refuse(why)),
    }
}

fn understand(question: &Question<'_>, asker: &Rule) -> Result<Understood, Fault> {
    let ip = question.ip.as_deref().map(str::parse::<IpAddr>).transpose();
    let ip = ip.map_err(|_| Fault::new("ip", "ip must be an IPv4 or IPv6 address"))?;
    let amount = question.amount.as_ref().map(|amount| {
        let text = amount.as_str().unwrap_or_default();
        Money::parse(text, asker.account.organisation.currency)
            .map(Money::minor)
            .map_err(Fault::amount)
    });
    let name = question.idempotency_key.as_deref();
    if name.is_some_and(|name| !is_attempt_name(name)) {
        let message = "idempotencyKey must have 1 to 255 visible characters";
        return Err(Fault::new("idempotencyKey", message));
    }
    let ip = ip.map(|ip| ip.to_canonical());
    Ok(Understood { ip, amount: amount.transpose()?, asker: asker.id() })
}

/// Why the key in question is denied, if it is; a refusal consumes nothing.
async fn decide(
    state: &State,
    entry: &Entry,
    question: &Question<'_>,
    understood: &Understood,
) -> Result<Option<Denial>, ApiError> {
    let now = state.db.clock().now();
    let call = Call {
        api: question.api.as_deref(),
        permission: Some(&question.permission),
        restrictions: Some(&question.restrictions.0),
        amount: understood.amount,
        ..Call::at(now, understood.ip)
    };
    let note = |outcome: Outcome, amount: i64| {
        let (endpoint, ip) = ("verify", understood.ip);
        state.index.note(entry, &Noted { now, outcome, endpoint, amount, ip, agent: None });
    };
    let refuse = |denial: Denial| {
        note(denial.into(), 0);
        Ok(Some(denial))
    };
    if let Err(denial) = evaluate(entry.rule(), &call) {
        return refuse(denial);
    }
    if entry.is_unsaved() {
        match Box::pin(save_first_use(state, entry)).await {
            Err(ApiError::Unauthorized) => return refuse(Denial::NotLive),
            saved => saved?,
        }
    }
    let limit = entry.rule().rate_limit(Some(&question.permission));
    let ticket = match limit.map(|limit| entry.meter().take(limit)).transpose() {
        Ok(ticket) => ticket,
        Err(seconds) => return refuse(Denial::RateLimited(seconds)),
    };
    let spent = match understood.amount {
        None => Ok(0),
        Some(amount) => Box::pin(spend(state, entry, question, (understood, amount))).await,
    };
    match spent {
        Ok(spent) => {
            note(Outcome::Allowed, spent);
            Ok(None)
        }
        Err(why) => {
            if let Some(ticket) = ticket {
                entry.meter().give_back(ticket);
            }
            match why {
                ApiError::Denied(denial) => refuse(denial),
                ApiError::Unauthorized => refuse(Denial::NotLive),
                why => Err(why),
            }
        }
    }
}

/// Counts an amount in the key's daily volume, once for each name; gives what was counted now.
async fn spend(
    state: &State,
    entry: &Entry,
    question: &Question<'_>,
    (understood, amount): (&Understood, i64),
) -> Result<i64, ApiError> {
    let key = entry.rule().id();
    // A name belongs to the service that chose it: another one's is another order.
    let owner = format!("{}/{key}", understood.asker);
    let name = question.idempotency_key.as_deref();
    let _flight = name.map(|name| state.till.board(&owner, name)).transpose()?;
    let restrictions = &question.restrictions.0;
    let asks = Asks { permission: &question.permission, amount, restrictions };
    let attempt = name.map(|name| attempt(&owner, name, "verify", &asks));
    let mut result = Err(Error::Stale);
    // Stale: another node was faster under the same name; once more finds its answer.
    for _ in 0..2 {
        let (key, attempt) = (key.clone(), attempt.clone());
        let write = state.db.write(move |tx| spending::spend(tx, &key, amount, attempt.as_ref()));
        result = write.await;
        if !matches!(result, Err(Error::Stale)) {
            break;
        }
    }
    verdict(result)
}

/// What the service that asked is told. A key that has ended is no key.
fn verdict_on(entry: Option<&Entry>, denial: Option<Denial>) -> Verdict<'_> {
    let (code, message) = match denial {
        None => {
            return Verdict {
                valid: true,
                code: "valid",
                message: None,
                key: entry.map(Shown::new),
            };
        }
        Some(Denial::NotLive) => ("unknown_key", "There is no such key, or it has ended"),
        Some(denial) => (denial.code(), denial.message()),
    };
    Verdict { valid: false, code, message: Some(message), key: None }
}
