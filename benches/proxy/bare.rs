//! The floor: what any hyper proxy pays. It holds the request's body, as a gateway that signs
//! must, streams the response, and looks at nothing.
//!
//! It can sign as well, and do nothing else: what a gateway on hyper and aws-sigv4 pays before
//! it has checked anything, and so the most of DESIGN §13's ratio that sagegate can answer for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_smithy_runtime_api::client::identity::Identity;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use sagegate::aws::sigv4::{Head, sign};

use crate::Outcome;
use crate::serve::{bind, runtime, serve};

type Upstream = Client<HttpConnector, Full<Bytes>>;

/// Prints its address, then serves until it is killed.
pub(crate) fn run(upstream: SocketAddr, signer: Option<Signer>) -> Outcome {
    let runtime = runtime()?;
    let serving = runtime.spawn(async move {
        let (listener, address) = bind().await?;
        println!("{address}");
        let authority: Authority = upstream.to_string().parse()?;
        let client = client();
        let signer = signer.map(Arc::new);
        let service = service_fn(move |request| {
            relay(client.clone(), authority.clone(), signer.clone(), request)
        });
        serve(listener, service).await
    });
    runtime.block_on(serving)?
}

fn client() -> Upstream {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn relay(
    client: Upstream,
    authority: Authority,
    signer: Option<Arc<Signer>>,
    request: Request<Incoming>,
) -> Outcome<Response<Incoming>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if let Some(signer) = signer {
        head.headers = signer.sign(&head.headers, authority.as_str(), path, &body)?;
    }
    head.uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build()?;
    Ok(client.request(Request::from_parts(head, Full::new(body))).await?)
}

/// Signs as sagegate does, for credentials of nobody.
pub(crate) struct Signer {
    identity: Identity,
    region: String,
}

impl Signer {
    pub(crate) fn new(region: String) -> Self {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let identity = Credentials::new("AKIDEXAMPLE", secret, None, None, "bench").into();
        Self { identity, region }
    }

    /// The headers to send: those that a call has, the host's, and the signature's.
    fn sign(&self, given: &HeaderMap, host: &str, path: &str, body: &[u8]) -> Outcome<HeaderMap> {
        let mut headers = vec![(HOST, HeaderValue::from_str(host)?)];
        for name in [CONTENT_TYPE, ACCEPT] {
            headers.extend(given.get(&name).map(|value| (name, value.clone())));
        }
        let mut sha256 = [0; 64];
        hex::encode_to_slice(digest(&SHA256, body), &mut sha256)?;
        let method = Method::POST;
        let head = Head {
            service: "sagemaker",
            method: method.as_str(),
            path,
            headers: &headers,
            body_sha256: std::str::from_utf8(&sha256)?,
        };
        let added = sign(head, &self.identity, &self.region, SystemTime::now())?;
        headers.extend(added);
        Ok(headers.into_iter().collect())
    }
}
