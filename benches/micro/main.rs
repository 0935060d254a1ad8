//! What each stage of the corridor costs by itself, for DESIGN §13's lines about decisions and
//! tokens, and to see which stage to look at when the proxy bench gets slower.
//!
//! The stages are entered through their doors only: a principal comes from a verified token
//! and a permit from a decision, as in the gateway.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has to stop")]

mod caller;
mod decision;
#[path = "../support/issuer.rs"]
mod issuer;
mod record;
#[path = "../support/serve.rs"]
mod serve;
mod token;

use std::error::Error;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use divan::Bencher;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use sagegate::aws::sigv4::{self, Head};
use sagegate::sagemaker::Call;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() {
    divan::main();
}

const PATH: &str = "/endpoints/fraud-v1/invocations";

/// The head of a usual call, without its token.
fn head() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "gateway.ml.svc:8443"),
        ("user-agent", "python-httpx/0.28"),
        ("content-length", "1024"),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-amzn-sagemaker-target-variant", "blue"),
        ("x-amzn-sagemaker-inference-id", "order-4711"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn call() -> Call {
    Call::parse(&Method::POST, &Uri::from_static(PATH), &head()).unwrap()
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let (uri, headers) = (Uri::from_static(PATH), head());
    bencher.bench(|| Call::parse(&Method::POST, &uri, &headers).unwrap());
}

/// With temporary credentials, as in production; without the body's digest.
#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let token = "x".repeat(800);
    let identity: Identity =
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI", Some(token), None, "bench").into();
    let mut headers = call().headers().to_vec();
    let host = HeaderValue::from_static("runtime.sagemaker.us-west-2.amazonaws.com");
    headers.push((HeaderName::from_static("host"), host));
    let head = Head {
        service: "sagemaker",
        method: "POST",
        path: PATH,
        headers: &headers,
        body_sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    };
    let now = SystemTime::now();
    bencher.bench(|| sigv4::sign(head, &identity, "us-west-2", now).unwrap());
}
