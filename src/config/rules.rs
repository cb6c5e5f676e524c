//! The rules between settings, and everything that is wrong with them in one error.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use url::Url;

use super::TlsFiles;
use super::sources::{Gathered, Origin, Sources};
use super::values::{self, DatabaseUrl};

/// Parses one setting after the other and remembers what is wrong.
pub(super) struct Reader(Gathered);

impl Reader {
    pub(super) fn new(sources: &Sources) -> Self {
        Self(sources.gather())
    }

    /// The value of a setting: none if nobody gave it, or if it is wrong.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, _) = self.0.values.get(name)?;
        let broken = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        let parsed = match parse(text) {
            Ok(_) if text.contains(broken) => {
                Err("contains a line break, a control character or bytes that are not UTF-8."
                    .to_owned())
            }
            parsed => parsed,
        };
        parsed.map_err(|problem| self.complain(name, &problem)).ok()
    }

    /// A client library without TLS would only say so when the database is first opened.
    pub(super) fn database_url(
        &mut self,
        pgsslmode: Option<&str>,
        tls_built: bool,
    ) -> Option<DatabaseUrl> {
        let url = self.read("DATABASE_URL", DatabaseUrl::parse)?;
        let Some(mode) = url.required_tls(pgsslmode).filter(|_| !tls_built) else {
            return Some(url);
        };
        self.complain(
            "DATABASE_URL",
            &format!(
                "asks for TLS to PostgreSQL (sslmode={mode}), which this build cannot do. Build \
                 it with `cargo build --release --features postgres-tls`, or reach the database \
                 over a trusted network without sslmode and PGSSLMODE."
            ),
        );
        None
    }

    pub(super) fn tls(&mut self) -> Option<TlsFiles> {
        for (name, other) in [("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")] {
            if self.is_given(name) && !self.is_given(other) {
                self.complain(name, &format!("needs {other} as well."));
            }
        }
        let cert = self.read("TLS_CERT", values::path);
        let key = self.read("TLS_KEY", values::path);
        cert.zip(key).map(|(cert, key)| TlsFiles { cert, key })
    }

    /// The public address, given or worked out, once it is sure that nobody can listen in.
    pub(super) fn public_url(&mut self, bind: SocketAddr, insecure_http: bool) -> Option<Url> {
        let given = self.is_given("PUBLIC_URL");
        let url = self.read("PUBLIC_URL", values::public_url);
        if given && url.is_none() {
            return None;
        }
        let tls = self.is_given("TLS_CERT") || self.is_given("TLS_KEY");
        let encrypted = |url: &Url| url.scheme() == "https";
        let open = !bind.ip().to_canonical().is_loopback();
        if open && !tls && !insecure_http && !url.as_ref().is_some_and(encrypted) {
            self.complain(
                "BIND",
                &format!(
                    "{bind} can be reached by other machines, and everybody on the way could read \
                 the keys. Do one of these: set PUBLIC_URL to the https address of the proxy in \
                 front, or set TLS_CERT and TLS_KEY, or pass --insecure-http."
                ),
            );
        }
        let Some(url) = url else { return self.derived_url(bind, tls) };
        if !encrypted(&url) && !values::is_local(&url) && !insecure_http {
            self.complain(
                "PUBLIC_URL",
                &format!(
                    "{url} would send passwords and keys unencrypted over the network; use https, \
                 or pass --insecure-http."
                ),
            );
        }
        Some(url)
    }

    fn derived_url(&mut self, bind: SocketAddr, tls: bool) -> Option<Url> {
        if bind.port() == 0 {
            self.complain(
                "BIND",
                &format!(
                    "{bind} does not say how people reach this server; set PUBLIC_URL, for example \
                 to https://keys.example.com."
                ),
            );
            return None;
        }
        self.0.values.insert("PUBLIC_URL", (String::new(), Origin::Derived("BIND")));
        let scheme = if tls { "https" } else { "http" };
        // Nobody can follow a link to 0.0.0.0; at least this machine itself is reached by name.
        let host = if bind.ip().is_unspecified() {
            format!("localhost:{}", bind.port())
        } else {
            bind.to_string()
        };
        Url::parse(&format!("{scheme}://{host}")).ok()
    }

    fn is_given(&self, name: &str) -> bool {
        self.0.values.contains_key(name)
    }

    fn complain(&mut self, name: &str, problem: &str) {
        let origin = self.0.values.get(name).map_or(&Origin::Default, |(_, origin)| origin);
        let problem = format!("{name} ({origin}): {problem}");
        self.0.problems.push(problem);
    }

    /// Where each value came from, or one error with all the problems.
    pub(super) fn finish(self) -> anyhow::Result<BTreeMap<&'static str, Origin>> {
        if self.0.problems.is_empty() {
            return Ok(self
                .0
                .values
                .into_iter()
                .map(|(name, (_, origin))| (name, origin))
                .collect());
        }
        Err(anyhow::anyhow!("The configuration is not usable.\n- {}", self.0.problems.join("\n- ")))
    }
}
