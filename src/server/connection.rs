//! One connection: its handshake, its protocol, its requests, its end.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;

use super::idle::{Activity, Useless, Watched};
use super::{Drain, Tls};

/// A handshake takes a few round trips; one that needs longer is not a client's.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// From the end of an answer to the end of the next request's head, so this is also how long
/// an idle HTTP/1 connection is kept. Above the 30 s that connection pools commonly idle for.
const HEAD: Duration = Duration::from_secs(60);
/// The longest head: a token of 16 KiB, a kilobyte each for a dozen headers, and room.
const MAX_HEAD: u32 = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// HTTP/2: requests at once on one connection.
const MAX_STREAMS: u32 = 256;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub tls: bool,
}

/// What came was not a request; hyper has answered it, where an answer was possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Bytes that are not HTTP, or contradict themselves.
    Syntax,
    /// A head beyond the bounds.
    TooLarge,
    /// A head that did not arrive in time. Also an idle connection's end, which is no fault.
    Timeout,
}

/// Answers a listener's requests.
pub trait Handler: Clone + Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Dropping the future means that the caller is gone.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// A connection ended because its bytes were no request.
    fn malformed(&self, peer: Peer, fault: Malformed);
}

/// Serves one connection to its end. When the server drains, the requests at hand are
/// finished: HTTP/1 closes after the current answer and HTTP/2 sends GOAWAY.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
    handler: H,
    drain: Drain,
) {
    // Answers are written whole; waiting to fill a segment would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let Some(tls) = tls else {
        return speak(TokioIo::new(stream), Peer { address, tls: false }, handler, drain).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            speak(TokioIo::new(stream), Peer { address, tls: true }, handler, drain).await;
        }
        Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %address, "TLS handshake took too long"),
    }
}

/// HTTP/1.1 or HTTP/2, told apart by the preface, which ALPN and prior knowledge both lead to.
async fn speak<I, H>(io: I, peer: Peer, handler: H, drain: Drain)
where
    I: Read + Write + Unpin + Send + 'static,
    H: Handler,
{
    let answering = handler.clone();
    let activity = Activity::new();
    let requests = activity.clone();
    let service = service_fn(move |request| {
        let (handler, open) = (answering.clone(), requests.begin());
        async move {
            let answer = handler.handle(request, peer).await;
            Ok::<_, std::convert::Infallible>(answer.map(|body| Watched::new(body, open)))
        }
    });
    let builder = protocol();
    let mut connection = pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        useless = activity.ends() => {
            if useless == Useless::Idle {
                connection.as_mut().graceful_shutdown();
                // A peer need not take part in a graceful end.
                tokio::select! { _ = connection => {} _ = activity.ends() => {} }
            }
            tracing::debug!(peer = %peer.address, ?useless, "connection ended");
            return;
        }
    };
    let Err(error) = ended else { return };
    match malformed(&*error) {
        Some(fault) => handler.malformed(peer, fault),
        None => tracing::debug!(peer = %peer.address, %error, "connection ended early"),
    }
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

fn malformed(error: &(dyn Error + 'static)) -> Option<Malformed> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        Some(Malformed::TooLarge)
    } else if error.is_parse() {
        Some(Malformed::Syntax)
    } else if error.is_timeout() {
        Some(Malformed::Timeout)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Answers after so long.
    #[derive(Clone)]
    struct After(Duration);

    impl Handler for After {
        type Body = Full<Bytes>;

        async fn handle(&self, _: Request<Incoming>, _: Peer) -> Response<Full<Bytes>> {
            tokio::time::sleep(self.0).await;
            Response::new(Full::new(Bytes::from_static(b"ok")))
        }

        fn malformed(&self, _: Peer, _: Malformed) {}
    }

    /// A client's end of a connection to a server that answers after `wait`.
    fn connected(wait: Duration) -> DuplexStream {
        let (client, server) = duplex(64 * 1024);
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false };
        tokio::spawn(speak(TokioIo::new(server), peer, After(wait), Drain::default()));
        client
    }

    type H2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

    /// An HTTP/2 client, which answers pings, and its connection's end.
    async fn h2(wait: Duration) -> (H2, tokio::task::JoinHandle<hyper::Result<()>>) {
        let io = TokioIo::new(connected(wait));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (sender, connection) = handshake.await.unwrap();
        (sender, tokio::spawn(connection))
    }

    async fn ask(sender: &mut H2) -> Bytes {
        let request = Request::post("http://x/").body(Full::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_asks_nothing_is_not_kept() {
        for bytes in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"POST / HTTP/1.1\r\nhost: x\r\n"] {
            let mut client = connected(Duration::ZERO);
            client.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            let ended = client.read_to_end(&mut answer);
            let ended = tokio::time::timeout(Duration::from_secs(200), ended).await;
            assert!(ended.is_ok(), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_without_requests_is_ended_though_it_answers_pings() {
        let (mut sender, connection) = h2(Duration::ZERO).await;
        assert_eq!(ask(&mut sender).await, "ok");
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(ask(&mut sender).await, "ok", "kept while it is used");
        let ended = tokio::time::timeout(Duration::from_secs(200), connection).await;
        assert!(ended.is_ok());
    }

    /// Answers with more than anybody buffers.
    #[derive(Clone)]
    struct Endless;

    impl Handler for Endless {
        type Body = http_body_util::StreamBody<futures_util::stream::RepeatWith<fn() -> Piece>>;

        async fn handle(&self, _: Request<Incoming>, _: Peer) -> Response<Self::Body> {
            let piece: fn() -> Piece = || Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])));
            Response::new(http_body_util::StreamBody::new(futures_util::stream::repeat_with(piece)))
        }

        fn malformed(&self, _: Peer, _: Malformed) {}
    }

    type Piece = Result<Frame<Bytes>, std::convert::Infallible>;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_its_answer_is_not_kept() {
        let (client, server) = duplex(64 * 1024);
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false };
        tokio::spawn(speak(TokioIo::new(server), peer, Endless, Drain::default()));
        let io = TokioIo::new(client);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post("http://x/").body(Full::<Bytes>::default()).unwrap();
        let mut answer = sender.send_request(request).await.unwrap().into_body();
        // A slow reader is kept.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(100)).await;
            for _ in 0..100 {
                assert!(answer.frame().await.unwrap().is_ok());
            }
        }
        let ended = tokio::time::timeout(Duration::from_secs(500), connection).await;
        assert!(ended.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_keeps_its_connection() {
        let (mut sender, _connection) = h2(Duration::from_secs(600)).await;
        assert_eq!(ask(&mut sender).await, "ok");
    }
}
