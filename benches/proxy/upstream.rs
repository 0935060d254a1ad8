//! The model endpoint of the bench: reads the body, answers a fixed 1 KiB, and keeps count of
//! what arrived signed, so that no contender can win by forwarding what it did not sign.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};

use crate::Outcome;
use crate::serve::{bind, serve};

/// `GET` this for [`Seen`] as JSON.
pub(crate) const SEEN: &str = "/seen";

/// Requests so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Seen {
    /// Signed with SigV4 for SageMaker, and with no bearer token left in.
    pub signed: u64,
    pub unsigned: u64,
}

#[derive(Default)]
struct Counts {
    signed: AtomicU64,
    unsigned: AtomicU64,
}

/// Prints its address, then serves until it is killed.
pub(crate) fn run() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (listener, address) = bind().await?;
        println!("{address}");
        let counts = Arc::new(Counts::default());
        let model = Bytes::from(format!("{{\"scores\":\"{}\"}}", "x".repeat(1024 - 13)));
        let service = service_fn(move |request| {
            let (counts, model) = (Arc::clone(&counts), model.clone());
            async move { Ok::<_, Infallible>(answer(request, &counts, model).await) }
        });
        serve(listener, service).await
    })
}

async fn answer(
    request: Request<Incoming>,
    counts: &Counts,
    model: Bytes,
) -> Response<Full<Bytes>> {
    if request.method() == Method::GET {
        return json(counts.to_json().into());
    }
    let counter = if is_signed(request.headers()) { &counts.signed } else { &counts.unsigned };
    counter.fetch_add(1, Ordering::Relaxed);
    drop(request.into_body().collect().await);
    json(model)
}

impl Counts {
    fn to_json(&self) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!("{{\"signed\":{},\"unsigned\":{}}}", of(&self.signed), of(&self.unsigned))
    }
}

pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.starts_with("AWS4-HMAC-SHA256 Credential=")
            && value.contains("/sagemaker/aws4_request")
    })
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        "x-amzn-requestid",
        HeaderValue::from_static("5f1c2a9e-3b7d-4c11-9a52-0d6e8f1b2c3d"),
    );
    response
}
