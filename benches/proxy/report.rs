//! The table. Ratios are taken within a round and then the median over rounds, so that a slow
//! spell of the machine falls on all contenders alike.

use crate::Outcome;
use crate::contenders::{Contender, Kind};
use crate::run::Turn;

/// What DESIGN §13 asks for.
const REACH_BARE: f64 = 1.5;
const REACH_ENVOY: f64 = 0.5;
const REACH_RESIDENT_MIB: f64 = 25.0;

/// A contender and how it has done.
pub(crate) struct Standing {
    pub contender: Contender,
    pub turns: Vec<Turn>,
    /// All that were sent to it: checks, warm-ups, measurements.
    pub requests: usize,
}

pub(crate) fn print(standings: &[Standing]) -> Outcome {
    let of = |kind| standings.iter().find(|standing| standing.contender.kind == kind);
    let (bare, envoy, sagegate) = (of(Kind::Bare), of(Kind::Envoy), of(Kind::Sagegate));
    let logged = of(Kind::SagegateLogged);
    println!(
        "\n{:12} {:>8} {:>13} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "",
        "CPU µs",
        "least–most",
        "× bare",
        "× Envoy",
        "p50 µs",
        "p99 µs",
        "req/s",
        "RSS MiB",
        "ready ms"
    );
    for standing in standings {
        println!("{}", row(standing, bare, envoy)?);
    }
    let Some(sagegate) = sagegate else { return Ok(()) };
    println!();
    verdict("CPU a request, × bare", ratio(sagegate, bare), REACH_BARE);
    beside("  bare with aws-sigv4, and nothing else", of(Kind::Signing), bare);
    beside("  with the access log (level info) as well", logged, bare);
    verdict("CPU a request, × Envoy", ratio(sagegate, envoy), REACH_ENVOY);
    beside("  with the access log (level info) as well", logged, envoy);
    verdict("resident MiB after the load", Some(resident_mib(sagegate)?), REACH_RESIDENT_MIB);
    if let Some(shared) = of(Kind::SagegateShared) {
        let asked = shared.turns.iter().map(|turn| turn.asked_per_thousand);
        figure("calls to Redis by 1,000 requests", median(asked.collect()));
    }
    let anonymous = sagegate.contender.process.anonymous_kib()? / 1024.0;
    figure("  of it anonymous; the rest is the binary's", anonymous);
    Ok(())
}

fn row(standing: &Standing, bare: Option<&Standing>, envoy: Option<&Standing>) -> Outcome<String> {
    let column = |value: fn(&Turn) -> f64| standing.turns.iter().map(value).collect::<Vec<_>>();
    let cpu = column(|turn| turn.cpu_us);
    let least = cpu.iter().copied().fold(f64::INFINITY, f64::min);
    let most = cpu.iter().copied().fold(0.0, f64::max);
    let rate = column(|turn| {
        f64::from(u32::try_from(turn.tally.requests).unwrap_or(0)) / turn.tally.seconds
    });
    Ok(format!(
        "{:12} {:8.1} {:>13} {:>7} {:>8} {:8.0} {:8.0} {:8.0} {:8.1} {:9.1}",
        standing.contender.kind,
        median(cpu),
        format!("{least:.1}–{most:.1}"),
        shown(ratio(standing, bare)),
        shown(ratio(standing, envoy)),
        median(column(|turn| turn.tally.p50_us)),
        median(column(|turn| turn.tally.p99_us)),
        median(rate),
        resident_mib(standing)?,
        standing.contender.ready.as_secs_f64() * 1e3,
    ))
}

/// `one`'s CPU over `other`'s: the median of the rounds' ratios.
fn ratio(one: &Standing, other: Option<&Standing>) -> Option<f64> {
    let pairs = one.turns.iter().zip(&other?.turns);
    Some(median(pairs.map(|(one, other)| one.cpu_us / other.cpu_us).collect()))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn resident_mib(standing: &Standing) -> Outcome<f64> {
    Ok(standing.contender.process.resident_kib()? / 1024.0)
}

/// A figure and whether it is good enough.
pub(crate) fn verdict(what: &str, measured: Option<f64>, reach: f64) {
    let Some(measured) = measured else { return };
    let word = if measured <= reach { "reached" } else { "MISSED" };
    println!("{what:44} {measured:8.2}  ≤ {reach:<5} {word}");
}

/// A figure that DESIGN sets no bound to.
pub(crate) fn figure(what: &str, measured: f64) {
    println!("{what:44} {measured:8.2}  no bound");
}

fn beside(what: &str, one: Option<&Standing>, other: Option<&Standing>) {
    if let Some(ratio) = one.and_then(|one| ratio(one, other)) {
        figure(what, ratio);
    }
}
