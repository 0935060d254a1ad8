//! SHA-256 and chain ids as values that print as hex, so that no other text can be taken
//! for one.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;

/// A SHA-256 digest; lower-case hex outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) const HEX: usize = 64;
    /// What stands before the first of a chain.
    pub const ZERO: Self = Self([0; 32]);

    pub fn of(bytes: &[u8]) -> Self {
        let mut of = Self::ZERO;
        // Two digests of any length would differ here as they do there.
        of.0.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
        of
    }

    /// `None` for anything but 64 digits of lower-case hex: there is one text for each value.
    pub fn parse(text: &[u8]) -> Option<Self> {
        lower_hex(text).map(Self)
    }

    pub(super) fn append_to(self, line: &mut Vec<u8>) {
        append_hex(&self.0, line);
    }
}

/// Names one chain of records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainUid([u8; 8]);

impl ChainUid {
    pub(super) const HEX: usize = 16;
    /// Of what is no chain.
    pub(super) const NONE: Self = Self([0; 8]);

    /// A new one, unlike any other.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn generate() -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).map_err(|_| std::io::Error::other("no random numbers"))?;
        Ok(Self(bytes))
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        lower_hex(text).map(Self)
    }

    pub(super) fn append_to(self, line: &mut Vec<u8>) {
        append_hex(&self.0, line);
    }
}

fn append_hex(bytes: &[u8], line: &mut Vec<u8>) {
    let start = line.len();
    line.resize(start + 2 * bytes.len(), 0);
    if let Some(place) = line.get_mut(start..) {
        // The place is exactly as long as the text.
        let _ = hex::encode_to_slice(bytes, place);
    }
}

fn lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let plain = !text.iter().any(u8::is_ascii_uppercase);
    (plain && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

macro_rules! prints_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )*};
}

prints_as_hex!(Fingerprint, ChainUid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_one_text_and_reads_back_from_it_alone() {
        let print = Fingerprint::of(b"abc");
        let text = print.to_string();
        // FIPS 180-4's own example.
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut line = Vec::new();
        print.append_to(&mut line);
        assert_eq!(line, text.as_bytes());
        assert_eq!(Fingerprint::parse(text.as_bytes()), Some(print));
        for other in [text.to_uppercase(), text[1..].to_owned(), format!("{text}0")] {
            assert_eq!(Fingerprint::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn no_two_chains_share_an_id() {
        let (one, other) = (ChainUid::generate().unwrap(), ChainUid::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(ChainUid::parse(one.to_string().as_bytes()), Some(one));
    }
}
