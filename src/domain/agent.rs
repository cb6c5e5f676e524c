//! The family of a program that calls: `curl`, `okhttp`, `Firefox`, from what it says of itself.

/// The longest name of a family. Something longer is no name, and may be a secret put there by mistake.
const LONGEST: usize = 40;

/// What a browser says of itself, and its name; more particular ones first, since each also names those it copies.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "SamsungBrowser"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// The family of a user agent; nothing if it says nothing. What it gives is its own family again.
pub fn family(agent: &str) -> Option<String> {
    let agent = agent.trim();
    if agent.is_empty() {
        return None;
    }
    Some(browser(agent).map_or_else(|| product(agent), str::to_owned))
}

fn browser(agent: &str) -> Option<&'static str> {
    if !agent.starts_with("Mozilla/") {
        return None;
    }
    BROWSERS.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}

/// The first word, without a version and without anything that is not plain.
fn product(agent: &str) -> String {
    // Robots hide behind the browsers' first word: `Mozilla/5.0 (compatible; Somebot/2.1; …)`.
    let agent = agent.split_once("compatible; ").map_or(agent, |(_, rest)| rest);
    let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '(' | ')' | ';' | ',');
    let word = agent.split(ends).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if word.is_empty() || word.len() > LONGEST || !word.chars().all(plain) {
        return "other".to_owned();
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_first_word_and_browsers_are_told_apart() {
        let webkit = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        let chrome = format!("{webkit} Chrome/126.0.0.0 Safari/537.36");
        let rows = [
            ("curl/8.5.0", "curl"),
            ("python-requests/2.31.0", "python-requests"),
            ("okhttp/4.12.0", "okhttp"),
            ("Apache-HttpClient/4.5.13 (Java/11.0.2)", "Apache-HttpClient"),
            ("Go-http-client/1.1", "Go-http-client"),
            ("  node  ", "node"),
            (&chrome, "Chrome"),
            (&format!("{chrome} Edg/126.0"), "Edge"),
            (&format!("{webkit} Version/17.4 Safari/605.1.15"), "Safari"),
            ("Mozilla/5.0 (X11; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox"),
            ("Mozilla/5.0 (compatible; Somebot/2.1; +http://bot.example)", "Somebot"),
            ("Mozilla/4.0", "Mozilla"),
            ("=cmd|' /C calc'!A0", "other"),
            ("<script>", "other"),
            ("/1.0", "other"),
            ("naïve/1", "other"),
        ];
        for (agent, expected) in rows {
            assert_eq!(family(agent).as_deref(), Some(expected), "{agent}");
            assert_eq!(family(expected).as_deref(), Some(expected), "the family of a family");
        }
        assert_eq!(family(" "), None);
    }

    #[test]
    fn a_secret_in_the_wrong_header_is_not_kept_in_part_either() {
        let secret = format!("uwk_{}", "aB3".repeat(18));
        assert_eq!(family(&secret).as_deref(), Some("other"));
        assert_eq!(family(&"a".repeat(40)).map(|name| name.len()), Some(40));
    }
}
