//! The floor: what any hyper proxy pays. It holds the request's body, as a gateway that signs
//! must, streams the response, and looks at nothing.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Uri;
use http::uri::Authority;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::Outcome;
use crate::serve::{bind, runtime, serve};

type Upstream = Client<HttpConnector, Full<Bytes>>;

/// Prints its address, then serves until it is killed.
pub(crate) fn run(upstream: SocketAddr) -> Outcome {
    let runtime = runtime()?;
    let serving = runtime.spawn(async move {
        let (listener, address) = bind().await?;
        println!("{address}");
        let authority: Authority = upstream.to_string().parse()?;
        let client = client();
        let service = service_fn(move |request| relay(client.clone(), authority.clone(), request));
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
    request: Request<Incoming>,
) -> Outcome<Response<Incoming>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build()?;
    Ok(client.request(Request::from_parts(head, Full::new(body))).await?)
}
