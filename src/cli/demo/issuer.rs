//! An OpenID Connect issuer in miniature: discovery, a key set, and tokens.
//!
//! It has what a gateway needs of an identity provider and nothing a person would log in
//! to: whoever holds the value can mint any token, so it is for the demo and for tests.
//! Keys are made at start, live in memory, and leave with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::loopback::{Answer, Loopback};
use crate::telemetry::clock::unix_seconds;

/// The audience that [`Issuer::claims`] are for; `config/sagegate.yaml` expects it.
pub const AUDIENCE: &str = "sagegate";

/// How long a token from [`Issuer::claims`] lasts: longer than anyone looks at a demo in one
/// sitting, and below the 24 h that `max_token_age` allows.
pub const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A running issuer; dropping it closes its port.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
    server: Loopback,
}

impl Issuer {
    /// Listens on a free port of 127.0.0.1 with one new ES256 key.
    ///
    /// # Errors
    /// When no port can be bound or no key be made.
    pub async fn start() -> io::Result<Self> {
        let bound = Loopback::bind().await?;
        let key = RwLock::new(SigningKey::generate().map_err(no_key)?);
        let shared = Arc::new(Shared { url: bound.url(), key, fetches: AtomicU64::new(0) });
        let answering = Arc::clone(&shared);
        let server = bound.serve(move |request| {
            let answer = answering.answer(&request);
            async { answer }
        });
        Ok(Self { shared, server })
    }

    /// The `iss` of its tokens; discovery is below it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The claims of an ordinary access token, to be minted as they are or changed first.
    pub fn claims(&self, subject: &str, groups: &[&str], now: SystemTime) -> Map<String, Value> {
        let issued = unix_seconds(now);
        object([
            ("iss", json!(self.url())),
            ("sub", json!(subject)),
            ("aud", json!(AUDIENCE)),
            ("iat", json!(issued)),
            ("exp", json!(issued + LIFETIME.as_secs())),
            ("jti", json!(uuid::Uuid::now_v7().to_string())),
            ("token_use", json!("access")),
            ("groups", json!(groups)),
        ])
    }

    /// A token with these claims and the header that belongs to the current key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn mint(&self, claims: &Map<String, Value>) -> io::Result<SecretString> {
        self.mint_with(&Map::new(), claims)
    }

    /// As [`mint`](Self::mint), with members of the header replaced or, by `null`, left out.
    /// Whatever the header then says, the signature is ES256 of the current key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn mint_with(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> io::Result<SecretString> {
        let key = self.shared.key.read().unwrap_or_else(PoisonError::into_inner);
        let mut full = key.header();
        full.extend(header.clone());
        full.retain(|_, value| !value.is_null());
        key.sign(&full, claims).map_err(no_key)
    }

    /// Replaces the key: the old one leaves the set at once.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate(&self) -> io::Result<()> {
        let key = SigningKey::generate().map_err(no_key)?;
        *self.shared.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// How often the key set was fetched.
    pub fn jwks_fetches(&self) -> u64 {
        self.shared.fetches.load(Ordering::Relaxed)
    }
}

fn no_key(_: Unspecified) -> io::Error {
    io::Error::other("the system's cryptography failed to make a key or a signature")
}

/// What the port and the holder both see.
#[derive(Debug)]
struct Shared {
    url: String,
    key: RwLock<SigningKey>,
    fetches: AtomicU64,
}

impl Shared {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/.well-known/openid-configuration" => json_answer(StatusCode::OK, &self.discovery()),
            "/jwks.json" => {
                self.fetches.fetch_add(1, Ordering::Relaxed);
                let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
                json_answer(StatusCode::OK, &json!({"keys": [key.jwk()]}))
            }
            _ => json_answer(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
        }
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/jwks.json", self.url),
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()).boxed());
    *answer.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}

/// One P-256 key and the name it is published under.
#[derive(Debug)]
struct SigningKey {
    id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    fn generate() -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let id = encode(digest(&SHA256, pair.public_key().as_ref()).as_ref());
        Ok(Self { id, pair })
    }

    fn header(&self) -> Map<String, Value> {
        object([("alg", json!("ES256")), ("kid", json!(self.id)), ("typ", json!("at+jwt"))])
    }

    /// RFC 7518 §6.2.1: the two coordinates, which follow the point's leading 0x04.
    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
            "x": encode(x), "y": encode(y),
        })
    }

    /// RFC 7515 §7.1: the compact serialization.
    fn sign(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<SecretString, Unspecified> {
        let part = |object: &Map<String, Value>| encode(json!(object).to_string().as_bytes());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes())?;
        Ok(format!("{input}.{}", encode(signature.as_ref())).into())
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use secrecy::ExposeSecret;

    use super::super::client::tests::get;
    use super::*;

    /// The reader is jsonwebtoken, so that the writer is not checked against itself.
    fn read(token: &SecretString, keys: &str) -> Result<Value, jsonwebtoken::errors::Error> {
        let keys: JwkSet = serde_json::from_str(keys).unwrap();
        let id = decode_header(token.expose_secret())?.kid.unwrap();
        let key = keys.find(&id).ok_or(jsonwebtoken::errors::ErrorKind::InvalidToken)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[AUDIENCE]);
        decode(token.expose_secret(), &DecodingKey::from_jwk(key)?, &rules).map(|t| t.claims)
    }

    #[tokio::test]
    async fn discovery_leads_to_the_key_that_verifies_a_token() {
        let issuer = Issuer::start().await.unwrap();
        let (status, found) =
            get(&format!("{}/.well-known/openid-configuration", issuer.url())).await;
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!((status, &found["issuer"]), (200, &json!(issuer.url())));

        let (_, keys) = get(found["jwks_uri"].as_str().unwrap()).await;
        let now = SystemTime::now();
        let token = issuer.mint(&issuer.claims("dana", &["ds"], now)).unwrap();
        let claims = read(&token, &keys).unwrap();
        assert_eq!(claims["sub"], "dana");
        assert_eq!(claims["exp"], unix_seconds(now) + LIFETIME.as_secs());
        assert_eq!(issuer.jwks_fetches(), 1);
        assert_eq!(get(&format!("{}/token", issuer.url())).await.0, 404);
    }

    #[tokio::test]
    async fn a_rotated_key_is_gone_from_the_set() {
        let issuer = Issuer::start().await.unwrap();
        let claims = issuer.claims("dana", &[], SystemTime::now());
        let old = issuer.mint(&claims).unwrap();
        issuer.rotate().unwrap();
        let new = issuer.mint(&claims).unwrap();
        let (_, keys) = get(&format!("{}/jwks.json", issuer.url())).await;
        assert!(read(&old, &keys).is_err());
        assert!(read(&new, &keys).is_ok());
    }

    #[tokio::test]
    async fn a_header_can_be_changed_and_members_left_out() {
        let issuer = Issuer::start().await.unwrap();
        let header = object([("typ", Value::Null), ("kid", json!("other"))]);
        let token = issuer.mint_with(&header, &Map::new()).unwrap();
        let header = decode_header(token.expose_secret()).unwrap();
        assert_eq!((header.typ, header.kid.as_deref()), (None, Some("other")));
    }
}
