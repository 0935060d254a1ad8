//! The callers: a fixed number of connections, each with one request under way at a time, and
//! the tokens in turn. Closed loop, because CPU per request is the question; the latencies are
//! those of a saturated proxy.
//!
//! Spoken over stdin and stdout so that the meter can be read between warm-up and measurement:
//! prints `warm`, waits for a line, runs, prints a [`Tally`] as JSON.

use std::io::{Write, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::caller::Caller;

#[derive(clap::Args)]
pub(crate) struct Options {
    target: SocketAddr,
    #[arg(long)]
    path: String,
    /// One token a line.
    #[arg(long)]
    tokens: PathBuf,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    warm_up: usize,
    #[arg(long)]
    requests: usize,
}

/// How one measured phase went.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tally {
    pub requests: usize,
    /// Answers that were not 2xx.
    pub failures: usize,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let orders = Arc::new(Orders::read(options)?);
        let mut callers = Vec::new();
        for _ in 0..options.connections {
            callers.push(connect(options.target).await?);
        }
        let (callers, warm) = phase(&orders, callers, options.warm_up).await?;
        println!("{}", if warm.failures == 0 { "warm" } else { "failed" });
        stdout().flush()?;
        stdin().read_line(&mut String::new())?;
        let (_, tally) = phase(&orders, callers, options.requests).await?;
        println!("{}", serde_json::to_string(&tally)?);
        Ok(())
    })
}

pub(crate) async fn connect(target: SocketAddr) -> Outcome<Caller> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (caller, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(caller)
}

/// What to send.
struct Orders {
    host: HeaderValue,
    path: http::Uri,
    bearers: Vec<HeaderValue>,
    body: Bytes,
    next: AtomicUsize,
}

impl Orders {
    fn read(options: &Options) -> Outcome<Self> {
        let tokens = std::fs::read_to_string(&options.tokens)?;
        let bearers = tokens.lines().map(bearer).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            host: HeaderValue::from_str(&options.target.to_string())?,
            path: options.path.parse()?,
            bearers,
            body: body(),
            next: AtomicUsize::new(0),
        })
    }

    fn request(&self, turn: usize) -> Outcome<Request<Full<Bytes>>> {
        let bearer = self.bearers.get(turn % self.bearers.len()).ok_or("no tokens")?;
        let mut request = Request::post(self.path.clone()).body(Full::new(self.body.clone()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, bearer.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    HeaderValue::from_str(&format!("Bearer {token}"))
}

/// A 1 KiB JSON body.
pub(crate) fn body() -> Bytes {
    Bytes::from(format!("{{\"inputs\":\"{}\"}}", "x".repeat(1024 - 13)))
}

async fn phase(
    orders: &Arc<Orders>,
    callers: Vec<Caller>,
    requests: usize,
) -> Outcome<(Vec<Caller>, Tally)> {
    orders.next.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(call(Arc::clone(orders), caller, requests));
    }
    let (mut callers, mut nanos, mut failures) = (Vec::new(), Vec::with_capacity(requests), 0);
    while let Some(done) = running.join_next().await {
        let (caller, times, failed) = done??;
        callers.push(caller);
        nanos.extend(times);
        failures += failed;
    }
    Ok((callers, Tally::new(nanos, failures, begun.elapsed().as_secs_f64())))
}

type Called = (Caller, Vec<u64>, usize);

async fn call(orders: Arc<Orders>, mut caller: Caller, requests: usize) -> Outcome<Called> {
    let (mut nanos, mut failures) = (Vec::new(), 0);
    loop {
        let turn = orders.next.fetch_add(1, Ordering::Relaxed);
        if turn >= requests {
            return Ok((caller, nanos, failures));
        }
        let request = orders.request(turn)?;
        let begun = Instant::now();
        caller.ready().await?;
        let response = caller.send_request(request).await?;
        failures += usize::from(!response.status().is_success());
        response.into_body().collect().await?;
        nanos.push(u64::try_from(begun.elapsed().as_nanos())?);
    }
}

impl Tally {
    fn new(mut nanos: Vec<u64>, failures: usize, seconds: f64) -> Self {
        nanos.sort_unstable();
        let at = |percent: usize| {
            let nanos = nanos.get(nanos.len() * percent / 100).copied().unwrap_or_default();
            std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e6
        };
        let (p50_us, p99_us) = (at(50), at(99));
        Self { requests: nanos.len(), failures, seconds, p50_us, p99_us }
    }
}
