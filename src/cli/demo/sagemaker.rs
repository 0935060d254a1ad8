//! A SageMaker Runtime in miniature: it believes a signature only after recomputing it, then
//! answers the three operations as the service would.
//!
//! It takes any endpoint's name, because what exists is not the gateway's business; whether
//! a call was allowed to come here is. It keeps the last [`MAX_SEEN`] requests, for tests and
//! for the demo's own balance.

mod answers;
mod frames;
mod sigv4;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_credential_types::Credentials;
use aws_lc_rs::digest;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use self::answers::{perform, refusal, unbelieved};
use self::sigv4::{Fault, Keys};
use super::loopback::{Answer, Loopback};
use crate::telemetry::clock::Clock;

/// How many requests are remembered.
pub const MAX_SEEN: usize = 1024;

/// SageMaker's own limit for a real-time body, 25 MB, rounded up.
const MAX_BODY: usize = 25 * 1024 * 1024;

/// A running stand-in; dropping it closes its port.
#[derive(Debug)]
pub struct SageMaker {
    shared: Arc<Shared>,
    server: Loopback,
}

/// One request that arrived, believed or not. Its `Debug` shows no header.
#[derive(Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    /// SHA-256 of the body, in hex.
    pub body_sha256: String,
    pub answered: StatusCode,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seen({} {} → {})", self.method, self.path, self.answered.as_u16())
    }
}

impl SageMaker {
    /// Listens on a free port of 127.0.0.1 and knows no credentials yet.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(region: &str, clock: Clock) -> io::Result<Self> {
        let bound = Loopback::bind().await?;
        let shared = Arc::new(Shared {
            region: region.to_owned(),
            clock,
            known: Mutex::default(),
            seen: Mutex::default(),
        });
        let answering = Arc::clone(&shared);
        let server = bound.serve(move |request| Arc::clone(&answering).answer(request));
        Ok(Self { shared, server })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on, believes what these credentials sign. The same access key given again
    /// replaces the one before.
    pub fn accept(&self, credentials: &Credentials) {
        let keys = Keys {
            secret: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().map(str::to_owned),
        };
        lock(&self.shared.known).insert(credentials.access_key_id().to_owned(), keys);
    }

    /// The last [`MAX_SEEN`] requests, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).iter().cloned().collect()
    }
}

struct Shared {
    region: String,
    clock: Clock,
    known: Mutex<BTreeMap<String, Keys>>,
    seen: Mutex<VecDeque<Seen>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("region", &self.region).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, "ValidationError", "too large");
            }
        };
        let answer = match self.verify(&head, &body) {
            Ok(()) => perform(&head, &body),
            Err(fault) => unbelieved(fault),
        };
        self.remember(head, &body, answer.status());
        answer
    }

    fn verify(&self, head: &Parts, body: &[u8]) -> Result<(), Fault> {
        sigv4::verify(head, body, &self.region, &lock(&self.known), self.clock.now())
    }

    fn remember(&self, head: Parts, body: &[u8], answered: StatusCode) {
        let body_sha256 = hex::encode(digest::digest(&digest::SHA256, body));
        let path = head.uri.path().to_owned();
        let mut seen = lock(&self.seen);
        if seen.len() >= MAX_SEEN {
            seen.pop_front();
        }
        seen.push_back(Seen {
            method: head.method,
            path,
            headers: head.headers,
            body_sha256,
            answered,
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;
    use http_body_util::Full;
    use hyper::body::Bytes;
    use serde_json::Value;

    use super::super::client::{Client, Reply};
    use super::answers::text;
    use super::frames::tests::payloads;
    use super::*;

    fn credentials(secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new("AKIDEXAMPLE", secret, token.map(str::to_owned), None, "test")
    }

    async fn stand_in(credentials: &Credentials) -> SageMaker {
        let stand_in = SageMaker::start("us-east-1", Clock::System).await.unwrap();
        stand_in.accept(credentials);
        stand_in
    }

    /// Signed by aws-sigv4, which the stand-in does not use.
    pub(in crate::cli::demo) fn signed(
        url: &str,
        headers: &[(&'static str, &str)],
        body: &str,
        by: &Credentials,
    ) -> Request<Full<Bytes>> {
        let identity = by.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("sagemaker")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let signable = SignableRequest::new(
            "POST",
            url,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let (instructions, _) = sign(signable.unwrap(), &params.into()).unwrap().into_parts();
        let mut request = Request::post(url).body(Full::from(body.to_owned())).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    async fn call(
        stand_in: &SageMaker,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
        by: &Credentials,
    ) -> Reply {
        let request = signed(&format!("{}{path}", stand_in.url()), headers, body, by);
        Client::new().call(request).await.unwrap()
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
        text(&reply.headers, name).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_signed_call_is_answered_and_its_input_echoed_as_a_digest() {
        let keys = credentials("secret", Some("session"));
        let stand_in = stand_in(&keys).await;
        let headers =
            [("content-type", "application/json"), ("x-amzn-sagemaker-target-variant", "blue")];
        let reply = call(&stand_in, "/endpoints/fraud-v1/invocations", &headers, "{}", &keys).await;
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(header(&reply, "x-amzn-invoked-production-variant"), "blue");
        assert!(!header(&reply, "x-amzn-requestid").is_empty());
        let [seen] = <[Seen; 1]>::try_from(stand_in.seen()).unwrap();
        assert_eq!(body["input_sha256"], seen.body_sha256);
        assert_eq!(format!("{seen:?}"), "Seen(POST /endpoints/fraud-v1/invocations → 200)");
    }

    #[tokio::test]
    async fn a_stream_is_event_stream_frames() {
        let keys = credentials("secret", None);
        let stand_in = stand_in(&keys).await;
        let path = "/endpoints/chat/invocations-response-stream";
        let reply = call(&stand_in, path, &[], "{}", &keys).await;
        assert_eq!(header(&reply, "content-type"), "application/vnd.amazon.eventstream");
        let parts = payloads(&reply.body);
        assert_eq!(parts.first().unwrap(), b"{\"token\":\"A\"}\n");
        assert_eq!(parts.len(), 7);
    }

    #[tokio::test]
    async fn an_async_call_is_accepted_with_where_its_result_will_be() {
        let keys = credentials("secret", None);
        let stand_in = stand_in(&keys).await;
        let path = "/endpoints/batch/async-invocations";
        let id = [("x-amzn-sagemaker-inference-id", "mine")];
        let reply = call(&stand_in, path, &id, "{}", &keys).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (202, &br#"{"InferenceId":"mine"}"#[..]));
        assert!(header(&reply, "x-amzn-sagemaker-outputlocation").starts_with("s3://"));
        assert!(header(&reply, "x-amzn-sagemaker-failurelocation").starts_with("s3://"));
        let empty = call(&stand_in, path, &id, "", &keys).await;
        assert_eq!(
            (empty.status.as_u16(), header(&empty, "x-amzn-errortype")),
            (400, "ValidationError")
        );
    }

    #[tokio::test]
    async fn what_is_not_signed_by_a_known_key_is_403() {
        let keys = credentials("secret", None);
        let stand_in = stand_in(&keys).await;
        let path = "/endpoints/fraud-v1/invocations";
        let wrong = call(&stand_in, path, &[], "{}", &credentials("other", None)).await;
        assert_eq!(
            (wrong.status.as_u16(), header(&wrong, "x-amzn-errortype")),
            (403, "InvalidSignatureException")
        );
        let unsigned = Request::post(format!("{}{path}", stand_in.url())).body(Full::default());
        let unsigned = Client::new().call(unsigned.unwrap()).await.unwrap();
        assert_eq!(header(&unsigned, "x-amzn-errortype"), "MissingAuthenticationTokenException");
        let right = call(&stand_in, path, &[], "{}", &keys).await;
        assert_eq!(right.status, 200);
        let answered: Vec<_> = stand_in.seen().iter().map(|seen| seen.answered.as_u16()).collect();
        assert_eq!(answered, [403, 403, 200]);
    }

    #[tokio::test]
    async fn another_operation_is_unknown() {
        let keys = credentials("secret", None);
        let stand_in = stand_in(&keys).await;
        let reply = call(&stand_in, "/endpoints/a/explode", &[], "{}", &keys).await;
        assert_eq!(reply.status, 404);
    }
}
