//! The catalogue: the APIs a key can open and what may be asked for each.

use std::collections::BTreeSet;

/// Everything a key can be asked for, by API.
#[derive(Clone, Debug)]
pub struct Catalogue(Vec<Api>);

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
    pub money_limits: bool,
    /// How long keys may live.
    pub expiry: Expiry,
    /// What a key may be allowed to do.
    pub permissions: Vec<Permission>,
}

/// How long keys of an API may live, in days.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// What the form starts with.
    pub default_days: i32,
    /// The longest life a maker may ask for.
    pub max_days: i32,
    /// Whether a key may live until it is revoked.
    pub never: bool,
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
}

impl Catalogue {
    /// Reads one TOML document per API and checks each; errors name the document and the fault.
    pub fn parse<'a>(
        documents: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut apis: Vec<Api> = Vec::new();
        for (name, text) in documents {
            let api: Api = toml::from_str(text).map_err(|e| format!("{name}: {e}"))?;
            api.check().map_err(|fault| format!("{name}: {fault}"))?;
            if apis.iter().any(|other| other.slug == api.slug || other.prefix == api.prefix) {
                return Err(format!("{name}: slug or prefix is already used by another API"));
            }
            apis.push(api);
        }
        if apis.is_empty() {
            return Err("the catalogue is empty: at least one API is needed".to_owned());
        }
        Ok(Self(apis))
    }

    /// The API with this slug.
    pub fn find(&self, slug: &str) -> Option<&Api> {
        self.0.iter().find(|api| api.slug == slug)
    }

    /// The API a form starts with: the built-in wallet, or the first one where that is left out.
    pub fn default_api(&self) -> Option<&Api> {
        self.find("wallet").or_else(|| self.0.first())
    }

    /// Every API, in the order of the documents.
    pub fn list(&self) -> &[Api] {
        &self.0
    }

    /// The name for people of a permission, or its slug if the catalogue has dropped it since.
    pub fn permission_name<'a>(&'a self, api: &str, slug: &'a str) -> &'a str {
        self.find(api)
            .and_then(|api| api.permission(slug))
            .map_or(slug, |found| found.name.as_str())
    }
}

impl Api {
    /// The permission with this slug.
    pub fn permission(&self, slug: &str) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.slug == slug)
    }

    fn check(&self) -> Result<(), String> {
        let word = |s: &str| {
            !s.is_empty()
                && s.len() <= 40
                && s.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        };
        if !word(&self.slug) {
            return Err(format!("slug {:?}: use lower-case letters, digits, - and _", self.slug));
        }
        if self.prefix.is_empty()
            || self.prefix.len() > 12
            || !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(format!("prefix {:?}: use up to 12 letters and digits", self.prefix));
        }
        if self.permissions.is_empty() {
            return Err("at least one permission is needed".to_owned());
        }
        let slugs: BTreeSet<_> = self.permissions.iter().map(|p| p.slug.as_str()).collect();
        if slugs.len() != self.permissions.len() || !slugs.iter().all(|slug| word(slug)) {
            return Err("permission slugs must be different lower-case words".to_owned());
        }
        if self.expiry.default_days < 1 || self.expiry.max_days < self.expiry.default_days {
            return Err("expiry: default_days must be at least 1 and at most max_days".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: &str = include_str!("../../catalogue/wallet.toml");

    #[test]
    fn faults_are_named() {
        assert!(Catalogue::parse([("wallet.toml", WALLET)]).is_ok());
        let fault = |from: &str, to: &str| {
            Catalogue::parse([("w.toml", WALLET.replace(from, to).as_str())]).unwrap_err()
        };
        assert!(fault("\"uwk\"", "\"uw_k\"").contains("prefix"));
        assert!(fault("max_days = 3650", "max_days = 3").contains("expiry"));
        assert!(fault("read_balance", "Read Balance").contains("permission"));
        assert!(fault("summary", "sumary").contains("sumary"));
        assert!(
            Catalogue::parse([("a", WALLET), ("b", WALLET)]).unwrap_err().contains("already used")
        );
    }
}
