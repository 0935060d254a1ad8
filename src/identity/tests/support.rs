//! Signers, an identity provider on loopback, and an authenticator that trusts it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::identity::{Algorithm, AuthError, Authenticator, IssuerConfig, Principal};
use crate::names::Issuer;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// The moment at which every test begins: 2026-11-23T12:00:00Z.
pub(super) const NOW: u64 = 1_795_435_200;

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A private key, signing with aws-lc-rs itself, not with the crate under the room.
pub(super) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub(super) static RSA: LazyLock<Signer> = LazyLock::new(rsa);
pub(super) static OTHER_RSA: LazyLock<Signer> = LazyLock::new(rsa);
pub(super) static EC: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()));
pub(super) static ED: LazyLock<Signer> =
    LazyLock::new(|| Signer::Ed(Ed25519KeyPair::generate().unwrap()));

fn rsa() -> Signer {
    Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// The compact form; `alg` in `header` chooses between PKCS#1 and PSS.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(super) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(header.contains("PS256"), signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    fn signature(&self, pss: bool, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key, without `kid`, `use` or `alg`.
    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": encode(public.n), "e": encode(public.e) })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
        }
    }

    pub(super) fn jwk_with(&self, members: Value) -> Value {
        with(self.jwk(), members)
    }
}

/// `value` with the members of `more` put in; `null` takes a member out.
pub(super) fn with(mut value: Value, more: Value) -> Value {
    let (Value::Object(into), Value::Object(more)) = (&mut value, more) else { panic!() };
    for (name, member) in more {
        match member {
            Value::Null => into.remove(&name),
            member => into.insert(name, member),
        };
    }
    value
}

/// An answer of the identity provider, as literal bytes.
#[derive(Clone)]
pub(super) enum Answer {
    Json(Value),
    Raw(Vec<u8>),
    /// Accepts, reads the request, and closes.
    Nothing,
}

pub(super) fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Raw(
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into(),
    )
}

/// An identity provider on loopback: one connection, one request, one answer.
pub(super) struct Idp {
    pub(super) url: String,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    /// The paths that were asked for, in order.
    asked: watch::Sender<Vec<String>>,
    /// While false, answers wait.
    open: watch::Sender<bool>,
}

pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(super) const KEYS: &str = "/keys";

impl Idp {
    pub(super) async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let idp = Self {
            url: url.clone(),
            answers: Arc::default(),
            asked: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(true),
        };
        idp.set(
            DISCOVERY,
            Answer::Json(json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })),
        );
        idp.publish(keys);
        tokio::spawn(serve(
            listener,
            Arc::clone(&idp.answers),
            idp.asked.clone(),
            idp.open.clone(),
        ));
        idp
    }

    pub(super) fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// `keys` is the array of the key set.
    pub(super) fn publish(&self, keys: Value) {
        self.set(KEYS, Answer::Json([("keys", keys)].into_iter().collect()));
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.borrow().iter().filter(|asked| *asked == path).count()
    }

    /// Returns once `path` has been asked for `times` times.
    pub(super) async fn until_asked(&self, path: &str, times: usize) {
        let reached = |asked: &Vec<String>| asked.iter().filter(|p| *p == path).count() >= times;
        self.asked.subscribe().wait_for(reached).await.unwrap();
    }

    pub(super) fn hold_answers(&self, hold: bool) {
        self.open.send_replace(!hold);
    }
}

async fn serve(
    listener: TcpListener,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: watch::Sender<Vec<String>>,
    open: watch::Sender<bool>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (answers, asked, mut open) = (Arc::clone(&answers), asked.clone(), open.subscribe());
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            asked.send_modify(|paths| paths.push(path.clone()));
            let _ = open.wait_for(|open| *open).await;
            let answer = answers.lock().unwrap().get(&path).cloned();
            let bytes = match answer.unwrap_or_else(|| self::answer("404 Not Found", "", "")) {
                Answer::Json(value) => {
                    let body = value.to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    [head, body].concat().into_bytes()
                }
                Answer::Raw(bytes) => bytes,
                Answer::Nothing => Vec::new(),
            };
            let _ = stream.write_all(&bytes).await;
        });
    }
}

/// An authenticator, its identity provider and the time.
pub(super) struct World {
    pub(super) idp: Idp,
    pub(super) config: IssuerConfig,
    pub(super) authenticator: Authenticator,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

impl World {
    /// Trusts the four signers under the ids `rsa`, `ec`, `ed` and, for PS256, `pss`.
    pub(super) async fn new() -> Self {
        Self::with_config(|_| {}).await
    }

    pub(super) async fn with_config(change: impl FnOnce(&mut IssuerConfig)) -> Self {
        let world = Self::cold(change).await;
        assert!(world.authenticator.refresh().await, "the keys come");
        world
    }

    /// As [`with_config`](Self::with_config), before any key was fetched.
    pub(super) async fn cold(change: impl FnOnce(&mut IssuerConfig)) -> Self {
        let idp = Idp::start(all_keys()).await;
        let mut config = config(&idp.url);
        change(&mut config);
        let clock = Clock::manual(at(NOW));
        let metrics = Metrics::new().unwrap();
        let authenticator =
            Authenticator::new(vec![config.clone()], None, clock.clone(), &metrics).unwrap();
        Self { idp, config, authenticator, clock, metrics }
    }

    pub(super) async fn check(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).unwrap();
        headers.insert("authorization", value);
        self.authenticator.authenticate(&headers).await
    }

    /// Claims that pass, with `more` put in.
    pub(super) fn claims(&self, more: Value) -> Value {
        with(
            json!({
                "iss": self.config.url, "sub": "alice", "aud": "sagegate",
                "iat": NOW - 60, "exp": NOW + 3600, "groups": ["ds", "fraud"], "jti": "t-1",
            }),
            more,
        )
    }

    /// A good token, save for what `more` changes in its claims.
    pub(super) fn token(&self, more: Value) -> String {
        RSA.sign(&json!({ "alg": "RS256", "kid": "rsa" }), &self.claims(more))
    }

    pub(super) fn count(&self, result: &str, cache: &str) -> u64 {
        self.metrics.tokens.with_label_values(&[result, cache]).get()
    }
}

pub(super) fn all_keys() -> Value {
    json!([
        RSA.jwk_with(json!({ "kid": "rsa", "use": "sig", "alg": "RS256" })),
        RSA.jwk_with(json!({ "kid": "pss", "use": "sig", "alg": "PS256" })),
        EC.jwk_with(json!({ "kid": "ec", "key_ops": ["verify"] })),
        ED.jwk_with(json!({ "kid": "ed" })),
    ])
}

pub(in crate::identity) fn config(url: &str) -> IssuerConfig {
    IssuerConfig {
        name: Issuer::new("corp"),
        url: url.to_owned(),
        audiences: vec!["sagegate".into(), "sagegate-2".into()],
        audience_claim: "aud".into(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa],
        token_types: vec!["jwt".into(), "at+jwt".into()],
        groups_claim: vec!["groups".into()],
        user_claim: vec!["sub".into()],
        required_claims: BTreeMap::new(),
        leeway: Duration::from_secs(30),
        max_token_age: Duration::from_secs(24 * 3600),
        jwks_url: None,
        jwks_refresh: Duration::from_secs(300),
        jwks_max_stale: Duration::from_secs(24 * 3600),
        ca: None,
    }
}
