//! Audit entries and the hash chain that binds each to all before it.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::id::{KeyId, OrganisationId};
use super::member::{Actor, Origin};

/// What happened, ready to be written by the transaction it happened in.
#[derive(Clone, Debug)]
pub struct Event {
    /// The organisation it concerns.
    pub organisation_id: Option<OrganisationId>,
    /// Who did it.
    pub who: Who,
    /// The stable word for it, such as `request.approved`.
    pub action: &'static str,
    /// The id of the request, key or member it is about.
    pub subject_id: Option<String>,
    /// Further facts; never a secret.
    pub detail: serde_json::Value,
}

/// Who did something.
#[derive(Clone, Debug)]
pub enum Who {
    /// A signed-in member.
    Member(Box<Actor>),
    /// The bearer of a key, through the API.
    Key(KeyId, String, Origin),
    /// Somebody at the command line of the server.
    Command,
    /// The server itself, when time has passed.
    Worker,
    /// Somebody who is not signed in.
    Visitor(Origin),
}

/// One row of the log as stored: nothing but text, numbers and hashes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 1, 2, 3 … without gaps.
    pub seq: i64,
    /// When, to the microsecond.
    pub at: DateTime<Utc>,
    /// The organisation it concerns.
    pub organisation_id: Option<String>,
    /// The kind of actor: `member`, `key`, `command`, `worker`, `visitor`.
    pub actor_kind: String,
    /// The id of a member or key.
    pub actor_id: Option<String>,
    /// Their name at that time.
    pub actor_name: String,
    /// What happened.
    pub action: String,
    /// What it is about.
    pub subject_id: Option<String>,
    /// Further facts as JSON text, hashed letter by letter.
    pub detail: String,
    /// The address it came from.
    pub ip: Option<String>,
    /// The HTTP request it came with.
    pub request_id: Option<String>,
    /// The hash of the entry before this one, in hexadecimal; zeros for the first.
    pub previous_hash: String,
    /// The hash of this entry, in hexadecimal.
    pub hash: String,
}

/// Where a chain stands: the number and hash of its last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last number, 0 for an empty chain.
    pub seq: i64,
    /// The last hash in hexadecimal, zeros for an empty chain.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: hex(&[0; 32]) }
    }
}

impl Event {
    /// The entry for this event that follows `head`.
    pub fn entry(self, head: &Head, at: DateTime<Utc>) -> Entry {
        let (actor_kind, actor_id, actor_name, origin) = match self.who {
            Who::Member(actor) => {
                ("member", Some(actor.member.id.to_string()), actor.member.name, actor.origin)
            }
            Who::Key(id, label, origin) => ("key", Some(id.to_string()), label, origin),
            Who::Command => ("command", None, "command line".to_owned(), Origin::default()),
            Who::Worker => ("worker", None, "Countersign".to_owned(), Origin::default()),
            Who::Visitor(origin) => ("visitor", None, "visitor".to_owned(), origin),
        };
        Entry {
            seq: head.seq.saturating_add(1),
            at,
            organisation_id: self.organisation_id.map(|id| id.to_string()),
            actor_kind: actor_kind.to_owned(),
            actor_id,
            actor_name,
            action: self.action.to_owned(),
            subject_id: self.subject_id,
            detail: self.detail.to_string(),
            ip: origin.ip.map(|ip| ip.to_string()),
            request_id: origin.request_id,
            previous_hash: head.hash.clone(),
            hash: String::new(),
        }
        .sealed()
    }
}

impl Entry {
    /// The head of a chain that ends here.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    /// Says what is wrong with this entry as the successor of `head`, if anything is.
    pub fn check(&self, head: &Head) -> Result<(), String> {
        if Some(self.seq) != head.seq.checked_add(1) {
            return Err(format!(
                "entry {} follows entry {}: one is missing, doubled or moved",
                self.seq, head.seq
            ));
        }
        if self.previous_hash != head.hash {
            return Err(format!("entry {} does not continue entry {}", self.seq, head.seq));
        }
        if self.hash != self.computed_hash() {
            return Err(format!("entry {} was changed after it was written", self.seq));
        }
        Ok(())
    }

    fn sealed(self) -> Self {
        Self { hash: self.computed_hash(), ..self }
    }

    /// SHA-256 over every field, each with its length before it, so that no two entries encode alike.
    fn computed_hash(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(b"countersign audit 1");
        let (seq, at) = (self.seq.to_string(), self.at.timestamp_micros().to_string());
        let fields = [
            Some(self.previous_hash.as_str()),
            Some(seq.as_str()),
            Some(at.as_str()),
            self.organisation_id.as_deref(),
            Some(self.actor_kind.as_str()),
            self.actor_id.as_deref(),
            Some(self.actor_name.as_str()),
            Some(self.action.as_str()),
            self.subject_id.as_deref(),
            Some(self.detail.as_str()),
            self.ip.as_deref(),
            self.request_id.as_deref(),
        ];
        for field in fields {
            // An absent field and an empty one differ in this byte.
            hasher.update([u8::from(field.is_some())]);
            let bytes = field.unwrap_or_default().as_bytes();
            hasher.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(bytes);
        }
        hex(&hasher.finalize())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes from hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| u8::try_from(char::from(*digit).to_digit(16)?).ok();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: usize) -> Vec<Entry> {
        let mut head = Head::default();
        (0..n)
            .map(|i| {
                let event = Event {
                    organisation_id: None,
                    who: Who::Command,
                    action: "organisation.created",
                    subject_id: Some(i.to_string()),
                    detail: serde_json::json!({ "n": i }),
                };
                let entry = event.entry(&head, DateTime::UNIX_EPOCH);
                head = entry.head();
                entry
            })
            .collect()
    }

    fn verdict(entries: &[Entry]) -> Result<Head, String> {
        entries
            .iter()
            .try_fold(Head::default(), |head, entry| entry.check(&head).map(|()| entry.head()))
    }

    #[test]
    fn a_chain_as_written_is_whole() {
        assert_eq!(verdict(&chain(5)).unwrap().seq, 5);
    }

    #[test]
    fn every_kind_of_tampering_is_found_at_its_place() {
        let spoil = |change: &dyn Fn(&mut Vec<Entry>)| {
            let mut entries = chain(5);
            change(&mut entries);
            verdict(&entries).unwrap_err()
        };
        assert!(spoil(&|e| e[2].actor_name = "nobody".to_owned()).contains("entry 3 was changed"));
        assert!(spoil(&|e| e[2].ip = Some(String::new())).contains("entry 3 was changed"));
        assert!(spoil(&|e| e[2].at += chrono::TimeDelta::microseconds(1)).contains("entry 3"));
        assert!(spoil(&|e| drop(e.remove(2))).contains("entry 4 follows entry 2"));
        assert!(spoil(&|e| e.swap(1, 2)).contains("entry 3 follows entry 1"));
        assert!(spoil(&|e| e.insert(2, e[1].clone())).contains("entry 2 follows entry 2"));
        assert!(
            spoil(&|e| e[2] = Entry { detail: "{}".to_owned(), ..e[2].clone() }.sealed())
                .contains("entry 4")
        );
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
    }
}
