//! The catalogue: the APIs a key can open and what may be asked for each.

mod check;
mod route;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use route::{Route, RouteMatch, is_canonical};

/// Everything a key can be asked for, by API.
#[derive(Clone, Debug)]
pub struct Catalogue(Vec<Arc<Api>>);

/// One thing a key opens.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Its name in URLs, forms and the database.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// What its secrets start with, before the underscore.
    pub prefix: String,
    /// Whether keys carry limits on money.
    #[serde(default)]
    pub money_limits: bool,
    /// How many live keys an organisation may have; none means as many as it likes.
    pub cap: Option<u32>,
    /// Whether a key may be asked for with one press: a blank label is made up, everything is allowed.
    #[serde(default)]
    pub auto_label: bool,
    /// How long keys may live.
    pub expiry: Expiry,
    /// The headers a key may arrive in; never empty.
    pub credentials: Vec<Credential>,
    /// How many calls a key may make; none means as many as it likes.
    pub rate_limit: Option<RateLimit>,
    /// What the form asks about the site or system; none for the usual optional question.
    pub system: Option<SystemField>,
    /// Named permission sets; a key has exactly one of them if there are any.
    #[serde(default)]
    pub access_types: Vec<AccessType>,
    /// Lists that narrow a key down.
    #[serde(default)]
    pub restrictions: Vec<Restriction>,
    /// What a key may be allowed to do.
    pub permissions: Vec<Permission>,
    /// Which permission a call needs, for services behind a proxy.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// How long keys of an API may live, in days.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// What the form starts with; none for a key that lives until it is revoked.
    pub default_days: Option<i32>,
    /// The longest life a maker may ask for.
    pub max_days: i32,
    /// Whether a key may live until it is revoked.
    pub never: bool,
}

/// A header that a key may arrive in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The name of the header.
    pub header: String,
    /// The word before the key, for `Authorization`.
    pub scheme: Option<String>,
    /// A second header that has to hold the account name of the key's organisation.
    pub partner_header: Option<String>,
}

/// So many calls in so many seconds, counted in a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The most calls.
    pub calls: u32,
    /// The length of the window.
    pub seconds: u32,
}

/// What the form asks about the site or system that uses a key.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemField {
    /// The question.
    pub label: String,
    /// Whether it has to be answered.
    #[serde(default)]
    pub required: bool,
}

/// A named set of permissions.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessType {
    /// Its name in forms, the database and JSON.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// What it is for, in one sentence.
    pub help: String,
    /// Slugs of what it allows.
    pub permissions: Vec<String>,
    /// How many live keys of this type an organisation may have.
    pub cap: Option<u32>,
}

/// A list of values that a key can be narrowed down to; none chosen means all.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// Its name in forms, the database and JSON.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// What it narrows, in one sentence.
    pub help: String,
    /// What can be chosen.
    pub values: Vec<Choice>,
}

/// One value of a restriction.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The value in forms, calls and JSON.
    pub slug: String,
    /// Its name for people.
    pub name: String,
}

/// One thing a key may be allowed to do.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// Its name in forms, the database and JSON.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// What it allows, in one sentence.
    pub help: String,
    /// A warning to show beside it.
    pub warning: Option<String>,
    /// Whether it can lead to money moving.
    #[serde(default)]
    pub moves_money: bool,
    /// A limit of its own; its calls then do not count towards the API's.
    pub rate_limit: Option<RateLimit>,
}

/// The most live keys an organisation may have, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap<'a> {
    /// The most live keys.
    pub keys: u32,
    /// What it counts, for people.
    pub name: &'a str,
    /// Only keys of this access type; none counts every key of the API.
    pub access_type: Option<&'a str>,
}

impl Catalogue {
    /// Reads one TOML document per API and checks each; errors name the document, place and fault.
    pub fn parse<'a>(
        documents: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut apis: Vec<Arc<Api>> = Vec::new();
        for (name, text) in documents {
            let api: Api = toml::from_str(text).map_err(|e| format!("{name}: {e}"))?;
            check::api(&api).map_err(|fault| format!("{name}: {fault}"))?;
            for other in &apis {
                check::pair(other, &api).map_err(|fault| format!("{name}: {fault}"))?;
            }
            apis.push(Arc::new(api));
        }
        if apis.is_empty() {
            return Err("the catalogue is empty: at least one API is needed".to_owned());
        }
        Ok(Self(apis))
    }

    /// The API with this slug.
    pub fn find(&self, slug: &str) -> Option<&Arc<Api>> {
        self.0.iter().find(|api| api.slug == slug)
    }

    /// The API a form starts with: the built-in wallet, or the first one where that is left out.
    pub fn default_api(&self) -> Option<&Arc<Api>> {
        self.find("wallet").or_else(|| self.0.first())
    }

    /// Every API, in the order of the documents.
    pub fn list(&self) -> &[Arc<Api>] {
        &self.0
    }

    /// The name for people of a permission, or its slug if the catalogue has dropped it since.
    pub fn permission_name<'a>(&'a self, api: &str, slug: &'a str) -> &'a str {
        self.find(api)
            .and_then(|api| api.permission(slug))
            .map_or(slug, |found| found.name.as_str())
    }

    /// True if some API has a restriction with this slug.
    pub fn has_restriction(&self, slug: &str) -> bool {
        self.0.iter().any(|api| api.restriction(slug).is_some())
    }
}

impl Api {
    /// The permission with this slug.
    pub fn permission(&self, slug: &str) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.slug == slug)
    }

    /// The access type with this slug.
    pub fn access_type(&self, slug: &str) -> Option<&AccessType> {
        self.access_types.iter().find(|access| access.slug == slug)
    }

    /// The restriction with this slug.
    pub fn restriction(&self, slug: &str) -> Option<&Restriction> {
        self.restrictions.iter().find(|restriction| restriction.slug == slug)
    }

    /// What a call needs: the permission of the route it fits, and the restricted values it asks
    /// for. Nothing for an unknown call, and for one that another server might read differently.
    pub fn find_route(&self, method: &str, path_and_query: &str) -> Option<RouteMatch<'_>> {
        route::find(self, method, path_and_query)
    }

    /// The caps that one more key of this access type has to keep.
    pub fn caps(&self, access_type: Option<&str>) -> impl Iterator<Item = Cap<'_>> {
        let whole = self.cap.map(|keys| Cap { keys, name: self.name.as_str(), access_type: None });
        let part = access_type.and_then(|slug| self.access_type(slug)).and_then(|access| {
            let access_type = Some(access.slug.as_str());
            access.cap.map(|keys| Cap { keys, name: &access.name, access_type })
        });
        whole.into_iter().chain(part)
    }
}

impl AccessType {
    /// True if it allows this permission.
    pub fn allows(&self, permission: &str) -> bool {
        self.permissions.iter().any(|slug| slug == permission)
    }
}

impl Restriction {
    /// The value with this slug.
    pub fn value(&self, slug: &str) -> Option<&Choice> {
        self.values.iter().find(|value| value.slug == slug)
    }
}
