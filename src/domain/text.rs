//! Text with rules: parsed once at the edge, trusted below.

use super::id::stored_as_text;

/// The longest line a person may type into a one-line field, in characters.
pub const LINE_MAX: usize = 100;
/// The longest explanation (justification, reason, comment), in characters.
pub const NOTE_MAX: usize = 1000;

/// An e-mail address, in lower case so that one mailbox is one member.
#[derive(
    Clone,
    Debug,
    PartialEq,
    PartialOrd,
    Eq,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    diesel::expression::AsExpression,
    diesel::deserialize::FromSqlRow,
)]
#[diesel(sql_type = diesel::sql_types::Text)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address as stored and mailed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Email {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "Enter an e-mail address such as name@example.com.";
        let s = s.trim().to_lowercase();
        let (local, host) = s.rsplit_once('@').ok_or(WRONG)?;
        let local_ok = !local.is_empty()
            && local.len() <= 64
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        let host_ok = !host.is_empty()
            && host.len() <= 190
            && host.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            });
        if local_ok && host_ok { Ok(Self(s)) } else { Err(WRONG) }
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl std::fmt::Display for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

stored_as_text!(Email);

/// One line of text: trimmed, 1 to [`LINE_MAX`] characters, single spaces, nothing invisible in it.
pub fn parse_line(s: &str) -> Result<String, &'static str> {
    let s = s.trim();
    if s.is_empty() {
        return Err("Fill this in.");
    }
    if s.chars().count() > LINE_MAX {
        return Err("Use at most 100 characters.");
    }
    if s.chars().any(|c| is_deceptive(c) || c == '\n' || c == '\r') {
        return Err("Remove the line breaks and invisible characters.");
    }
    Ok(fold_spaces(s))
}

/// Every run of spaces as one space: what a page shows is what is compared.
pub fn fold_spaces(s: &str) -> String {
    s.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A few sentences: trimmed, possibly empty, at most [`NOTE_MAX`] characters, line breaks allowed.
pub fn parse_note(s: &str) -> Result<String, &'static str> {
    let s = s.trim().replace("\r\n", "\n").replace('\t', " ");
    if s.chars().count() > NOTE_MAX {
        return Err("Use at most 1,000 characters.");
    }
    // Joiners belong to emoji and to some scripts; in a note they hide nothing.
    if s.chars().any(|c| is_deceptive(c) && !matches!(c, '\n' | '\u{200c}' | '\u{200d}')) {
        return Err("Remove the invisible characters.");
    }
    Ok(s)
}

/// True for control, bidirectional and zero-width characters: what a checker reads must be what is
/// there (the "Trojan Source" trick, CVE-2021-42574).
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_parsed_strictly_and_lowered() {
        assert_eq!("  Mary@Example.COM ".parse::<Email>().unwrap().as_str(), "mary@example.com");
        let wrong = [
            "",
            "mary",
            "@x.y",
            "mary@",
            "a b@x.y",
            "a@x..y",
            "a@-x.y",
            "a@x.y\nBcc: z@z.z",
            "a,b@x.y",
        ];
        for text in wrong {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn deceptive_characters_are_refused() {
        assert_eq!(parse_line(" Main store ").unwrap(), "Main store");
        for text in ["", "   ", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{7}b", "a\u{feff}"] {
            assert!(parse_line(text.trim_matches('x')).is_err(), "{text:?}");
        }
        assert!(parse_line(&"x".repeat(101)).is_err());
        assert_eq!(parse_note("one\r\ntwo").unwrap(), "one\ntwo");
        assert!(parse_note("a\u{202e}b").is_err());
    }
}
