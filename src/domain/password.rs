//! The rule for passwords (NIST SP 800-63B-4: length and a blocklist, no composition rules).

use super::refusal::Refusal;

/// The fewest characters of a password that is the only factor.
pub const MIN_CHARS: usize = 15;
/// The longest input that is looked at at all, so that hashing cannot be made to work long.
pub const MAX_BYTES: usize = 1024;

/// Accepts a new password, or says what is wrong with it. `own_words` are the person's name and
/// address and the organisation's name.
pub fn check(password: &str, own_words: &[&str]) -> Result<(), Refusal> {
    if password.len() > MAX_BYTES {
        return Err(Refusal::WeakPassword("Use at most 1,024 characters."));
    }
    if password.chars().count() < MIN_CHARS {
        return Err(Refusal::WeakPassword(
            "Use at least 15 characters. A short sentence works well.",
        ));
    }
    let plain = letters(password);
    if is_predictable(&plain) || COMMON.iter().any(|common| consists_of(&plain, common)) {
        return Err(Refusal::WeakPassword(
            "That is one of the first passwords an attacker would try.",
        ));
    }
    let known = own_words.iter().map(|word| letters(word)).chain([letters("countersign")]);
    if known.into_iter().any(|word| word.len() >= 3 && consists_of(&plain, &word)) {
        return Err(Refusal::WeakPassword(
            "Do not build it from your name, address or organisation.",
        ));
    }
    Ok(())
}

const COMMON: &[&str] = &[
    "password",
    "passwort",
    "letmein",
    "welcome",
    "admin",
    "administrator",
    "qwerty",
    "qwertyuiop",
    "iloveyou",
    "changeme",
    "secret",
    "default",
    "football",
    "baseball",
    "superman",
    "dragon",
    "sunshine",
    "princess",
    "trustno",
    "correcthorsebatterystaple",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "asdfghjkl",
    "zxcvbnm",
    "abc123",
    "test",
    "login",
    "master",
    "monkey",
    "hello",
];

/// Lower-case letters and digits only.
fn letters(s: &str) -> String {
    s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// True if nothing but digits is left once `word` is cut out.
fn consists_of(text: &str, word: &str) -> bool {
    text.contains(word) && text.replace(word, "").chars().all(|c| c.is_ascii_digit())
}

/// True for a run such as `aaaa…`, `1234…`, `abab…`.
fn is_predictable(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    let steady = codes.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(b.saturating_sub(*a)),
        _ => None,
    });
    let steps: Vec<i64> = steady.collect();
    let run = steps.iter().filter(|step| step.abs() <= 1).count();
    let kinds = codes.iter().collect::<std::collections::BTreeSet<_>>().len();
    run >= steps.len().saturating_sub(2) || kinds <= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_blocklist_decide_and_composition_does_not() {
        let own = ["Mary Maker", "mary.maker@example.com", "Demo Distributor"];
        for good in [
            "abode quiver lantern",
            "fifteenletterss",
            "räksmörgås på bordet",
            "🦀 crab walks sideways 🦀",
        ] {
            assert_eq!(check(good, &own), Ok(()), "{good}");
        }
        for bad in [
            "fourteen chars",
            "",
            "passwordpassword",
            "Password-Password1",
            "aaaaaaaaaaaaaaaa",
            "1234567890123456",
            "abcdefghijklmnop",
            "Mary Maker Mary Maker",
            "mary.maker@example.com",
            "countersign-countersign",
            "Demo Distributor 2026",
            "ababababababababab",
        ] {
            assert!(check(bad, &own).is_err(), "{bad}");
        }
        assert!(check(&"x y ".repeat(300), &own).is_err());
    }
}
