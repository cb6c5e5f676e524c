//! Where settings come from, and which source wins.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{self, INSECURE_HTTP, SETTINGS};

const CONFIG_FILES: [&str; 2] = ["countersign.toml", "/etc/countersign/countersign.toml"];

/// Everything that may hold a setting; an empty value counts as not given.
#[derive(Default, Clone)]
pub struct Sources {
    /// From the command line, with or without the dashes in front of the name.
    pub flags: Vec<(&'static str, String)>,
    /// The whole environment: names that are nobody's are looked for, too.
    pub env: Vec<(String, String)>,
    /// The config file to read.
    pub file: Option<PathBuf>,
}

/// Where the value of a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Environment,
    /// The file that a `…_FILE` variable points to.
    PointedFile(PathBuf),
    /// The config file.
    ConfigFile(PathBuf),
    /// Worked out from another setting.
    Derived(&'static str),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment => f.write_str("environment"),
            Self::PointedFile(path) => write!(f, "file {}", path.display()),
            Self::ConfigFile(path) => write!(f, "config file {}", path.display()),
            Self::Derived(from) => write!(f, "from {from}"),
            Self::Default => f.write_str("default"),
        }
    }
}

type Values = BTreeMap<&'static str, (String, Origin)>;

/// One value per setting, not yet understood, and what went wrong on the way.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) values: Values,
    pub(super) problems: Vec<String>,
}

impl Sources {
    /// Takes the environment of this process, and the first config file that exists if none is
    /// named.
    pub fn from_process(flags: Vec<(&'static str, String)>, config: Option<PathBuf>) -> Self {
        // `vars()` would stop the program at a stranger's variable that is not UTF-8.
        let env = std::env::vars_os()
            .map(|(name, value)| {
                (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
            })
            .collect();
        // A file that may not be looked at is chosen as well: reading it then says why.
        let exists = |path: &PathBuf| path.try_exists().unwrap_or(true);
        let file = config.or_else(|| CONFIG_FILES.map(PathBuf::from).into_iter().find(exists));
        Self { flags, env, file }
    }

    /// The environment variable of this name, unless it is missing or empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|value| !value.trim().is_empty())
    }

    /// Chooses one source per setting; the problems found do not stop the search for more.
    pub(super) fn gather(&self) -> Gathered {
        let mut problems: Vec<_> =
            self.env.iter().filter_map(|(name, value)| names::complain(name, value)).collect();
        let mut flags = self.read_flags(&mut problems);
        let mut file = self.read_config_file(&mut problems);
        let mut values = Values::new();
        for (name, default) in SETTINGS {
            problems.extend(self.conflict(name));
            let chosen = match flags.remove(name) {
                Some(flag) => Ok(Some(flag)),
                None => self.in_environment(name),
            };
            let default = || default.map(|value| (value.to_owned(), Origin::Default));
            match chosen {
                Ok(chosen) => {
                    let chosen = chosen.or_else(|| file.remove(name)).or_else(default);
                    values.extend(chosen.map(|chosen| (name, chosen)));
                }
                Err(problem) => problems.push(problem),
            }
        }
        Gathered { values, problems }
    }

    fn read_flags(&self, problems: &mut Vec<String>) -> Values {
        let mut values = Values::new();
        for (flag, value) in &self.flags {
            let name = flag.trim_start_matches('-').replace('-', "_").to_uppercase();
            match names::find(&name) {
                Some(_) if value.trim().is_empty() => {}
                Some(name) => {
                    values.insert(name, (value.clone(), Origin::Flag(names::flag(name))));
                }
                None => problems.push(format!(
                    "{} is not a flag; did you mean {}?",
                    names::flag(&name),
                    names::flag(names::nearest(&name))
                )),
            }
        }
        values
    }

    fn conflict(&self, name: &str) -> Option<String> {
        let pointer = format!("{name}_FILE");
        let both = self.variable(name).is_some() && self.variable(&pointer).is_some();
        both.then(|| {
            format!("{name} (environment) is given directly and as {pointer}: keep one of them.")
        })
    }

    fn in_environment(&self, name: &str) -> Result<Option<(String, Origin)>, String> {
        if name == INSECURE_HTTP {
            return Ok(None);
        }
        if let Some(value) = self.variable(name) {
            return Ok(Some((value.to_owned(), Origin::Environment)));
        }
        let Some(path) = self.variable(&format!("{name}_FILE")) else { return Ok(None) };
        let complain = |what: &str| Err(format!("{name}_FILE (environment): {path} {what}."));
        match fs::read_to_string(path) {
            Err(error) => complain(&format!("cannot be read: {error}")),
            Ok(text) if text.trim().is_empty() => complain("is empty"),
            Ok(text) => {
                Ok(Some((without_last_newline(text), Origin::PointedFile(PathBuf::from(path)))))
            }
        }
    }

    fn read_config_file(&self, problems: &mut Vec<String>) -> Values {
        let mut values = Values::new();
        let Some(path) = &self.file else { return values };
        let table = match read_table(path) {
            Ok(table) => table,
            Err(problem) => {
                problems.push(format!("The config file {} {problem}", path.display()));
                return values;
            }
        };
        let origin = Origin::ConfigFile(path.clone());
        for (key, value) in &table {
            // Capital letters are refused, so that one setting cannot be there twice.
            let known = names::find(&key.to_uppercase()).filter(|name| name.to_lowercase() == *key);
            match known.map(|name| (name, text_of(name, value))) {
                Some((_, Ok(text))) if text.trim().is_empty() => {}
                Some((name, Ok(text))) => {
                    values.insert(name, (text, origin.clone()));
                }
                Some((_, Err(problem))) => problems.push(format!("{key} ({origin}) {problem}")),
                None => problems.push(format!(
                    "{key} ({origin}) is not a setting; did you mean {}?",
                    names::nearest(key).to_lowercase()
                )),
            }
        }
        values
    }
}

fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

fn read_table(path: &Path) -> Result<toml::Table, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}."))?;
    toml::from_str(&text).map_err(|error| {
        // The error's own text quotes the line, which may hold a password.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        format!("is not valid TOML: {}, in line {line}.", error.message())
    })
}

fn text_of(name: &str, value: &toml::Value) -> Result<String, String> {
    let wanted = match (name, value) {
        (_, toml::Value::String(text)) => return Ok(text.clone()),
        (INSECURE_HTTP, toml::Value::Boolean(on)) => return Ok(on.to_string()),
        ("TRUSTED_PROXIES", toml::Value::Array(items)) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            if let Some(texts) = texts {
                return Ok(texts.join(","));
            }
            "a list of texts, each in quotes"
        }
        (INSECURE_HTTP, _) => "true or false",
        _ => "a text in quotes",
    };
    Err(format!("must be {wanted}."))
}
