//! Streams through the gateway: how much later the first chunk arrives, and whether memory
//! stays flat while many are open.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::Outcome;
use crate::caller::{Caller, Order};
use crate::contenders::{Contender, Course, Kind};
use crate::load::connect;
use crate::report::median;
use crate::streamer::{CHUNK, Line, Streamer, age};

const PATH: &str = "/endpoints/fraud-v1/invocations-response-stream";
/// A model thinks before its first token, and everything in between falls asleep.
const THOUGHT: Duration = Duration::from_millis(1);
const STREAMS: u16 = 500;
const CHUNKS: usize = 200;

/// Medians, in µs, from the upstream's write of the first chunk to its arrival.
pub(crate) struct FirstByte {
    pub direct_us: f64,
    /// Through the bare proxy: what one more process on the way costs in wake-ups alone.
    pub bare_us: f64,
    pub through_us: f64,
}

/// sagegate's resident memory with [`STREAMS`] open, in KiB.
pub(crate) struct Open {
    pub idle_kib: f64,
    /// After each has carried [`CHUNKS`] more.
    pub used_kib: f64,
}

impl Open {
    pub(crate) fn growth_per_stream(&self) -> f64 {
        (self.used_kib - self.idle_kib) / f64::from(STREAMS)
    }
}

pub(crate) async fn measure(
    course: &Course<'_>,
    token: &str,
    repetitions: usize,
) -> Outcome<(FirstByte, Open)> {
    let mut upstream = Streamer::start()?;
    let course = Course { upstream: upstream.address, ..*course };
    let bare = Contender::start(Kind::Bare, &course).await?;
    let gateway = Contender::start(Kind::Sagegate, &course).await?;
    let first_byte = first_byte(&bare, &gateway, &mut upstream, token, repetitions).await?;
    drop(bare);
    let open = open(&gateway, &mut upstream, token).await?;
    gateway.check_records(repetitions + usize::from(STREAMS)).await?;
    Ok((first_byte, open))
}

/// In turns, so that a slow spell of the machine falls on both ways alike.
async fn first_byte(
    bare: &Contender,
    gateway: &Contender,
    upstream: &mut Streamer,
    token: &str,
    repetitions: usize,
) -> Outcome<FirstByte> {
    let mut near = Way::new(upstream.address, token).await?;
    let mut middle = Way::new(bare.address, token).await?;
    let mut far = Way::new(gateway.address, token).await?;
    let (mut direct, mut between, mut through) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions {
        direct.push(near.first_chunk(upstream, false).await?);
        between.push(middle.first_chunk(upstream, false).await?);
        through.push(far.first_chunk(upstream, true).await?);
    }
    let (direct_us, bare_us) = (median(direct), median(between));
    Ok(FirstByte { direct_us, bare_us, through_us: median(through) })
}

/// A connection and what is asked over it.
struct Way {
    caller: Caller,
    order: Order,
}

impl Way {
    async fn new(target: SocketAddr, token: &str) -> Outcome<Self> {
        let order = Order::new(target, PATH, token)?;
        Ok(Self { caller: connect(target).await?, order })
    }

    /// Opens a stream and takes its first chunk's time on the way, in µs.
    async fn first_chunk(&mut self, upstream: &mut Streamer, signed: bool) -> Outcome<f64> {
        let (mut body, line) = self.open(upstream, signed).await?;
        tokio::time::sleep(THOUGHT).await;
        line.send()?;
        let frame = body.frame().await.ok_or("no first chunk")??;
        let age = age(frame.data_ref().ok_or("no data")?)?;
        drop(line);
        body.collect().await?;
        Ok(age.as_secs_f64() * 1e6)
    }

    async fn open(&mut self, upstream: &mut Streamer, signed: bool) -> Outcome<(Incoming, Line)> {
        let body = self.order.begin(&mut self.caller).await?;
        let line = upstream.opened().await?;
        if line.signed != signed {
            return Err(format!("a stream came signed: {}, not {signed}", line.signed).into());
        }
        Ok((body, line))
    }
}

async fn open(gateway: &Contender, upstream: &mut Streamer, token: &str) -> Outcome<Open> {
    let (mut ways, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let mut way = Way::new(gateway.address, token).await?;
        streams.push(way.open(upstream, true).await?);
        ways.push(way);
    }
    carry(&mut streams).await?;
    let idle_kib = gateway.process.resident_kib()?;
    for _ in 0..CHUNKS {
        carry(&mut streams).await?;
    }
    let used_kib = gateway.process.resident_kib()?;
    for (body, line) in streams {
        drop(line);
        body.collect().await?;
    }
    Ok(Open { idle_kib, used_kib })
}

/// One chunk over every stream.
async fn carry(streams: &mut [(Incoming, Line)]) -> Outcome {
    for (_, line) in &*streams {
        line.send()?;
    }
    for (body, _) in streams {
        let mut left = CHUNK;
        while left > 0 {
            let frame = body.frame().await.ok_or("a stream ended early")??;
            let came = frame.data_ref().map_or(0, |data| data.len());
            left = left.checked_sub(came).ok_or("a stream carried more than was sent")?;
        }
    }
    Ok(())
}
