//! Who signs heads, and how a signature is checked: Ed25519 (RFC 8032).
//!
//! The private key comes from a file in PKCS#8 (`openssl genpkey -algorithm ed25519`); what
//! signs elsewhere, as AWS KMS does with a key of spec ECC_NIST_EDWARDS25519, is another
//! [`Signer`]. The public key travels as SubjectPublicKeyInfo in PEM (RFC 8410).

use std::fmt;
use std::io;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::digest::Fingerprint;

pub const ALGORITHM: &str = "Ed25519";

/// What comes before the key's 32 bytes in its SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_LEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Signs heads. Called by the journal's writing thread, once a minute and at each new file:
/// what takes long must keep a deadline of its own, for records wait meanwhile. A head whose
/// signature failed is written without one, and the next one covers it.
pub trait Signer: Send {
    fn key_id(&self) -> &str;

    /// The Ed25519 signature of `message`.
    ///
    /// # Errors
    /// When the key cannot be used now.
    fn sign(&mut self, message: &[u8]) -> io::Result<Vec<u8>>;
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no Ed25519 private key in PKCS#8 PEM")]
    Private,
    #[error("no Ed25519 public key in PEM")]
    Public,
}

/// A key that was read from a file.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// # Errors
    /// When `pem` holds no Ed25519 key in PKCS#8.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| KeyError::Private)?;
        let spki: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| KeyError::Private)?;
        let public = PublicKey::from_der(spki.as_ref()).ok_or(KeyError::Private)?;
        Ok(Self { pair, public })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer for SigningKey {
    fn key_id(&self) -> &str {
        &self.public.id
    }

    fn sign(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        let signature = self.pair.try_sign(message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(io::Error::other)
    }
}

/// What signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    der: Vec<u8>,
    id: String,
}

impl PublicKey {
    /// # Errors
    /// When `pem` holds no Ed25519 key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
        Self::from_der(&der).ok_or(KeyError::Public)
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let bytes = der.strip_prefix(&SPKI_LEAD)?;
        let mut id = Fingerprint::of(der).to_string();
        id.truncate(16);
        (bytes.len() == 32).then(|| Self { der: der.to_vec(), id })
    }

    /// The beginning of the SHA-256 of the key's SubjectPublicKeyInfo, as heads name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let bytes = self.der.get(SPKI_LEAD.len()..).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, bytes).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    /// As PEM, without the last line's end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = STANDARD.encode(&self.der);
        write!(f, "-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// RFC 8410 §10.3 and §10.1: a key and its public half.
    pub(in crate::audit) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    pub(in crate::audit) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----";

    #[test]
    fn the_rfcs_key_signs_and_its_public_half_prints_and_verifies() {
        let mut key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
        assert_eq!(key.public().to_string(), PUBLIC);
        let public = PublicKey::from_pem(PUBLIC.as_bytes()).unwrap();
        assert_eq!(&public, key.public());
        let signature = key.sign(b"head").unwrap();
        assert!(public.verifies(b"head", &signature));
        assert!(!public.verifies(b"Head", &signature));
        assert_eq!(key.key_id(), public.id());
        assert!(!format!("{key:?}").contains("MC4C"));
    }

    #[test]
    fn other_keys_are_refused() {
        let rsa = rcgen::KeyPair::generate().unwrap();
        assert!(SigningKey::from_pem(rsa.serialize_pem().as_bytes()).is_err());
        assert!(PublicKey::from_pem(rsa.public_key_pem().as_bytes()).is_err());
        assert!(SigningKey::from_pem(PUBLIC.as_bytes()).is_err());
        assert!(PublicKey::from_pem(PRIVATE.as_bytes()).is_err());
    }
}
