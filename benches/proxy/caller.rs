//! One caller with one token and one kind of request, for the figures that are not about load.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Uri;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};

use crate::Outcome;
use crate::load::{bearer, body};

pub(crate) type Caller = SendRequest<Full<Bytes>>;

/// What to ask, as often as wanted.
pub(crate) struct Order {
    host: HeaderValue,
    path: Uri,
    bearer: HeaderValue,
}

impl Order {
    pub(crate) fn new(target: SocketAddr, path: &'static str, token: &str) -> Outcome<Self> {
        Ok(Self {
            host: HeaderValue::from_str(&target.to_string())?,
            path: Uri::from_static(path),
            bearer: bearer(token)?,
        })
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn run(&self, caller: &mut Caller) -> Outcome {
        self.begin(caller).await?.collect().await?;
        Ok(())
    }

    /// Asks and gives the body of the answer, which must be a 200.
    pub(crate) async fn begin(&self, caller: &mut Caller) -> Outcome<Incoming> {
        let mut request = Request::post(self.path.clone()).body(Full::new(body()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, self.bearer.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        caller.ready().await?;
        let response = caller.send_request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(format!("{} answered {status}", self.path).into()),
        }
    }
}
