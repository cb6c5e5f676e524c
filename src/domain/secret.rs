//! Secrets of keys: minted once, shown once, kept only as a hash.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters: 46 of 62 kinds are 273 bits, so a plain fast hash is enough at rest.
const RANDOM_LEN: usize = 46;
const CHECKSUM_LEN: usize = 6;

/// A whole secret, `prefix_` + 46 random + 6 checksum characters. Never printed, wiped when dropped.
pub struct PlainSecret(Zeroizing<String>);

/// The SHA-256 of a whole secret: what the database and the key index hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl PlainSecret {
    /// Mints a secret from the system's randomness.
    pub fn mint(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(prefix);
        text.push('_');
        let wanted = text.len().saturating_add(RANDOM_LEN);
        while text.len() < wanted {
            let mut bytes = Zeroizing::new([0_u8; 64]);
            getrandom::fill(bytes.as_mut_slice())?;
            // 248 is the largest multiple of 62 in a byte: anything above would favour some letters.
            let letters = bytes.iter().filter(|b| **b < 248).map(|b| base62(u32::from(*b)));
            let missing = wanted.saturating_sub(text.len());
            text.extend(letters.take(missing));
        }
        let sum = checksum(&text);
        text.extend(sum);
        Ok(Self(text))
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The last four characters: enough to tell keys apart, useless to open anything.
    pub fn last_four(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(4)..).unwrap_or_default()
    }

    /// The secret itself, for the one page that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl SecretHash {
    /// The hash of a presented text, if its shape and checksum say that it could be a secret of ours.
    /// Nothing is copied on the way: this runs for every call.
    pub fn of_presented(text: &str) -> Option<Self> {
        let (prefix, rest) = text.rsplit_once('_')?;
        let shape_ok = !prefix.is_empty()
            && rest.len() == RANDOM_LEN + CHECKSUM_LEN
            && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        if !shape_ok {
            return None;
        }
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LEN)?)?;
        let fits = checksum(body).into_iter().eq(sum.chars());
        fits.then(|| Self(Sha256::digest(text.as_bytes()).into()))
    }
}

impl std::fmt::Debug for PlainSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlainSecret")
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash")
    }
}

/// 256 random bits in hexadecimal: for sessions, forms and invitations.
pub fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(super::audit::hex(bytes.as_slice()))
}

fn base62(n: u32) -> char {
    let index = usize::try_from(n.wrapping_rem(62)).unwrap_or_default();
    BASE62.get(index).map_or('0', |b| char::from(*b))
}

/// Six base62 digits of the CRC-32 of everything before them.
fn checksum(body: &str) -> [char; CHECKSUM_LEN] {
    let mut left = crc32fast::hash(body.as_bytes());
    let mut digits = ['0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = base62(left);
        left = left.wrapping_div(62);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_secrets_have_the_documented_form_and_parse() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2000 {
            let secret = PlainSecret::mint("uwk").unwrap();
            let text = secret.expose();
            assert_eq!((text.len(), &text[..4]), (56, "uwk_"));
            assert!(text[4..].bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(SecretHash::of_presented(text), Some(secret.hash()));
            assert!(text.ends_with(secret.last_four()) && secret.last_four().len() == 4);
            assert!(seen.insert(text.to_owned()));
        }
    }

    #[test]
    fn a_checksum_catches_every_single_typo() {
        let secret = PlainSecret::mint("uwk").unwrap();
        for i in 0..secret.expose().len() {
            let mut bytes = secret.expose().as_bytes().to_vec();
            bytes[i] = if bytes[i] == b'x' { b'y' } else { b'x' };
            assert!(
                SecretHash::of_presented(std::str::from_utf8(&bytes).unwrap()).is_none(),
                "at {i}"
            );
        }
        for text in ["", "uwk_", "_", "uwk_é", "é", &"a".repeat(10_000)] {
            assert!(SecretHash::of_presented(text).is_none());
        }
    }

    #[test]
    fn debug_output_shows_nothing() {
        let secret = PlainSecret::mint("uwk").unwrap();
        assert_eq!(format!("{secret:?}{:?}", secret.hash()), "PlainSecretSecretHash");
    }
}
