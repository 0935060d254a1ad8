//! A model endpoint that streams on command: it answers the head at once, then each chunk when
//! it is told to, with the moment in it. In the bench's own process, so that one clock serves
//! both ends, and on a thread of its own, so that neither end waits for the other's.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Outcome;
use crate::serve::serve;
use crate::upstream::is_signed;

pub(crate) const CHUNK: usize = 1024;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) struct Streamer {
    pub address: SocketAddr,
    opened: UnboundedReceiver<Line>,
}

/// The upstream's end of one open stream. Dropping it ends the stream.
pub(crate) struct Line {
    /// Whether the request came with SageMaker's signature.
    pub signed: bool,
    commands: UnboundedSender<()>,
}

impl Streamer {
    pub(crate) fn start() -> Outcome<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (opening, opened) = unbounded_channel();
        LazyLock::force(&EPOCH);
        thread::spawn(move || run(listener, &opening));
        Ok(Self { address, opened })
    }

    /// The stream that was asked for longest ago and not taken yet.
    pub(crate) async fn opened(&mut self) -> Outcome<Line> {
        Ok(self.opened.recv().await.ok_or("the streaming upstream ended")?)
    }
}

impl Line {
    /// Has one chunk sent.
    pub(crate) fn send(&self) -> Outcome {
        Ok(self.commands.send(())?)
    }
}

/// How long ago the chunk that begins with `bytes` was written.
pub(crate) fn age(bytes: &[u8]) -> Outcome<Duration> {
    let now = EPOCH.elapsed();
    let stamp = bytes.first_chunk::<8>().ok_or("a frame too short for its time")?;
    Ok(now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(*stamp))))
}

fn run(listener: std::net::TcpListener, opening: &UnboundedSender<Line>) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let opening = opening.clone();
        serve(listener, service_fn(move |request| answer(request, opening.clone()))).await
    })
}

async fn answer(
    request: Request<Incoming>,
    opening: UnboundedSender<Line>,
) -> Outcome<Response<impl Body<Data = Bytes, Error = Infallible>>> {
    let signed = is_signed(request.headers());
    request.into_body().collect().await?;
    let (commands, mut commanded) = unbounded_channel();
    opening.send(Line { signed, commands }).map_err(|_| "nobody measures")?;
    let chunks = stream::poll_fn(move |context| {
        commanded
            .poll_recv(context)
            .map(|command| command.map(|()| Ok::<_, Infallible>(Frame::data(chunk()))))
    });
    Ok(Response::new(StreamBody::new(chunks)))
}

fn chunk() -> Bytes {
    let mut chunk = vec![b'x'; CHUNK];
    let nanos = u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if let Some(stamp) = chunk.first_chunk_mut() {
        *stamp = nanos.to_be_bytes();
    }
    chunk.into()
}
