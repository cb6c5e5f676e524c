//! What the server is told by its surroundings: the only reader of the environment.

mod names;
mod rules;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use ipnet::IpNet;
use lettre::message::Mailbox;
use url::Url;

pub use names::SETTINGS;
pub use sources::{Origin, Sources};
pub use values::{DatabaseUrl, Secret};

use rules::Reader;

/// The settings of this server, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the data is.
    pub database_url: DatabaseUrl,
    /// The address to listen on.
    pub bind: SocketAddr,
    /// The origin people see in their browser, without a path.
    pub public_url: Url,
    /// Set when the server speaks HTTPS itself.
    pub tls: Option<TlsFiles>,
    /// The mail server; without one, mails become files.
    pub smtp_url: Option<Secret>,
    /// The sender of all mails.
    pub mail_from: Mailbox,
    /// The proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A folder instead of the built-in catalogue.
    pub catalogue_dir: Option<PathBuf>,
    /// The folder for mails, backups and the setup code.
    pub data_dir: PathBuf,
    /// Somebody has said that plain HTTP over the network is fine.
    pub insecure_http: bool,
    /// Where each value came from, by the name of the setting.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// The PEM files of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Config {
    /// Reads and checks all settings, and reports everything that is wrong with them at once.
    pub fn load(sources: &Sources) -> anyhow::Result<Self> {
        Self::load_for_build(sources, cfg!(feature = "postgres-tls"))
    }

    fn load_for_build(sources: &Sources, postgres_tls: bool) -> anyhow::Result<Self> {
        let mut reader = Reader::new(sources);
        let database_url = reader.database_url(sources.variable("PGSSLMODE"), postgres_tls);
        let bind = reader.read("BIND", values::bind);
        let tls = reader.tls();
        let insecure_http = reader.read("INSECURE_HTTP", values::switch);
        let public_url = bind.zip(insecure_http).and_then(|(b, i)| reader.public_url(b, i));
        let smtp_url = reader.read("SMTP_URL", values::smtp_url);
        let mail_from = reader.read("MAIL_FROM", values::mail_from);
        let trusted_proxies = reader.read("TRUSTED_PROXIES", values::networks);
        let catalogue_dir = reader.read("CATALOGUE_DIR", values::path);
        let data_dir = reader.read("DATA_DIR", values::path);
        let origins = reader.finish()?;
        let config = (|| {
            Some(Self {
                database_url: database_url?,
                bind: bind?,
                public_url: public_url?,
                tls,
                smtp_url,
                mail_from: mail_from?,
                trusted_proxies: trusted_proxies?,
                catalogue_dir,
                data_dir: data_dir?,
                insecure_http: insecure_http?,
                origins,
            })
        })();
        config.context("a setting has neither a value nor a default")
    }

    /// The defaults, whatever the environment says: tests change single fields of it.
    ///
    /// # Panics
    ///
    /// Never: a test loads the defaults.
    #[expect(clippy::expect_used, reason = "a test loads the defaults")]
    pub fn for_tests() -> Self {
        Self::load(&Sources::default()).expect("the defaults are valid")
    }

    /// Tells whether cookies may be limited to HTTPS.
    pub fn cookie_secure(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// Tells whether somebody gave this setting, named as in the environment.
    pub fn is_given(&self, name: &str) -> bool {
        !matches!(self.origins.get(name), None | Some(Origin::Default | Origin::Derived(_)))
    }

    /// One line per setting with its value and origin; passwords are hidden.
    pub fn show(&self) -> Vec<String> {
        let line = |(name, _): (&'static str, _)| {
            let origin = self.origins.get(name).unwrap_or(&Origin::Default);
            format!("{name} = {}  ({origin})", self.shown(name))
        };
        SETTINGS.into_iter().map(line).collect()
    }

    fn shown(&self, name: &str) -> String {
        let path = |path: Option<&PathBuf>| path.map(|path| path.display().to_string());
        let tls = self.tls.as_ref();
        let value = match name {
            "DATABASE_URL" => Some(self.database_url.to_string()),
            "BIND" => Some(self.bind.to_string()),
            "PUBLIC_URL" => Some(self.public_url.origin().ascii_serialization()),
            "TLS_CERT" => path(tls.map(|tls| &tls.cert)),
            "TLS_KEY" => path(tls.map(|tls| &tls.key)),
            "SMTP_URL" => self.smtp_url.as_ref().map(|url| values::redacted(url.expose())),
            "MAIL_FROM" => Some(self.mail_from.to_string()),
            "TRUSTED_PROXIES" => {
                let networks: Vec<_> = self.trusted_proxies.iter().map(IpNet::to_string).collect();
                Some(networks.join(",")).filter(|text| !text.is_empty())
            }
            "CATALOGUE_DIR" => path(self.catalogue_dir.as_ref()),
            "DATA_DIR" => path(Some(&self.data_dir)),
            _ => Some(self.insecure_http.to_string()),
        };
        value.unwrap_or_else(|| "none".to_owned())
    }
}
