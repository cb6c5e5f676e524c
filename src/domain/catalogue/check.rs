//! What is wrong with a catalogue entry, told so that its author can mend it.

use std::collections::BTreeSet;

use super::route::{Overlap, Segment, segments};
use super::{AccessType, Api, Credential, Expiry, Permission, RateLimit, Restriction, Route};
use crate::domain::key_form::FIELDS;

/// A key holds its permissions as bits of one number.
const MOST_PERMISSIONS: usize = 64;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Headers that never carry a key: they mean something else to every server.
const OTHER_HEADERS: [&str; 6] =
    ["Cookie", "Host", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding"];
/// The longest window that is kept in memory.
const LONGEST_WINDOW: u32 = 86_400;

/// The first fault of an entry by itself.
pub(super) fn api(api: &Api) -> Result<(), String> {
    slug("slug", &api.slug)?;
    text("name", &api.name)?;
    text("summary", &api.summary)?;
    let prefix = &api.prefix;
    if !(1..=12).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("prefix {prefix:?}: use up to 12 letters and digits"));
    }
    cap("cap", api.cap)?;
    rate_limit("rate_limit", api.rate_limit)?;
    expiry(api.expiry)?;
    credentials(&api.credentials)?;
    if let Some(system) = &api.system {
        text("system.label", &system.label)?;
    }
    permissions(&api.permissions)?;
    access_types(api)?;
    restrictions(&api.restrictions)?;
    routes(api)
}

/// The first fault of two entries together.
pub(super) fn pair(one: &Api, other: &Api) -> Result<(), String> {
    if one.slug == other.slug {
        return Err(format!("slug {:?} is already used by the API {:?}", other.slug, one.name));
    }
    if one.prefix.eq_ignore_ascii_case(&other.prefix) {
        return Err(format!("prefix {:?} is already used by the API {:?}", other.prefix, one.name));
    }
    Ok(())
}

fn slug(place: &str, text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if (1..=40).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("{place} {text:?}: use up to 40 lower-case letters, digits, - and _"))
}

fn text(place: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err(format!("{place} is empty")) } else { Ok(()) }
}

/// Fails on the first slug that stands there twice.
fn different<'a>(what: &str, slugs: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for slug in slugs {
        if !seen.insert(slug) {
            return Err(format!("{what} {slug:?} is there twice"));
        }
    }
    Ok(())
}

fn cap(place: &str, cap: Option<u32>) -> Result<(), String> {
    match cap {
        Some(0) => Err(format!("{place} = 0 would allow no key at all: leave it out for no cap")),
        _ => Ok(()),
    }
}

fn rate_limit(place: &str, limit: Option<RateLimit>) -> Result<(), String> {
    match limit {
        Some(RateLimit { calls: 0, .. }) => {
            Err(format!("{place}: calls = 0 would allow no call at all: leave it out for no limit"))
        }
        Some(RateLimit { seconds, .. }) if !(1..=LONGEST_WINDOW).contains(&seconds) => {
            Err(format!("{place}: seconds = {seconds} is not from 1 to {LONGEST_WINDOW}"))
        }
        _ => Ok(()),
    }
}

fn expiry(expiry: Expiry) -> Result<(), String> {
    match expiry.default_days {
        _ if expiry.max_days < 1 => {
            Err(format!("expiry: max_days = {} is less than 1", expiry.max_days))
        }
        Some(days) if !(1..=expiry.max_days).contains(&days) => Err(format!(
            "expiry: default_days = {days} is not from 1 to max_days = {}",
            expiry.max_days
        )),
        None if !expiry.never => {
            Err("expiry: default_days may only be left out where never = true".to_owned())
        }
        _ => Ok(()),
    }
}

fn credentials(credentials: &[Credential]) -> Result<(), String> {
    if credentials.is_empty() {
        return Err("credentials: at least one header is needed".to_owned());
    }
    for credential in credentials {
        header("credentials.header", &credential.header)?;
        if let Some(partner) = &credential.partner_header {
            header("credentials.partner_header", partner)?;
            if partner.eq_ignore_ascii_case(&credential.header) {
                return Err(format!("credentials.partner_header {partner:?} is the key's header"));
            }
        }
        let authorization = credential.header.eq_ignore_ascii_case("Authorization");
        match (authorization, credential.scheme.as_deref()) {
            (true, Some("Bearer")) | (false, None) => (),
            (true, _) => {
                return Err("credentials.header \"Authorization\" needs scheme = \"Bearer\"".into());
            }
            (false, Some(_)) => {
                return Err(format!(
                    "credentials.scheme: only \"Authorization\" has one, {:?} has none",
                    credential.header
                ));
            }
        }
    }
    let headers: Vec<_> = credentials.iter().map(|c| c.header.to_ascii_lowercase()).collect();
    different("credentials.header", headers.iter().map(String::as_str))
}

fn header(place: &str, name: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{place} {name:?} is not the name of a header"));
    }
    if OTHER_HEADERS.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        return Err(format!("{place} {name:?} cannot carry a key"));
    }
    Ok(())
}

fn permissions(permissions: &[Permission]) -> Result<(), String> {
    if permissions.is_empty() {
        return Err("permissions: at least one is needed".to_owned());
    }
    if permissions.len() > MOST_PERMISSIONS {
        let found = permissions.len();
        return Err(format!("permissions: there are {found}, at most {MOST_PERMISSIONS} fit"));
    }
    for permission in permissions {
        slug("permission", &permission.slug)?;
        let place = format!("permission {:?}", permission.slug);
        text(&format!("{place}: name"), &permission.name)?;
        text(&format!("{place}: help"), &permission.help)?;
        rate_limit(&format!("{place}: rate_limit"), permission.rate_limit)?;
    }
    different("permission", permissions.iter().map(|permission| permission.slug.as_str()))
}

fn access_types(api: &Api) -> Result<(), String> {
    let check = |access: &AccessType| {
        slug("access type", &access.slug)?;
        let place = format!("access type {:?}", access.slug);
        text(&format!("{place}: name"), &access.name)?;
        text(&format!("{place}: help"), &access.help)?;
        cap(&format!("{place}: cap"), access.cap)?;
        if access.permissions.is_empty() {
            return Err(format!("{place}: at least one permission is needed"));
        }
        if let Some(unknown) = access.permissions.iter().find(|p| api.permission(p).is_none()) {
            return Err(format!("{place}: there is no permission {unknown:?}"));
        }
        let slugs = access.permissions.iter().map(String::as_str);
        different(&format!("{place}: permission"), slugs)
    };
    api.access_types.iter().try_for_each(check)?;
    if api.auto_label && !api.access_types.is_empty() {
        return Err(
            "auto_label: a key cannot be made with one press where an access type has to be chosen"
                .to_owned(),
        );
    }
    different("access type", api.access_types.iter().map(|access| access.slug.as_str()))
}

fn restrictions(restrictions: &[Restriction]) -> Result<(), String> {
    for restriction in restrictions {
        slug("restriction", &restriction.slug)?;
        let place = format!("restriction {:?}", restriction.slug);
        if FIELDS.contains(&restriction.slug.as_str()) || restriction.slug == "csrf" {
            return Err(format!("{place}: the form already has a field with this name"));
        }
        text(&format!("{place}: name"), &restriction.name)?;
        text(&format!("{place}: help"), &restriction.help)?;
        if restriction.values.is_empty() {
            return Err(format!("{place}: at least one value is needed"));
        }
        for value in &restriction.values {
            let fits = |b: u8| b.is_ascii_graphic() && !b",;|".contains(&b);
            if !(1..=60).contains(&value.slug.len()) || !value.slug.bytes().all(fits) {
                let slug = &value.slug;
                return Err(format!(
                    "{place}: value {slug:?}: use up to 60 visible ASCII characters without , ; |"
                ));
            }
            text(&format!("{place}: value {:?}: name", value.slug), &value.name)?;
        }
        let slugs = restriction.values.iter().map(|value| value.slug.as_str());
        different(&format!("{place}: value"), slugs)?;
    }
    different("restriction", restrictions.iter().map(|restriction| restriction.slug.as_str()))
}

fn routes(api: &Api) -> Result<(), String> {
    for (i, route) in api.routes.iter().enumerate() {
        let place = format!("route {} {}", route.method, route.path);
        one_route(api, route).map_err(|fault| format!("{place}: {fault}"))?;
        for before in api.routes.iter().take(i) {
            match route.overlap(before) {
                Overlap::None | Overlap::Nested => (),
                Overlap::Same => {
                    return Err(format!("{place}: {} stands for the same calls", before.path));
                }
                Overlap::Crossing => {
                    return Err(format!(
                        "{place}: ambiguous, because some calls fit {} as well and neither is more exact",
                        before.path
                    ));
                }
            }
        }
    }
    Ok(())
}

fn one_route(api: &Api, route: &Route) -> Result<(), String> {
    if !METHODS.contains(&route.method.as_str()) {
        return Err(format!("the method is not one of {}", METHODS.join(", ")));
    }
    pattern(&route.path)?;
    if api.permission(&route.permission).is_none() {
        return Err(format!("there is no permission {:?}", route.permission));
    }
    for (parameter, restriction) in &route.query {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if parameter.is_empty() || !parameter.bytes().all(fits) {
            return Err(format!("query {parameter:?}: use letters, digits, - _ and ."));
        }
        if api.restriction(restriction).is_none() {
            return Err(format!("query {parameter:?}: there is no restriction {restriction:?}"));
        }
    }
    let names: Vec<_> = route.query.keys().map(|name| name.to_ascii_lowercase()).collect();
    different("query parameter", names.iter().map(String::as_str))
}

fn pattern(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("the path does not start with /".to_owned());
    }
    let last = segments(path).count().saturating_sub(1);
    let mut names = Vec::new();
    for (i, segment) in segments(path).enumerate() {
        match segment {
            Segment::Rest if i < last => return Err("** may only be the last segment".to_owned()),
            Segment::Rest => (),
            Segment::Placeholder(name) => {
                slug("the placeholder", name)?;
                names.push(name);
            }
            Segment::Literal("") if i == last => (),
            Segment::Literal("") => return Err("the path has an empty segment".to_owned()),
            Segment::Literal(literal) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:@!$&'()+,=".contains(&b);
                if matches!(literal, "." | "..") || !literal.bytes().all(plain) {
                    return Err(format!(
                        "the segment {literal:?} is neither plain text nor {{name}} nor **"
                    ));
                }
            }
        }
    }
    different("the placeholder", names.into_iter())
}
