//! The HTTP client that `--once` plays the personas with: plain HTTP/1.1 over a real socket,
//! so that what it sees is what any caller sees.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A call of the demo that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// No answer of the demo is longer.
const MAX_BODY: usize = 1024 * 1024;

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why nothing came back, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoReply {
    #[error("no answer: {0}")]
    Failed(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Slow,
}

#[derive(Clone, Debug)]
pub(super) struct Client(Pool<HttpConnector, Full<Bytes>>);

impl Client {
    pub(super) fn new() -> Self {
        Self(Pool::builder(TokioExecutor::new()).build_http())
    }

    /// Sends `request` and reads the whole answer.
    pub(super) async fn call(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let exchange = async { read(self.0.request(request).await?).await };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(NoReply::Slow))
    }
}

async fn read(response: http::Response<Incoming>) -> Result<Reply, NoReply> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(NoReply::Broken)?.to_bytes();
    Ok(Reply { status: head.status, headers: head.headers, body })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::demo) async fn get(url: &str) -> (u16, String) {
        let request = Request::get(url).body(Full::default()).unwrap();
        let reply = Client::new().call(request).await.unwrap();
        (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_closed_port_is_no_reply() {
        let closed = super::super::loopback::Loopback::bind().await.unwrap().url();
        let request = Request::get(closed).body(Full::default()).unwrap();
        let got = Client::new().call(request).await;
        assert!(matches!(got, Err(NoReply::Failed(_))), "{got:?}");
    }
}
