//! HTTP/2 in literal frames: each fault ends its stream or the connection as RFC 9113 says,
//! though h2 often says no more than PROTOCOL_ERROR, and as a bare hyper ends it that gets the
//! same bytes. A head which never became a request is on record all the same.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand, soon};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END: u8 = 1;
const HEAD: u8 = 4;
const WHOLE: u8 = END | HEAD;

/// How the gateway takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The connection ends with this error (RFC 9113 §7).
    Connection(u32),
    /// The stream does.
    Stream(u32),
    /// The stream is answered.
    Answered,
    /// The ping at the end is answered, and nothing else.
    PassedOver,
}

use Taken::{Answered, Connection, PassedOver, Stream};

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const FRAME_SIZE: u32 = 6;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Spelled out, not remembered and not Huffman-coded (RFC 7541 §6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = match text.len() {
            short @ 0..127 => vec![u8::try_from(short).unwrap()],
            long => vec![
                127,
                u8::try_from((long - 127) % 128 + 128).unwrap(),
                u8::try_from((long - 127) / 128).unwrap(),
            ],
        };
        bytes.extend(text.bytes());
        bytes
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

const REQUEST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", INVOKE), (":authority", "gateway.test")];

/// A good head but for these fields, each in its place, or added.
fn head(changes: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&REQUEST[..], changes].concat())
}

fn without(name: &str) -> Vec<u8> {
    fields(&REQUEST.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>())
}

/// hyper's own server with its own defaults. It reads each body and answers.
async fn bare_hyper() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |request: Request<Incoming>| async move {
        request.into_body().collect().await?;
        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

/// What comes of `frames` on a connection of their own.
async fn taken(server: SocketAddr, frames: &[Vec<u8>], expected: Taken) -> Taken {
    let mut peer = TcpStream::connect(server).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frames.concat());
    bytes.extend(frame(PING, 0, 0, b"the last"));
    peer.write_all(&bytes).await.unwrap();
    soon("what comes of it", async {
        loop {
            let mut head = [0; 9];
            if peer.read_exact(&mut head).await.is_err() {
                panic!("the connection ended without a word");
            }
            let length = usize::from(head[1]) * 256 + usize::from(head[2]);
            let mut payload = vec![0; length];
            peer.read_exact(&mut payload).await.unwrap();
            let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match (head[3], head[4]) {
                (HEADERS, _) => return Answered,
                (RST_STREAM, _) => return Stream(word(0)),
                (GOAWAY, _) => return Connection(word(4)),
                // A stream's end may come after it.
                (PING, 1) if payload == b"the last" && expected == PassedOver => {
                    return PassedOver;
                }
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn each_fault_ends_the_stream_or_the_connection_as_rfc_9113_says() {
    let stand = Stand::answering(Setup::default()).await;
    let good = || frame(HEADERS, WHOLE, 1, &head(&[]));
    let open = || frame(HEADERS, HEAD, 1, &head(&[]));
    let bad = |changes: &[(&str, &str)]| vec![frame(HEADERS, WHOLE, 1, &head(changes))];
    let mut pathless = without(":path");
    pathless.extend(fields(&[(":path", "")]));
    let cases: Vec<(&str, Vec<Vec<u8>>, Taken)> = vec![
        ("an unknown kind of frame (§4.1)", vec![frame(0xfe, 0xff, 0, b"anything")], PassedOver),
        (
            "a frame larger than is allowed (§4.2)",
            vec![open(), frame(DATA, END, 1, &[0; 16_385])],
            Connection(FRAME_SIZE),
        ),
        (
            "a head that cannot be decompressed (§4.3)",
            vec![frame(HEADERS, WHOLE, 1, &[0x80])],
            Connection(PROTOCOL),
        ),
        (
            "a frame between a head's parts (§4.3)",
            vec![frame(HEADERS, END, 1, &head(&[])), frame(PING, 0, 0, &[0; 8])],
            Connection(PROTOCOL),
        ),
        (
            "a part of another head (§4.3)",
            vec![frame(HEADERS, END, 1, &head(&[])), frame(CONTINUATION, HEAD, 3, &[])],
            Connection(PROTOCOL),
        ),
        (
            "a part of no head (§6.10)",
            vec![frame(CONTINUATION, HEAD, 1, &[])],
            Connection(PROTOCOL),
        ),
        ("data before a head (§5.1)", vec![frame(DATA, END, 1, b"a")], Connection(PROTOCOL)),
        (
            "a reset before a head (§5.1)",
            vec![frame(RST_STREAM, 0, 1, &[0; 4])],
            Connection(PROTOCOL),
        ),
        (
            "a window for no stream (§5.1)",
            vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
            Connection(PROTOCOL),
        ),
        (
            "a stream of even number (§5.1.1)",
            vec![frame(HEADERS, WHOLE, 2, &head(&[]))],
            Connection(PROTOCOL),
        ),
        (
            "a stream that depends on itself (§5.3.1)",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1])],
            PassedOver,
        ),
        ("data of no stream (§6.1)", vec![frame(DATA, END, 0, b"a")], Connection(PROTOCOL)),
        (
            "more padding than frame (§6.1)",
            vec![open(), frame(DATA, END | 8, 1, &[9, 0])],
            Connection(PROTOCOL),
        ),
        (
            "a head of no stream (§6.2)",
            vec![frame(HEADERS, WHOLE, 0, &head(&[]))],
            Connection(PROTOCOL),
        ),
        (
            "a reset of odd length (§6.4)",
            vec![open(), frame(RST_STREAM, 0, 1, &[0; 3])],
            Connection(PROTOCOL),
        ),
        ("settings of a stream (§6.5)", vec![frame(SETTINGS, 0, 1, &[])], Connection(PROTOCOL)),
        (
            "settings of odd length (§6.5)",
            vec![frame(SETTINGS, 0, 0, &[0; 5])],
            Connection(PROTOCOL),
        ),
        (
            "an acknowledgement with content (§6.5)",
            vec![frame(SETTINGS, 1, 0, &[0; 6])],
            Connection(PROTOCOL),
        ),
        (
            "a window too large (§6.5.2)",
            vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])],
            Connection(PROTOCOL),
        ),
        (
            "a frame size too small (§6.5.2)",
            vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])],
            Connection(PROTOCOL),
        ),
        (
            "push that is neither on nor off (§6.5.2)",
            vec![frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])],
            Connection(PROTOCOL),
        ),
        (
            "an unknown setting (§6.5.2)",
            vec![frame(SETTINGS, 0, 0, &[0, 0xff, 0, 0, 0, 1])],
            PassedOver,
        ),
        (
            "a push from a client (§8.4)",
            vec![open(), frame(PUSH_PROMISE, HEAD, 1, &[0, 0, 0, 2])],
            Connection(PROTOCOL),
        ),
        ("a ping of a stream (§6.7)", vec![frame(PING, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        ("a ping of odd length (§6.7)", vec![frame(PING, 0, 0, &[0; 7])], Connection(PROTOCOL)),
        (
            "a window that grows by nothing (§6.9)",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
            Connection(PROTOCOL),
        ),
        (
            "a window past its bound (§6.9.1)",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])],
            Connection(FLOW_CONTROL),
        ),
        ("an upper-case name (§8.2.1)", bad(&[("X-A", "b")]), Connection(PROTOCOL)),
        ("a name of one connection (§8.2.2)", bad(&[("connection", "close")]), Stream(PROTOCOL)),
        ("a TE that is not trailers (§8.2.2)", bad(&[("te", "gzip")]), Stream(PROTOCOL)),
        ("a pseudo-header that nobody knows (§8.3)", bad(&[(":a", "b")]), Connection(PROTOCOL)),
        ("a pseudo-header of answers (§8.3)", bad(&[(":status", "200")]), Stream(PROTOCOL)),
        (
            "a pseudo-header after a header (§8.3)",
            bad(&[("x-a", "b"), (":method", "GET")]),
            Stream(PROTOCOL),
        ),
        ("a pseudo-header twice (§8.3)", bad(&[(":path", INVOKE)]), Stream(PROTOCOL)),
        (
            "no method (§8.3.1)",
            vec![frame(HEADERS, WHOLE, 1, &without(":method"))],
            Stream(PROTOCOL),
        ),
        (
            "no scheme (§8.3.1)",
            vec![frame(HEADERS, WHOLE, 1, &without(":scheme"))],
            Stream(PROTOCOL),
        ),
        ("no path (§8.3.1)", vec![frame(HEADERS, WHOLE, 1, &without(":path"))], Stream(PROTOCOL)),
        ("a length and no body (§8.1.1)", bad(&[("content-length", "1")]), Stream(PROTOCOL)),
        (
            "a stream that was used before (§5.1.1)",
            vec![good(), frame(HEADERS, WHOLE, 1, &head(&[]))],
            Connection(PROTOCOL),
        ),
        (
            "a stream below one that was used (§5.1.1)",
            vec![frame(HEADERS, WHOLE, 3, &head(&[])), good()],
            Connection(PROTOCOL),
        ),
        (
            "data after a stream's end (§5.1)",
            vec![good(), frame(DATA, END, 1, b"a")],
            Connection(PROTOCOL),
        ),
        (
            "a head's part after its end (§6.10)",
            vec![open(), frame(CONTINUATION, HEAD, 1, &head(&[]))],
            Connection(PROTOCOL),
        ),
        (
            "trailers that end nothing (§8.1)",
            vec![open(), frame(HEADERS, HEAD, 1, &fields(&[("x-a", "b")]))],
            Stream(PROTOCOL),
        ),
        (
            "a pseudo-header among trailers, which nobody reads (§8.1)",
            vec![open(), frame(HEADERS, WHOLE, 1, &fields(&[(":method", "GET")]))],
            Answered,
        ),
        (
            "a head with more padding than frame (§6.2)",
            vec![frame(HEADERS, WHOLE | 8, 1, &[200, 0])],
            Connection(PROTOCOL),
        ),
        (
            "a head with padding (§6.2)",
            vec![frame(HEADERS, WHOLE | 8, 1, &[&[2][..], &head(&[]), &[0, 0]].concat())],
            Answered,
        ),
        (
            "a head with a priority (§6.2)",
            vec![frame(HEADERS, WHOLE | 32, 1, &[&[0, 0, 0, 0, 9][..], &head(&[])].concat())],
            Answered,
        ),
        (
            "a head in three parts (§6.10)",
            vec![
                frame(HEADERS, END, 1, &head(&[])),
                frame(CONTINUATION, 0, 1, &fields(&[("x-a", "b")])),
                frame(CONTINUATION, HEAD, 1, &[]),
            ],
            Answered,
        ),
        (
            "a reset of no stream (§6.4)",
            vec![frame(RST_STREAM, 0, 0, &[0; 4])],
            Connection(PROTOCOL),
        ),
        (
            "a priority of odd length (§6.3)",
            vec![frame(PRIORITY, 0, 1, &[0; 4])],
            Connection(PROTOCOL),
        ),
        (
            "a priority of no stream (§6.3)",
            vec![frame(PRIORITY, 0, 0, &[0; 5])],
            Connection(PROTOCOL),
        ),
        (
            "a window of a stream that grows by nothing (§6.9)",
            vec![open(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
            Connection(PROTOCOL),
        ),
        (
            "a stream's window past its bound (§6.9.1)",
            vec![open(), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
            Stream(FLOW_CONTROL),
        ),
        (
            "a window of odd length (§6.9)",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            Connection(PROTOCOL),
        ),
        ("a goodbye of a stream (§6.8)", vec![frame(GOAWAY, 0, 1, &[0; 8])], Connection(PROTOCOL)),
        (
            "a table grown beyond its bound (RFC 7541 §4.2)",
            vec![frame(HEADERS, WHOLE, 1, &[&[0x3f, 0xff, 0xff, 0x03][..], &head(&[])].concat())],
            Connection(PROTOCOL),
        ),
        (
            "a table that changes in a head's middle (RFC 7541 §4.2)",
            vec![frame(HEADERS, WHOLE, 1, &[&head(&[])[..], &[0x20]].concat())],
            Connection(PROTOCOL),
        ),
        ("an empty path (§8.3.1)", vec![frame(HEADERS, WHOLE, 1, &pathless)], Stream(PROTOCOL)),
        ("a keep-alive (§8.2.2)", bad(&[("keep-alive", "a")]), Stream(PROTOCOL)),
        ("transfer codings (§8.2.2)", bad(&[("transfer-encoding", "chunked")]), Stream(PROTOCOL)),
        ("an upgrade (§8.2.2)", bad(&[("upgrade", "a")]), Stream(PROTOCOL)),
        (
            "two lengths that differ (§8.1.1)",
            bad(&[("content-length", "0"), ("content-length", "1")]),
            Stream(PROTOCOL),
        ),
        ("an empty name (§8.2.1)", bad(&[("", "b")]), Connection(PROTOCOL)),
        ("a line feed in a value (§8.2.1)", bad(&[("x-a", "b\nc")]), Connection(PROTOCOL)),
        ("a null in a value (§8.2.1)", bad(&[("x-a", "b\0c")]), Connection(PROTOCOL)),
    ];
    let (ours, bare) = (stand.app.address(), bare_hyper().await);
    let mut wrong = Vec::new();
    for (what, frames, expected) in cases {
        for (who, server) in [("sagegate", ours), ("hyper", bare)] {
            let taken = taken(server, &frames, expected).await;
            if taken != expected {
                wrong.push(format!("{what}: {who} {taken:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for server in [ours, bare] {
        assert_eq!(taken(server, &[good()], Answered).await, Answered, "the control");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_head_that_http2_refuses_by_itself_is_on_record() {
    let bounds = json!({"head": "16KiB", "streams": 1});
    let stand = Stand::with(Setup::default().with("server", "bounds", bounds)).await;
    let large = "a".repeat(15_000);
    let too_large = [
        frame(HEADERS, END, 1, &head(&[("x-a", &large)])),
        frame(CONTINUATION, HEAD, 1, &fields(&[("x-b", &large)])),
    ];
    let malformed = [frame(HEADERS, WHOLE, 1, &head(&[("X-A", "b")]))];
    // Its body never comes, so that the first keeps the one stream there is.
    let authorization = format!("Bearer {}", stand.token());
    let open = head(&[("authorization", &authorization)]);
    let too_many = [frame(HEADERS, HEAD, 1, &open), frame(HEADERS, HEAD, 3, &open)];
    for (count, frames) in [&too_large[..], &malformed].into_iter().enumerate() {
        taken(stand.app.address(), frames, PassedOver).await;
        let event = stand.recorded(count + 1).await.pop().unwrap();
        assert_eq!(event["disposition"], "Rejected");
        assert!(event["status_detail"].as_str().unwrap().contains("HTTP/2 head"), "{event}");
    }
    taken(stand.app.address(), &too_many, PassedOver).await;
    let events = stand.recorded(4).await;
    let refused = |event: &&serde_json::Value| {
        event["status_detail"].as_str().is_some_and(|text| text.contains("HTTP/2 head"))
    };
    assert_eq!(events.iter().filter(refused).count(), 3, "{events:#?}");
    stand.ask(&Ask::invoke("garbage"), 401).await;
    stand.stop().await;
}
