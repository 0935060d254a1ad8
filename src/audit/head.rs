//! Signed statements of how long a chain is. Kept elsewhere, they show that a tail was cut or
//! that a whole chain was made anew, which a chain alone cannot.
//!
//! A head is a record of the chain, and a line of the file beside it:
//! `{"head":STATEMENT,"signature":{"algorithm":"Ed25519","key_id":"…","value":"…"}}`. The
//! signature is over [`CONTEXT`] and the statement's bytes as [`Statement::text`] has them.

use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de};

use super::digest::{ChainUid, Fingerprint};
use super::json::Json;
use super::signing::{ALGORITHM, PublicKey, Signer};

/// So that a signature of a head is a signature of nothing else.
const CONTEXT: &[u8] = b"sagegate-audit-head-v1\n";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub chain_uid: ChainUid,
    /// 1, 2, 3… over the chain.
    pub number: u64,
    /// Milliseconds since the epoch.
    pub time: u64,
    /// How many records the chain has; the head's own is the next.
    pub count: u64,
    /// The last of them.
    pub fingerprint: Fingerprint,
    /// The file that holds it; empty before the first.
    pub file: String,
    pub reason: Reason,
    /// From which record on an intent may lack its outcome; `None` where intents are not
    /// recorded, or all have theirs.
    pub open_from: Option<u64>,
    /// The digest of the head before, [`Fingerprint::ZERO`] for the first.
    pub previous: Fingerprint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The first record of a run.
    Start,
    Minute,
    /// The first record of a file.
    Rotation,
    /// Behind the word of what retention is about to remove.
    Retention,
    /// The last record of a run that ended as it should.
    Stop,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Minute => "minute",
            Self::Rotation => "rotation",
            Self::Retention => "retention",
            Self::Stop => "stop",
        }
    }
}

impl Statement {
    /// The one text of this statement.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        let mut json = Json(&mut text);
        json.raw(r#"{"chain_uid":"#).plain(self.chain_uid);
        json.raw(r#","number":"#).number(self.number);
        json.raw(r#","time":"#).number(self.time);
        json.raw(r#","count":"#).number(self.count);
        json.raw(r#","fingerprint":"#).plain(self.fingerprint);
        json.raw(r#","file":"#).string(&self.file);
        json.raw(r#","reason":"#).string(self.reason.as_str());
        match self.open_from {
            Some(sequence) => json.raw(r#","open_from":"#).number(sequence),
            None => json.raw(r#","open_from":null"#),
        };
        json.raw(r#","previous":"#).plain(self.previous).raw("}");
        text
    }

    /// What the next head names as its previous.
    pub fn digest(&self) -> Fingerprint {
        Fingerprint::of(&self.text())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    algorithm: String,
    key_id: String,
    value: String,
}

/// A statement and its signature, if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Head {
    #[serde(rename = "head")]
    pub statement: Statement,
    #[serde(deserialize_with = "Option::deserialize")]
    pub signature: Option<Signature>,
}

impl Head {
    /// Signs what can be signed: a signer that fails is logged, and the head goes without.
    pub(super) fn new(statement: Statement, signer: Option<&mut (dyn Signer + 'static)>) -> Self {
        let signature = signer.and_then(|signer| {
            let signed = signer.sign(&message(&statement));
            let value = signed
                .inspect_err(|error| tracing::error!(%error, "an audit head could not be signed"));
            Some(Signature {
                algorithm: ALGORITHM.to_owned(),
                key_id: signer.key_id().to_owned(),
                value: STANDARD.encode(value.ok()?),
            })
        });
        Self { statement, signature }
    }

    /// From a line of a heads file, or from a head's record.
    pub fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Record {
            unmapped: Head,
        }
        let record = || serde_json::from_slice::<Record>(line).ok().map(|record| record.unmapped);
        serde_json::from_slice(line).ok().or_else(record)
    }

    /// `"head":…,"signature":…`
    pub(super) fn members(&self) -> Vec<u8> {
        let mut text = b"\"head\":".to_vec();
        text.extend_from_slice(&self.statement.text());
        let mut json = Json(&mut text);
        match &self.signature {
            Some(Signature { algorithm, key_id, value }) => {
                json.raw(r#","signature":{"algorithm":"#).string(algorithm);
                json.raw(r#","key_id":"#).string(key_id);
                json.raw(r#","value":"#).string(value).raw("}");
            }
            None => {
                json.raw(r#","signature":null"#);
            }
        }
        text
    }

    /// The id of the key that signed it.
    pub fn key_id(&self) -> Option<&str> {
        self.signature.as_ref().map(|signature| signature.key_id.as_str())
    }

    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signature.as_ref().is_some_and(|signature| {
            signature.algorithm == ALGORITHM
                && STANDARD
                    .decode(&signature.value)
                    .is_ok_and(|value| key.verifies(&message(&self.statement), &value))
        })
    }
}

fn message(statement: &Statement) -> Vec<u8> {
    [CONTEXT, &statement.text()].concat()
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).ok_or_else(|| de::Error::custom("not a SHA-256 in hex"))
    }
}

impl<'de> Deserialize<'de> for ChainUid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).ok_or_else(|| de::Error::custom("not a chain's id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::signing::SigningKey;
    use crate::audit::signing::tests::{PRIVATE, PUBLIC};

    fn statement() -> Statement {
        Statement {
            chain_uid: ChainUid::parse(b"9f2c41d07ab35e18").unwrap(),
            number: 17,
            time: 1_795_435_200_123,
            count: 43,
            fingerprint: Fingerprint::of(b"43"),
            file: "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl".to_owned(),
            reason: Reason::Minute,
            open_from: Some(41),
            previous: Fingerprint::of(b"16"),
        }
    }

    fn line(head: &Head) -> Vec<u8> {
        [b"{", &*head.members(), b"}"].concat()
    }

    #[test]
    fn a_signed_head_reads_back_and_verifies_and_a_changed_one_does_not() {
        let mut key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
        let public = PublicKey::from_pem(PUBLIC.as_bytes()).unwrap();
        let head = Head::new(statement(), Some(&mut key));
        let read = Head::parse(&line(&head)).unwrap();
        assert_eq!(read, head);
        assert!(read.is_signed_by(&public));
        assert_eq!(read.key_id(), Some(public.id()));
        let changed = Statement { count: 42, ..statement() };
        assert!(!Head { statement: changed, ..head }.is_signed_by(&public));
    }

    #[test]
    fn an_unsigned_head_is_signed_by_nobody() {
        let head = Head::new(Statement { open_from: None, ..statement() }, None);
        let read = Head::parse(&line(&head)).unwrap();
        assert_eq!(read, head);
        assert!(!read.is_signed_by(&PublicKey::from_pem(PUBLIC.as_bytes()).unwrap()));
    }

    #[test]
    fn a_head_is_found_in_its_record_too_and_nothing_else_is_one() {
        let head = Head::new(statement(), None);
        let record = [br#"{"metadata":{},"unmapped":"#, &*line(&head), b"}"].concat();
        assert_eq!(Head::parse(&record), Some(head.clone()));
        let text = String::from_utf8(line(&head)).unwrap();
        for (from, to) in
            [("\"number\":17", "\"number\":-1"), ("minute", "hour"), ("\"time\"", "\"tyme\"")]
        {
            assert!(text.contains(from));
            assert_eq!(Head::parse(text.replace(from, to).as_bytes()), None, "{to}");
        }
    }
}
