//! One connection: its handshake, its protocol, its requests, its end.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::frames::Count;
use super::idle::{Activity, Useless, Watched};
use super::wire::{LateHead, Seen, Wire};
use super::{Bounds, Drain, Tls};

/// HTTP/2: what may be buffered of one request's body and of a connection's together.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2 frames that ask nothing: so many at any time, and so many more each second. The
/// busiest client sends ten PINGs a second.
const IDLE_FRAMES: u64 = 1_000;
const IDLE_FRAMES_PER_SECOND: u64 = 100;
/// HTTP/2 streams that a peer may give up before it must give up less than half.
const RESETS: u64 = 200;

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
    /// A head that began and did not arrive in time; the connection was closed on it.
    Timeout,
    /// A head that HTTP/2 refused by itself: malformed, too large, or of a stream too many.
    Refused,
    /// Frames without end that asked nothing; the connection was closed on them.
    Flood,
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

/// One connection that was accepted.
#[derive(Debug)]
pub(super) struct Connection {
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    pub bounds: Bounds,
}

impl Connection {
    /// Serves it to its end. When the server drains, the requests at hand are finished:
    /// HTTP/1 closes after the current answer, which says so, and HTTP/2 sends GOAWAY.
    pub(super) async fn serve<H: Handler>(self, stream: TcpStream, handler: H, drain: Drain) {
        let Self { address, tls, bounds } = self;
        // Answers are written whole; waiting to fill a segment would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Some(tls) = tls else {
            return speak(stream, Peer { address, tls: false }, &bounds, handler, drain).await;
        };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(bounds.timeouts.handshake, handshake).await {
            Ok(Ok(stream)) => {
                speak(stream, Peer { address, tls: true }, &bounds, handler, drain).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %address, "TLS handshake took too long"),
        }
    }
}

/// HTTP/1.1 or HTTP/2, told apart by the preface, which ALPN and prior knowledge both lead to.
async fn speak<S, H>(stream: S, peer: Peer, bounds: &Bounds, handler: H, drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let (wire, seen) = Wire::new(stream, bounds.timeouts.head);
    let activity = Activity::new(bounds.timeouts);
    // One count to share of each request, and that with its own connection alone.
    let (shared, requests) = (Arc::new((handler.clone(), drain.clone())), activity.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, open) = (Arc::clone(&shared), requests.begin());
        async move {
            let ((handler, drain), version) = (&*shared, request.version());
            let mut answer = handler.handle(request, peer).await;
            if drain.is_draining() && version < Version::HTTP_2 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(answer.map(|body| Watched::new(body, open)))
        }
    });
    let builder = protocol(bounds);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let mut guard = Guard { peer, handler: &handler, activity: &activity, seen: &seen, told: 0 };
    let ended = tokio::select! {
        ended = guard.over(connection.as_mut(), |it| it.graceful_shutdown()) => ended,
        () = drain.noticed(bounds.timeouts.notice) => {
            connection.as_mut().graceful_shutdown();
            guard.over(connection.as_mut(), |it| it.graceful_shutdown()).await
        }
        useless = activity.ends() => {
            tracing::debug!(peer = %peer.address, ?useless, "connection ended");
            if useless == Useless::Idle {
                connection.as_mut().graceful_shutdown();
                // A peer need not take part in a graceful end.
                tokio::select! {
                    _ = guard.over(connection, |it| it.graceful_shutdown()) => {}
                    _ = activity.ends() => {}
                }
            }
            return;
        }
    };
    guard.ended(ended);
}

/// Watches over what hyper makes of a connection.
struct Guard<'a, H> {
    peer: Peer,
    handler: &'a H,
    activity: &'a Activity,
    seen: &'a Seen,
    /// Refused heads that were told of.
    told: u64,
}

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

impl<H: Handler> Guard<'_, H> {
    /// The connection to its end, or to a flood.
    async fn over<C: Future<Output = Ended>>(
        &mut self,
        mut connection: Pin<&mut C>,
        leave: fn(Pin<&mut C>),
    ) -> Ended {
        let mut leaving = false;
        poll_fn(|context| {
            let polled = connection.as_mut().poll(context);
            let count = self.seen.count();
            if count == Count::default() {
                return polled;
            }
            self.tell_refused(count);
            if is_flood(count, self.activity) {
                self.handler.malformed(self.peer, Malformed::Flood);
                return Poll::Ready(Ok(()));
            }
            if !leaving && count.resets > RESETS && count.resets > count.heads / 2 {
                // Nobody who is served loses by it: the streams at hand are finished.
                leaving = true;
                tracing::debug!(peer = %self.peer.address, "too many streams given up");
                leave(connection.as_mut());
                context.waker().wake_by_ref();
            }
            polled
        })
        .await
    }

    /// Heads that came and became no request were refused by h2.
    fn tell_refused(&mut self, count: Count) {
        if self.seen.is_blocked() {
            return;
        }
        let refused = count.heads.saturating_sub(self.activity.begun());
        for _ in self.told..refused {
            self.handler.malformed(self.peer, Malformed::Refused);
        }
        self.told = self.told.max(refused);
    }

    fn ended(&self, ended: Ended) {
        let Err(error) = ended else { return };
        match malformed(&*error) {
            Some(fault) => self.handler.malformed(self.peer, fault),
            None => {
                tracing::debug!(peer = %self.peer.address, %error, "connection ended early");
            }
        }
    }
}

/// The clock is read only once there were many.
fn is_flood(count: Count, activity: &Activity) -> bool {
    let over = count.idle.saturating_sub(IDLE_FRAMES);
    over > 0 && over > activity.age().as_secs().saturating_mul(IDLE_FRAMES_PER_SECOND)
}

fn protocol(bounds: &Bounds) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // It would count a connection's idle time as well; `Wire` counts from the first byte.
        .header_read_timeout(None)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(bounds.head)
        .max_concurrent_streams(bounds.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

fn malformed(error: &(dyn Error + 'static)) -> Option<Malformed> {
    let said = error.downcast_ref::<hyper::Error>();
    if said.is_some_and(hyper::Error::is_parse_too_large) {
        Some(Malformed::TooLarge)
    } else if said.is_some_and(hyper::Error::is_parse) {
        Some(Malformed::Syntax)
    } else if is_late(error) || error.source().is_some_and(is_late) {
        Some(Malformed::Timeout)
    } else {
        None
    }
}

/// [`Wire`]'s word for a head that took too long.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    let cause = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    cause.is_some_and(|cause| cause.is::<LateHead>())
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

    async fn serve(server: DuplexStream, peer: Peer, handler: impl Handler) {
        speak(server, peer, &Bounds::default(), handler, Drain::default()).await;
    }

    /// A client's end of a connection to a server that answers after `wait`.
    fn connected(wait: Duration) -> DuplexStream {
        let (client, server) = duplex(64 * 1024);
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false };
        tokio::spawn(serve(server, peer, After(wait)));
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
        tokio::spawn(serve(server, peer, Endless));
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
