//! How a record stands in the journal: its place in the chain, around what it says.
//!
//! A line is one OCSF event. The journal's writer puts the sequence number before what was
//! rendered, and behind it, inside `unmapped`, an attestation in the words of OCSF 1.9's
//! `record_integrity` profile (`chain_uid`, `prev_event`, `fingerprint`):
//!
//! ```text
//! {"metadata":{"sequence":7,"event_code":"request",…,"unmapped":{…,"attestation_list":[{
//!   "chain_uid":"…","prev_event":{"fingerprint":{"algorithm_id":3,"value":"…"}},
//!   "fingerprint":{"algorithm_id":3,"value":"…"}}]}}
//! ```
//!
//! (on one line, without blanks). The fingerprint is the SHA-256 of every byte before its
//! own `,"fingerprint":`, the previous record's fingerprint among them. `sequence` counts 1,
//! 2, 3… over all files and restarts of a chain; before record 1 stand 64 zeros.
//!
//! Invariant: every byte of a line is either covered by its fingerprint, or the fingerprint,
//! or fixed text, so no byte can change unseen; and none of it needs a JSON parser.

use memchr::memchr;

use super::digest::{ChainUid, Fingerprint};
use super::json::decimal;

/// No record is longer, with much to spare; whatever is, is no record.
pub const LONGEST: usize = 4 * 1024 * 1024;

const LEAD: &[u8] = br#"{"metadata":{"sequence":"#;
const CODE: &[u8] = br#","event_code":""#;
const CHAIN: &[u8] = br#","attestation_list":[{"chain_uid":""#;
const PREVIOUS: &[u8] = br#"","prev_event":{"fingerprint":{"algorithm_id":3,"value":""#;
const OWN: &[u8] = br#""}},"fingerprint":{"algorithm_id":3,"value":""#;
/// Of [`OWN`], what the fingerprint covers.
const COVERED: usize = br#""}}"#.len();
const END: &[u8] = br#""}}]}}"#;

/// What a record tells of: `metadata.event_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request and how it ended.
    Request,
    /// A request that is about to go to SageMaker (`durability: fsync`).
    Intent,
    /// An intent of a run that ended before the outcome was on record.
    OutcomeUnknown,
    /// Bytes of a file that are no records.
    Gap,
    /// A signed statement of the chain's length.
    Head,
    /// A file that retention removed.
    Retired,
    Start,
    Stop,
    Reload,
    Keys,
    Credentials,
    LimitStore,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Request,
        Self::Intent,
        Self::OutcomeUnknown,
        Self::Gap,
        Self::Head,
        Self::Retired,
        Self::Start,
        Self::Stop,
        Self::Reload,
        Self::Keys,
        Self::Credentials,
        Self::LimitStore,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Intent => "intent",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Gap => "gap",
            Self::Head => "head",
            Self::Retired => "retired",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Keys => "keys",
            Self::Credentials => "credentials",
            Self::LimitStore => "limit_store",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }
}

/// Where a chain stands: its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub sequence: u64,
    pub fingerprint: Fingerprint,
}

impl Link {
    /// Before the first record.
    pub const NONE: Self = Self { sequence: 0, fingerprint: Fingerprint::ZERO };
}

/// A record's line, taken apart as far as the chain goes.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    pub sequence: u64,
    pub kind: Kind,
    pub chain: ChainUid,
    pub previous: Fingerprint,
    pub fingerprint: Fingerprint,
    /// What the fingerprint is made of.
    covered: &'a [u8],
    /// From behind the kind to the end of what `unmapped` says.
    rest: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line apart, without its newline. `None` when it is not of the form that the
    /// journal writes; whether it says what was written is [`is_intact`](Self::is_intact)'s.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(LEAD)?;
        let (sequence, rest) = number(rest)?;
        let rest = rest.strip_prefix(CODE)?;
        let quote = rest.iter().take(32).position(|byte| *byte == b'"')?;
        let (kind, rest) = rest.split_at_checked(quote)?;
        let (rest, own) = split_hex(rest.strip_suffix(END)?, Fingerprint::HEX)?;
        let (rest, previous) = split_hex(rest.strip_suffix(OWN)?, Fingerprint::HEX)?;
        let (rest, chain) = split_hex(rest.strip_suffix(PREVIOUS)?, ChainUid::HEX)?;
        Some(Self {
            sequence,
            kind: Kind::parse(kind)?,
            chain: ChainUid::parse(chain)?,
            previous: Fingerprint::parse(previous)?,
            fingerprint: Fingerprint::parse(own)?,
            covered: line.get(..line.len() - tail_uncovered())?,
            rest: rest.strip_suffix(CHAIN)?.strip_prefix(b"\"")?,
        })
    }

    /// Whether the line is what the fingerprint was made of.
    pub fn is_intact(&self) -> bool {
        Fingerprint::of(self.covered) == self.fingerprint
    }

    /// The end of the chain with this record.
    pub fn link(&self) -> Link {
        Link { sequence: self.sequence, fingerprint: self.fingerprint }
    }

    /// Whether it is the record that comes after `last`.
    pub fn follows(&self, last: Link) -> bool {
        Some(self.sequence) == last.sequence.checked_add(1) && self.previous == last.fingerprint
    }

    /// `metadata.uid`, where it stands at once behind the version, as every record has it.
    pub fn uid(&self) -> Option<&'a [u8]> {
        uid(self.rest)
    }

    /// Whose intent or outcome it is, by the request's id.
    pub(super) fn request(&self) -> Option<(Kind, &'a [u8])> {
        request(self.kind, self.rest)
    }

    /// What was rendered.
    pub(super) fn rendered(&self) -> &'a [u8] {
        self.rest
    }
}

/// How many bytes at the end of a line its fingerprint does not cover.
const fn tail_uncovered() -> usize {
    OWN.len() - COVERED + Fingerprint::HEX + END.len()
}

/// Digits without a leading zero: there is one text for each number.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    if digits.first() == Some(&b'0') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(|number| (number, rest))
}

fn split_hex(text: &[u8], digits: usize) -> Option<(&[u8], &[u8])> {
    text.split_at_checked(text.len().checked_sub(digits)?)
}

const VERSION_AND_UID: &[u8] = br#","version":"1.8.0","uid":""#;

/// The id in what was rendered, which begins behind the kind.
fn uid(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(VERSION_AND_UID)?;
    let end = rest.iter().take(128).position(|byte| *byte == b'"')?;
    rest.get(..end)
}

/// Of a record as [`unsealed`] has it: whose intent or outcome it is, by the request's id.
pub(super) fn request_of(record: &[u8]) -> Option<(Kind, &[u8])> {
    let (kind, rest) = record.split_at_checked(memchr(b'"', record)?)?;
    request(Kind::parse(kind)?, rest.strip_prefix(b"\"")?)
}

fn request(kind: Kind, rest: &[u8]) -> Option<(Kind, &[u8])> {
    let uid = uid(rest)?;
    match kind {
        Kind::Intent => uid.strip_suffix(b":intent").map(|id| (kind, id)),
        Kind::Request | Kind::OutcomeUnknown => Some((kind, uid)),
        _ => None,
    }
}

/// A record on its way into the journal: `KIND"` and what was rendered behind it.
pub(super) fn unsealed(kind: Kind, rendered: &[u8]) -> [&[u8]; 3] {
    [kind.as_str().as_bytes(), b"\"", rendered]
}

/// Appends `record` (as [`unsealed`] has it) to `out` as the line after `last`.
pub(super) fn seal(chain: ChainUid, last: Link, record: &[u8], out: &mut Vec<u8>) -> Link {
    let start = out.len();
    let sequence = last.sequence + 1;
    out.extend_from_slice(LEAD);
    decimal(out, sequence);
    out.extend_from_slice(CODE);
    out.extend_from_slice(record);
    out.extend_from_slice(CHAIN);
    chain.append_to(out);
    out.extend_from_slice(PREVIOUS);
    last.fingerprint.append_to(out);
    let (covered, rest) = OWN.split_at(COVERED);
    out.extend_from_slice(covered);
    let fingerprint = Fingerprint::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(rest);
    fingerprint.append_to(out);
    out.extend_from_slice(END);
    out.push(b'\n');
    Link { sequence, fingerprint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RENDERED: &[u8] =
        br#","version":"1.8.0","uid":"abc"},"message":"a \"b\"","unmapped":{"x":1"#;

    fn chain() -> ChainUid {
        ChainUid::parse(b"9f2c41d07ab35e18").unwrap()
    }

    fn sealed(last: Link) -> (Vec<u8>, Link) {
        let mut line = Vec::new();
        let link = seal(chain(), last, &unsealed(Kind::Request, RENDERED).concat(), &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        (line, link)
    }

    #[test]
    fn a_sealed_record_is_json_and_reads_back() {
        let (first, link) = sealed(Link::NONE);
        let line = Line::parse(&first).unwrap();
        assert_eq!((line.sequence, line.kind, line.chain), (1, Kind::Request, chain()));
        assert!(line.is_intact() && line.follows(Link::NONE) && line.link() == link);
        assert_eq!(line.uid(), Some(&b"abc"[..]));
        let (second, _) = sealed(link);
        let line = Line::parse(&second).unwrap();
        assert!(line.is_intact() && line.follows(link) && !line.follows(Link::NONE));
        let json: serde_json::Value = serde_json::from_slice(&second).unwrap();
        let attested = &json["unmapped"]["attestation_list"][0];
        assert_eq!(attested["prev_event"]["fingerprint"]["value"], link.fingerprint.to_string());
        assert_eq!(attested["chain_uid"], "9f2c41d07ab35e18");
        assert_eq!(json["metadata"]["event_code"], "request");
    }

    #[test]
    fn every_kind_reads_back_as_itself() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str().as_bytes()), Some(kind));
        }
        assert_eq!(Kind::parse(b"other"), None);
    }

    proptest! {
        /// Whatever byte changes, the line is no longer intact, or no longer a line.
        #[test]
        fn no_byte_can_change_unseen(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (mut line, _) = sealed(Link::NONE);
            let at = at.index(line.len());
            line[at] ^= flip;
            prop_assert!(!Line::parse(&line).is_some_and(|line| line.is_intact()));
        }

        #[test]
        fn any_bytes_can_be_parsed(bytes in any::<Vec<u8>>()) {
            prop_assert!(Line::parse(&bytes).is_none());
        }
    }
}
