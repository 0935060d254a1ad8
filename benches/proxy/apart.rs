//! DESIGN §13's figures that need no rival: how soon sagegate is ready, what idle connections
//! and open streams cost, and how much later a stream's first chunk arrives.

use std::fs;

use crate::Outcome;
use crate::contenders::{Contender, Course, Kind};
use crate::report::{figure, median, verdict};
use crate::{idle, streams};

const REACH_IDLE_KIB: f64 = 64.0;
const REACH_FIRST_BYTE_US: f64 = 100.0;
/// Beyond the key fetch, which is measured along with it: the issuer is a millisecond away.
const REACH_READY_MS: f64 = 100.0;

const STARTS: usize = 7;

/// Measures and prints them. A stream is opened `repetitions` times each way.
pub(crate) async fn measure(course: &Course<'_>, token: &str, repetitions: usize) -> Outcome {
    eprintln!("ready: {STARTS} starts");
    let ready = ready_ms(course).await?;
    verdict("ready, the key fetch included, ms", Some(ready), REACH_READY_MS);

    eprintln!("idle: 1,000 TLS connections");
    let directory = course.directory.join("idle");
    fs::create_dir_all(&directory)?;
    let course = Course { directory: &directory, ..*course };
    let idle = idle::kib_per_connection(&course, token).await?;
    verdict("KiB per idle TLS connection, of 1,000", Some(idle), REACH_IDLE_KIB);

    eprintln!("streams: {repetitions} first chunks each way, then 500 at once");
    let directory = directory.with_file_name("streams");
    let course = Course { directory: &directory, ..course };
    let (first, open) = streams::measure(&course, token, repetitions).await?;
    let added = first.through_us - first.direct_us;
    verdict("first byte of a stream, added µs", Some(added), REACH_FIRST_BYTE_US);
    figure("  directly, µs", first.direct_us);
    figure("  through the bare proxy, µs", first.bare_us);
    figure("  through sagegate, µs", first.through_us);
    figure("resident MiB with 500 open streams", open.idle_kib / 1024.0);
    figure("  growth after 200 KiB over each, KiB", open.used_kib - open.idle_kib);
    figure("  the same per stream, KiB", open.growth_per_stream());
    Ok(())
}

/// From the process's start until `/readyz` says 200: the median of several starts.
async fn ready_ms(course: &Course<'_>) -> Outcome<f64> {
    let mut times = Vec::new();
    for start in 0..STARTS {
        let directory = course.directory.join(format!("ready-{start}"));
        let course = Course { directory: &directory, ..*course };
        let gateway = Contender::start(Kind::Sagegate, &course).await?;
        times.push(gateway.ready.as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
