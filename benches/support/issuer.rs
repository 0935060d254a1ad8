//! The identity provider of the benches: one RSA-2048 key made at the start, tokens of a real
//! one's size, and discovery and keys over loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use serde_json::json;

use crate::Outcome;
use crate::serve::{bind, serve};

/// The group that the gateways let in.
pub(crate) const GROUP: &str = "ds";
pub(crate) const AUDIENCE: &str = "sagegate";

const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) struct Issuer {
    key: KeyPair,
    address: SocketAddr,
    issued_at: u64,
}

impl Issuer {
    /// Makes a key and serves it on a free port, on the runtime it is called from.
    pub(crate) async fn start() -> Outcome<Self> {
        let (listener, address) = bind().await?;
        let issued_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let key = KeyPair::generate(KeySize::Rsa2048)?;
        let issuer = Self { key, address, issued_at };
        let (discovery, keys) = (Bytes::from(issuer.discovery()), Bytes::from(issuer.jwks()));
        let service = service_fn(move |request: Request<Incoming>| {
            let wants_keys = request.uri().path() == "/keys";
            let body = if wants_keys { keys.clone() } else { discovery.clone() };
            async move { Ok::<_, Infallible>(json_answer(body)) }
        });
        tokio::spawn(serve(listener, service));
        Ok(issuer)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn jwks(&self) -> String {
        let public = self.key.public_key();
        let n = BASE64URL.encode(public.modulus().big_endian_without_leading_zero());
        let e = BASE64URL.encode(public.exponent().big_endian_without_leading_zero());
        let key = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KID, "n": n, "e": e });
        json!({ "keys": [key] }).to_string()
    }

    /// A token of 700 to 1,000 bytes for a user of this name, in `group` and some others.
    pub(crate) fn token(&self, user: &str, group: &str) -> Outcome<String> {
        let claims = json!({
            "iss": self.url(),
            "aud": AUDIENCE,
            "sub": user,
            "email": format!("{user}@example.com"),
            "azp": "notebooks",
            "groups": [group, "all-staff", "ml-platform-users", "eu-central"],
            "jti": format!("jti-{user}"),
            "sid": "8d1f6c1e-52f7-4a3c-9b0e-7c2a6f0d4e19",
            "iat": self.issued_at,
            "exp": self.issued_at + LIFETIME.as_secs(),
        });
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": KID });
        let encode = |part: serde_json::Value| BASE64URL.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )?;
        let token = format!("{signed}.{}", BASE64URL.encode(signature));
        if !(700..=1000).contains(&token.len()) {
            return Err(format!("a token has {} bytes, wanted 700 to 1,000", token.len()).into());
        }
        Ok(token)
    }

    fn discovery(&self) -> String {
        let url = self.url();
        json!({
            "issuer": url,
            "jwks_uri": format!("{url}/keys"),
            "id_token_signing_alg_values_supported": ["RS256"],
        })
        .to_string()
    }
}

const KID: &str = "bench-1";

fn json_answer(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
