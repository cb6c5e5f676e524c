//! Routes: which permission a call needs, told by its method, path and query.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::Api;

/// Calls of one method that need the same permission.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The method, in capitals.
    pub method: String,
    /// A path; `{name}` stands for one segment and a last segment `**` for the rest.
    pub path: String,
    /// Slug of the permission it needs.
    pub permission: String,
    /// Query parameters whose values are restricted, each with the slug of the restriction.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

/// What a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch<'a> {
    /// Slug of the permission.
    pub permission: &'a str,
    /// The values it asks for, by slug of the restriction; a restriction it does not name is absent.
    pub restrictions: BTreeMap<String, BTreeSet<String>>,
}

/// A segment of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
    Rest,
}

/// How the calls of two routes relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// No call fits both.
    None,
    /// The same calls fit both.
    Same,
    /// Wherever both fit, one is more exact than the other.
    Nested,
    /// Some call fits both, and neither is more exact.
    Crossing,
}

impl Segment<'_> {
    /// The more exact one is greater.
    fn rank(self) -> u8 {
        match self {
            Self::Literal(_) => 2,
            Self::Placeholder(_) => 1,
            Self::Rest => 0,
        }
    }
}

/// The segments of a pattern that starts with a slash.
pub(super) fn segments(pattern: &str) -> impl Iterator<Item = Segment<'_>> {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    pattern.split('/').map(|text| {
        let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match (text, name) {
            ("**", _) => Segment::Rest,
            (_, Some(name)) => Segment::Placeholder(name),
            (literal, None) => Segment::Literal(literal),
        }
    })
}

impl Route {
    /// How the calls of this route relate to those of another one.
    pub(super) fn overlap(&self, other: &Self) -> Overlap {
        if self.method != other.method {
            return Overlap::None;
        }
        let mut order = Ordering::Equal;
        let (mut ours, mut theirs) = (segments(loose(&self.path)), segments(loose(&other.path)));
        loop {
            let (a, b) = match (ours.next(), theirs.next()) {
                (None, None) => break,
                (Some(a), Some(b)) => (a, b),
                _ => return Overlap::None,
            };
            if let (Segment::Literal(a), Segment::Literal(b)) = (a, b)
                && !a.eq_ignore_ascii_case(b)
            {
                return Overlap::None;
            }
            match (order, a.rank().cmp(&b.rank())) {
                (Ordering::Equal, found) => order = found,
                (_, Ordering::Equal) => (),
                (before, found) if before != found => return Overlap::Crossing,
                _ => (),
            }
            if a == Segment::Rest || b == Segment::Rest {
                break;
            }
        }
        if order == Ordering::Equal { Overlap::Same } else { Overlap::Nested }
    }

    fn fits(&self, path: &str, same: impl Fn(&str, &str) -> bool) -> bool {
        walk(&self.path, path, same, |_, _| ())
    }

    /// Whether it fits on a server that ignores case and a slash at the end.
    fn fits_loosely(&self, path: &str) -> bool {
        walk(loose(&self.path), loose(path), str::eq_ignore_ascii_case, |_, _| ())
    }

    /// The restriction that a parameter of the query is about.
    fn restriction_of(&self, parameter: &str) -> Option<&str> {
        let bare = parameter.split('[').next().unwrap_or_default().trim();
        let known = self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(bare));
        known.map(|(_, restriction)| restriction.as_str())
    }

    fn ranks(&self) -> impl Iterator<Item = u8> {
        segments(&self.path).map(Segment::rank)
    }
}

fn loose(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Goes along a pattern and a path; tells whether they fit, and each placeholder with its segment.
fn walk<'a>(
    pattern: &'a str,
    path: &'a str,
    same: impl Fn(&str, &str) -> bool,
    mut placeholder: impl FnMut(&'a str, &'a str),
) -> bool {
    let mut asked = path.strip_prefix('/').unwrap_or(path).split('/');
    for segment in segments(pattern) {
        match (segment, asked.next()) {
            (Segment::Rest, Some(_)) => return true,
            (Segment::Literal(literal), Some(text)) if same(literal, text) => (),
            (Segment::Placeholder(name), Some(text)) if !text.is_empty() => placeholder(name, text),
            _ => return false,
        }
    }
    asked.next().is_none()
}

/// The route of a call. Of several that fit loosely the most exact one counts, and it has to fit to
/// the letter: `/Contacts/export/` must not pass as a contact named "export".
pub(super) fn find<'a>(api: &'a Api, method: &str, path_and_query: &str) -> Option<RouteMatch<'a>> {
    if path_and_query.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return None;
    }
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let decoded = canonical(path)?;
    let fitting =
        api.routes.iter().filter(|route| route.method == method && route.fits_loosely(&decoded));
    let route = fitting.max_by(|a, b| a.ranks().cmp(b.ranks()))?;
    if !route.fits(path, |a, b| a == b) {
        return None;
    }
    let mut restrictions = values_in_query(route, query);
    walk(
        &route.path,
        &decoded,
        |_, _| true,
        |name, text| {
            if api.restriction(name).is_some() {
                restrictions.entry(name.to_owned()).or_default().insert(text.to_owned());
            }
        },
    );
    Some(RouteMatch { permission: &route.permission, restrictions })
}

/// True for a path that every server reads in the same way.
pub fn is_canonical(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') && canonical(path).is_some()
}

/// A path with its escapes undone; nothing for one that another server might read differently.
fn canonical(path: &str) -> Option<Cow<'_, str>> {
    let doubtful = path.contains("//") || path.bytes().any(|byte| matches!(byte, b'\\' | b';'));
    if !path.starts_with('/') || doubtful {
        return None;
    }
    let decoded =
        if path.contains('%') { Cow::Owned(unescape(path)?) } else { Cow::Borrowed(path) };
    let dots = decoded.split('/').any(|segment| matches!(segment, "." | ".."));
    (!dots).then_some(decoded)
}

fn unescape(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let escaped = hex(digits)?;
            // What needs no escape and what separates: with these two servers may disagree.
            let doubtful = escaped.is_ascii_control()
                || escaped.is_ascii_alphanumeric()
                || b"-._~/\\%;?#".contains(&escaped);
            if doubtful {
                return None;
            }
            decoded.push(escaped);
        } else {
            decoded.push(byte);
        }
    }
    let text = String::from_utf8(decoded).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// The restricted values a query names. Servers differ in case, in `name[]` and in what separates
/// parameters and values, so every reading counts: what is asked for too much is refused later.
fn values_in_query(route: &Route, query: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for parameter in query.split('&') {
        // After a semicolon a name begins a parameter of its own; anything else goes on with the
        // list before it.
        let mut list = None;
        for piece in parameter.split(';') {
            let Some((name, value)) = url::form_urlencoded::parse(piece.as_bytes()).next() else {
                continue;
            };
            let named = route.restriction_of(&name);
            let asked = if named.is_some() { value } else { name };
            if named.is_some() || piece.contains('=') {
                list = named;
            }
            let Some(restriction) = list else { continue };
            let values = asked.split([',', ';', '|']).map(|text| text.trim().to_owned());
            found.entry(restriction.to_owned()).or_default().extend(values);
        }
    }
    found
}
