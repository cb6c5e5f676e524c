//! What a value may look like: every setting is parsed here, once, with a sentence for the person.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use lettre::message::Mailbox;
use url::{Host, Url, form_urlencoded};
use zeroize::Zeroizing;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The address of the database; printing it hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    /// Accepts `sqlite://` with a path, `postgres://` and `postgresql://`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("sqlite://");
        if path.is_none() && !text.starts_with("postgres://") && !text.starts_with("postgresql://")
        {
            return Err("must start with sqlite://, postgres:// or postgresql://.".to_owned());
        }
        match path {
            Some("") => Err("names no file: sqlite://countersign.db is a file in the working \
                directory, sqlite:///var/lib/countersign.db an absolute path."
                .to_owned()),
            Some(path)
                if path.contains('?') || path.starts_with([':']) || path.starts_with("file:") =>
            {
                Err("must be the plain path of a file after sqlite://: options after a question \
                    mark, sqlite://:memory: and sqlite://file: are not supported."
                    .to_owned())
            }
            _ => Ok(Self(Zeroizing::new(text.to_owned()))),
        }
    }

    /// The whole address with the password, for the connection.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether this is PostgreSQL; otherwise it is SQLite.
    pub fn is_postgres(&self) -> bool {
        self.sqlite_path().is_none()
    }

    /// The path of the SQLite file, relative to the working directory unless it starts with `/`.
    pub fn sqlite_path(&self) -> Option<&str> {
        self.0.strip_prefix("sqlite://")
    }

    /// The `sslmode` that demands an encrypted connection, if this address or the environment
    /// variable `PGSSLMODE` asks for one.
    pub(super) fn required_tls(&self, pgsslmode: Option<&str>) -> Option<String> {
        if !self.is_postgres() {
            return None;
        }
        let query = self.0.split_once('?').map_or("", |(_, query)| query);
        let in_url = form_urlencoded::parse(query.as_bytes()).filter_map(|(key, value)| {
            match (key.as_ref(), value.as_ref()) {
                // libpq's own reading of the JDBC parameter.
                ("ssl", "true") => Some("require".to_owned()),
                ("sslmode", mode) => Some(mode.to_owned()),
                _ => None,
            }
        });
        let mode = in_url.last().or_else(|| pgsslmode.map(str::to_owned))?;
        matches!(mode.as_str(), "require" | "verify-ca" | "verify-full").then_some(mode)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(self.as_str()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address without its password. It rather hides too much: whatever stands between the first
/// colon and the last `@` may be one, also where the address is not well-formed.
pub(super) fn redacted(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return "***".to_owned() };
    if scheme == "sqlite" {
        return address.to_owned();
    }
    let rest = match rest.rsplit_once('@') {
        Some((who, host)) if who.contains(':') => {
            format!("{}:***@{host}", who.split(':').next().unwrap_or_default())
        }
        _ => rest.to_owned(),
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let pairs: Vec<_> = query.split('&').map(redacted_pair).collect();
    format!("{scheme}://{place}?{}", pairs.join("&"))
}

fn redacted_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key, _)) if key.to_lowercase().contains("pass") || key.contains('%') => {
            format!("{key}=***")
        }
        _ => pair.to_owned(),
    }
}

pub(super) fn bind(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address with a port, such as 127.0.0.1:8080 or [::1]:8080.")
    })
}

pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("is not an address such as https://keys.example.com: {error}."))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with https:// or http://.".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or a password.".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the host and port: no path, no query.".to_owned());
    }
    Ok(url)
}

/// Tells whether only this machine can reach the host of the address.
pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

pub(super) fn smtp_url(text: &str) -> Result<Secret, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("is not an address such as smtp://user:password@mail.example.com:587: {error}.")
    })?;
    let tls: Vec<_> = url.query_pairs().map(|(key, value)| format!("{key}={value}")).collect();
    match (url.scheme(), tls.as_slice()) {
        ("smtp" | "smtps", []) => {}
        ("smtp", [tls]) if tls == "tls=required" || tls == "tls=opportunistic" => {}
        ("smtp", _) => return Err("takes only ?tls=required or ?tls=opportunistic.".to_owned()),
        ("smtps", _) => return Err("takes no options with smtps://: TLS is always on.".to_owned()),
        _ => return Err("must start with smtp:// or smtps://.".to_owned()),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no mail server.".to_owned());
    }
    if url.username().is_empty() != url.password().is_none() {
        return Err("needs the user name and the password, or neither.".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

pub(super) fn mail_from(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not a mail address such as countersign@example.com or \
             Countersign <countersign@example.com>."
        )
    })
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(network).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().ok();
    let net = parsed.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
        format!("{text:?} is neither an address nor a network such as 10.0.0.0/8.")
    })?;
    if net.addr() != net.network() {
        return Err(format!(
            "{text} has bits set after the prefix; did you mean the network {}?",
            net.trunc()
        ));
    }
    Ok(canonical(net))
}

/// Callers are compared by their IPv4 address even where the socket speaks IPv6.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(ip, prefix)| IpNet::new(IpAddr::V4(ip), prefix).ok()).unwrap_or(net)
}

/// `TLS_CERT_FILE` names a file with a path in it, which is easily taken for the PEM file.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Err("must be the path of a PEM file, not its content.".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("must be true or false, not {text:?}."))
}
