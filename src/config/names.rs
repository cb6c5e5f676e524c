//! The names of the settings, and what to say about a name that is almost one of them.

/// Every setting with its default, named as in the environment.
pub const SETTINGS: [(&str, Option<&str>); 11] = [
    ("DATABASE_URL", Some("sqlite://countersign.db")),
    ("BIND", Some("127.0.0.1:8080")),
    ("PUBLIC_URL", None),
    ("TLS_CERT", None),
    ("TLS_KEY", None),
    ("SMTP_URL", None),
    ("MAIL_FROM", Some("countersign@localhost")),
    ("TRUSTED_PROXIES", Some("")),
    ("CATALOGUE_DIR", None),
    ("DATA_DIR", Some(".")),
    (INSECURE_HTTP, Some("false")),
];

/// The one setting that an environment variable cannot turn on.
pub(super) const INSECURE_HTTP: &str = "INSECURE_HTTP";

/// The setting of this exact name, if there is one.
pub(super) fn find(name: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

/// The setting whose name looks most like this one.
pub(super) fn nearest(name: &str) -> &'static str {
    let likeness = |known: &str| strsim::jaro_winkler(known, &name.to_uppercase());
    // The last of equals wins: a hopeless name should not be told to try --insecure-http.
    let names = SETTINGS.iter().rev().map(|(known, _)| *known);
    names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("BIND")
}

/// The name as it is written on the command line.
pub(super) fn flag(name: &str) -> String {
    format!("--{}", name.to_lowercase().replace('_', "-"))
}

/// What is wrong with an environment variable of this name, if it seems to be meant for us.
pub(super) fn complain(variable: &str, value: &str) -> Option<String> {
    if let Some(rest) = variable.strip_prefix("COUNTERSIGN_") {
        let meant = meant(nearest(rest));
        return (!is_service_link(variable, value)).then(|| {
            format!(
                "{variable} (environment) is not a setting; did you mean {meant}? \
                 The names have no prefix."
            )
        });
    }
    if variable == INSECURE_HTTP {
        return Some(format!(
            "{variable} is not read from the environment; use the flag {} or the config file.",
            flag(variable)
        ));
    }
    let base = variable.strip_suffix("_FILE").unwrap_or(variable);
    let suffix = if base == variable { "" } else { "_FILE" };
    let near = SETTINGS.iter().find(|(known, _)| is_near_miss(base, known))?.0;
    Some(format!(
        "{variable} (environment) is not a setting; did you mean {near}{suffix}? \
         If it belongs to something else, do not pass it to this program."
    ))
}

fn meant(name: &str) -> String {
    if name == INSECURE_HTTP { format!("the flag {}", flag(name)) } else { name.to_owned() }
}

/// Kubernetes (and Docker links) set `COUNTERSIGN_SERVICE_HOST`, `COUNTERSIGN_PORT=tcp://…` and
/// the like in every pod next to a service called `countersign`: nobody typed those.
fn is_service_link(variable: &str, value: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.contains("_PORT_")
        || (variable.ends_with("_PORT") && value.contains("://"))
}

/// Other programs read the same environment, so a near miss must be hard to mistake: the same
/// first letter, the same number of words, and fewer slips than anyone else's name would need
/// (`DATADIR`, `EMAIL_FROM` and `DATABASE_SSL` are fine, `DATABASE_URI` is not).
fn is_near_miss(name: &str, known: &str) -> bool {
    let slips = match known.len() {
        0..8 => 0,
        8..13 => 1,
        13..15 => 2,
        _ => 3,
    };
    name != known
        && known != INSECURE_HTTP
        && name.chars().next() == known.chars().next()
        && name.split('_').count() == known.split('_').count()
        && strsim::damerau_levenshtein(name, known) <= slips
}
