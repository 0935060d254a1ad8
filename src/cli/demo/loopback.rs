//! A small HTTP/1.1 server on a loopback port of the system's choice, for the demo's two
//! stand-ins.
//!
//! It listens on 127.0.0.1 and nowhere else, holds at most [`MAX_CONNECTIONS`] connections,
//! and is gone, connections and all, when it is dropped.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a stand-in answers with.
pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

const MAX_CONNECTIONS: usize = 1024;

const BREATH: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Loopback {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Loopback {
    /// Binds first, so that the handler may know its own address; see [`serve`](Bound::serve).
    pub(super) async fn bind() -> io::Result<Bound> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Bound { address: listener.local_addr()?, listener })
    }

    pub(super) fn url(&self) -> String {
        url(self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A listener that nobody serves yet.
#[derive(Debug)]
pub(super) struct Bound {
    address: SocketAddr,
    listener: TcpListener,
}

impl Bound {
    pub(super) fn url(&self) -> String {
        url(self.address)
    }

    pub(super) fn serve<H, F>(self, handle: H) -> Loopback
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let Self { address, listener } = self;
        Loopback { address, accepting: tokio::spawn(accept(listener, handle)) }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

async fn accept<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, handle.clone()));
            }
            // A full file table empties as connections end; asking at once would only spin.
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

async fn serve<H, F>(stream: TcpStream, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Sync,
    F: Future<Output = Answer>,
{
    // Tokens leave one by one; without this the second would wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A connection that breaks is its client's business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
