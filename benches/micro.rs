//! What each stage of the corridor costs by itself, for DESIGN §13's lines about decisions and
//! tokens, and to see which stage to look at when the proxy bench gets slower.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has to stop")]

use divan::Bencher;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Uri};
use sagegate::sagemaker::Call;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const PATH: &str = "/endpoints/fraud-v1/invocations";

/// The head of a usual call.
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

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let (uri, headers) = (Uri::from_static(PATH), head());
    bencher.bench(|| Call::parse(&Method::POST, &uri, &headers).unwrap());
}
