//! An issuer's published key set (RFC 7517) → the keys that may verify its tokens.
//!
//! Pure: a document in, keys out. A key that is not for verifying, too weak, symmetric, or
//! of a kind that we do not know is left out; a set in which nothing is left is an error,
//! so that it never replaces one that works. A `kid` that two keys share belongs to neither.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use super::hash::sha256;
use super::issuer::Algorithm;
use super::json::{Json, Object};

/// More keys than any issuer publishes; looking one up is linear.
const MAX_KEYS: usize = 256;

/// The keys of one issuer at one moment. Never empty.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Ids that stand on no usable key, or on more than one.
    unusable: Vec<Arc<str>>,
}

/// A public key with what it may be used for.
pub struct Key {
    kid: Option<Arc<str>>,
    algorithms: &'static [Algorithm],
    /// RFC 7638, over the members that make the key.
    thumbprint: [u8; 32],
    decoding: DecodingKey,
}

/// Why a document gives no keys. Says nothing of what the document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is not a JSON object with an array `keys`, or has a doubled member")]
    Document,
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("none of the set's keys can verify a signature")]
    NoneUsable,
}

/// Why no key was found for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The set does not know the id; a newer one may.
    Unknown,
    /// The id stands on a key that must not be used so, or on more than one key.
    Unfit,
    /// There is no id, and more than one key fits.
    Ambiguous,
}

impl KeySet {
    /// # Errors
    /// When the document is not a key set, or no key in it is usable.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document = Object::parse(document).ok_or(KeySetError::Document)?;
        let entries = document.member("keys").and_then(Json::array).ok_or(KeySetError::Document)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self { keys: Vec::new(), unusable: Vec::new() };
        for entry in entries.iter().filter_map(Json::object) {
            set.add(kid_of(entry), read(entry));
        }
        if set.keys.is_empty() { Err(KeySetError::NoneUsable) } else { Ok(set) }
    }

    /// What tells each key from every other: its id, and the hash of the key itself.
    pub(super) fn ids(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(|key| {
            let thumbprint = URL_SAFE_NO_PAD.encode(key.thumbprint);
            format!("{}#{thumbprint}", key.kid.as_deref().unwrap_or_default())
        })
    }

    /// Two entries of one `kid` make it unusable, whatever they are: the issuer cannot mean
    /// both, and we cannot know which (RFC 7517 §4.5 asks for distinct ids).
    fn add(&mut self, kid: Option<Arc<str>>, key: Option<Key>) {
        match (kid, key) {
            (Some(kid), key) if self.mentions(&kid) => {
                drop(key);
                self.keys.retain(|key| key.kid.as_ref() != Some(&kid));
                self.unusable.push(kid);
            }
            (Some(kid), None) => self.unusable.push(kid),
            (_, Some(key)) => self.keys.push(Arc::new(key)),
            (None, None) => {}
        }
    }

    fn mentions(&self, kid: &str) -> bool {
        self.unusable.iter().any(|other| **other == *kid)
            || self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// The one key for a token of this `alg` and `kid`. A token without `kid` is served only
    /// if a single key of the set fits.
    ///
    /// # Errors
    /// When there is no such key, or more than one.
    pub fn find(&self, alg: Algorithm, kid: Option<&str>) -> Result<&Arc<Key>, NoKey> {
        match kid {
            Some(kid) => match self.keys.iter().find(|key| key.kid() == Some(kid)) {
                Some(key) if key.algorithms.contains(&alg) => Ok(key),
                Some(_) => Err(NoKey::Unfit),
                None if self.mentions(kid) => Err(NoKey::Unfit),
                None => Err(NoKey::Unknown),
            },
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&alg));
                match (fitting.next(), fitting.next()) {
                    (Some(key), None) => Ok(key),
                    (Some(_), Some(_)) => Err(NoKey::Ambiguous),
                    (None, _) => Err(NoKey::Unknown),
                }
            }
        }
    }

    /// Whether this very key, not one like it, is in the set.
    pub(super) fn holds(&self, key: &Arc<Key>) -> bool {
        self.keys.iter().any(|held| Arc::ptr_eq(held, key))
    }

    /// Takes the previous set's handle for each key that stayed the same, so that what was
    /// verified with it stays verified.
    pub(super) fn carry_over(mut self, previous: &Self) -> Self {
        for key in &mut self.keys {
            if let Some(same) = previous.keys.iter().find(|old| old.same(key)) {
                *key = Arc::clone(same);
            }
        }
        self
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Key {
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn shared_kid(&self) -> Option<Arc<str>> {
        self.kid.clone()
    }

    fn same(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint
            && self.kid == other.kid
            && self.algorithms == other.algorithms
    }

    /// Whether `signature` over `signed` is this key's, by `alg`.
    ///
    /// What the crate's `crypto::verify` does, without unpacking the signature once more: who
    /// read the token's form has done that.
    pub fn verifies(&self, alg: Algorithm, signed: &[u8], signature: &Vec<u8>) -> bool {
        let verifier = || (DEFAULT_PROVIDER.verifier_factory)(&alg.of_crate(), &self.decoding);
        self.algorithms.contains(&alg)
            && verifier().is_ok_and(|verifier| verifier.verify(signed, signature).is_ok())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn kid_of(entry: &Object<'_>) -> Option<Arc<str>> {
    entry.member("kid").and_then(Json::text).map(Arc::from)
}

/// `None` for a key that must not verify tokens.
fn read(entry: &Object<'_>) -> Option<Key> {
    let kid = kid_of(entry);
    let wrong_kid = entry.has("kid") && kid.is_none();
    // A private key in a public document is nobody's any more.
    if wrong_kid || entry.has("d") || !for_verifying(entry) {
        return None;
    }
    let material = material(entry)?;
    let algorithms = match entry.member("alg") {
        None => material.algorithms,
        Some(alg) => {
            let alg = alg.text()?.parse().ok()?;
            let at = material.algorithms.iter().position(|fitting| *fitting == alg)?;
            material.algorithms.get(at..=at)?
        }
    };
    Some(Key { kid, algorithms, thumbprint: material.thumbprint, decoding: material.decoding })
}

/// RFC 7517 §4.2 and §4.3: `use` must be `sig` and `key_ops` must hold `verify`, where given.
fn for_verifying(entry: &Object<'_>) -> bool {
    let usage = entry.member("use").is_none_or(|usage| usage.text() == Some("sig"));
    let operations = entry.member("key_ops").is_none_or(|operations| {
        operations.array().is_some_and(|list| list.iter().any(|op| op.text() == Some("verify")))
    });
    usage && operations
}

struct Material {
    algorithms: &'static [Algorithm],
    thumbprint: [u8; 32],
    decoding: DecodingKey,
}

const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

fn material(entry: &Object<'_>) -> Option<Material> {
    let text = |name| entry.member(name).and_then(Json::text);
    match (text("kty")?, text("crv")) {
        ("RSA", None) => rsa(text("n")?, text("e")?),
        ("EC", Some(curve @ "P-256")) => ec(curve, 32, &[Algorithm::Es256], text("x")?, text("y")?),
        ("EC", Some(curve @ "P-384")) => ec(curve, 48, &[Algorithm::Es384], text("x")?, text("y")?),
        ("OKP", Some("Ed25519")) => ed25519(text("x")?),
        // `oct` is a shared secret: whoever can verify could sign. The rest we do not know.
        _ => None,
    }
}

/// RFC 7518 §3.3: at least 2048 bits; aws-lc verifies up to 8192.
fn rsa(n: &str, e: &str) -> Option<Material> {
    // RFC 7518 §6.3.1: without leading zeros.
    let number = |text| bytes(text).filter(|number| number.first() != Some(&0));
    let (modulus, exponent) = (number(n)?, number(e)?);
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // With the exponent 1 a message is its own signature.
    let sound = (2048..=8192).contains(&bits) && odd(&modulus) && odd(&exponent) && exponent != [1];
    sound.then(|| Material {
        algorithms: &RSA,
        thumbprint: thumbprint(&[("e", e), ("kty", "RSA"), ("n", n)]),
        decoding: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
    })
}

fn ec(
    curve: &str,
    size: usize,
    algorithms: &'static [Algorithm],
    x: &str,
    y: &str,
) -> Option<Material> {
    let exact = |text| bytes(text).filter(|bytes| bytes.len() == size);
    // SEC 1 §2.3.3: an uncompressed point.
    let point = [&[4], exact(x)?.as_slice(), exact(y)?.as_slice()].concat();
    Some(Material {
        algorithms,
        thumbprint: thumbprint(&[("crv", curve), ("kty", "EC"), ("x", x), ("y", y)]),
        decoding: DecodingKey::from_ec_der(&point),
    })
}

fn ed25519(x: &str) -> Option<Material> {
    let key = bytes(x).filter(|key| key.len() == 32)?;
    Some(Material {
        algorithms: &[Algorithm::EdDsa],
        thumbprint: thumbprint(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", x)]),
        decoding: DecodingKey::from_ed_der(&key),
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// RFC 7638 §3: the members in the order of their names, as JSON without blanks. The values
/// here are base64url or our own words, so that none needs escaping.
fn thumbprint(members: &[(&str, &str)]) -> [u8; 32] {
    let members: Vec<_> = members.iter().map(|(k, v)| format!(r#""{k}":"{v}""#)).collect();
    sha256(format!("{{{}}}", members.join(",")).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_rfc_7638s() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let thumbprint = rsa(n, "AQAB").map(|key| URL_SAFE_NO_PAD.encode(key.thumbprint));
        assert_eq!(thumbprint.as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    }
}
