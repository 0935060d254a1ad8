//! The whole bench: sets the stage, has the contenders race, then measures sagegate alone.
//!
//! In the race, each contender is first checked to work, and then all are driven in turns.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::Outcome;
use crate::contenders::{Contender, Course, Kind, PATH};
use crate::durable;
use crate::issuer::{GROUP, Issuer};
use crate::load::Tally;
use crate::probe::{self, Tokens};
use crate::process::{Process, line};
use crate::redis::Redis;
use crate::report::{self, Standing};
use crate::serve::runtime;
use crate::{alone, apart};

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Turns of each contender.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measured requests a turn.
    #[arg(long, default_value_t = 40_000)]
    requests: usize,
    /// Requests before each measurement.
    #[arg(long, default_value_t = 4_000)]
    warm_up: usize,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 1_000)]
    tokens: usize,
    /// Streams opened each way to time their first chunks.
    #[arg(long, default_value_t = 2_000)]
    streams: usize,
    /// A smoke test: three rounds of 8,000, and 300 streams.
    #[arg(long)]
    short: bool,
    /// Who takes part.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "bare,signing,envoy,sagegate,sagegate-logged,sagegate-shared"
    )]
    contenders: Vec<Kind>,
    /// The Envoy binary.
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// The Redis or Valkey server.
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
    /// The sagegate binary, of a release build.
    #[arg(long, default_value = "target/release/sagegate")]
    sagegate: PathBuf,
}

impl Plan {
    fn rounds(&self) -> usize {
        if self.short { 3 } else { self.rounds }
    }

    fn requests(&self) -> usize {
        if self.short { 8_000 } else { self.requests }
    }

    fn streams(&self) -> usize {
        if self.short { 300 } else { self.streams }
    }

    fn load(&self) -> Load {
        let (connections, warm_up) = (self.connections, self.warm_up);
        Load { connections, warm_up, requests: self.requests() }
    }
}

/// What one turn asks of a contender.
pub(crate) struct Load {
    pub connections: usize,
    pub warm_up: usize,
    pub requests: usize,
}

/// One contender's turn.
pub(crate) struct Turn {
    pub cpu_us: f64,
    pub tally: Tally,
    /// Calls to the limit store meanwhile, by 1,000 requests.
    pub asked_per_thousand: f64,
}

pub(crate) fn run(plan: &Plan) -> Outcome {
    // The issuer keeps a thread of its own: those who measure may block theirs.
    let issuing = runtime()?;
    let issuer = issuing.block_on(Issuer::start())?;
    Builder::new_current_thread().enable_all().build()?.block_on(measure(plan, &issuer))
}

async fn measure(plan: &Plan, issuer: &Issuer) -> Outcome {
    let directory = TempDir::with_prefix("sagegate-bench-")?;
    let (tokens, probes) = mint(plan.tokens, issuer, directory.path())?;
    let (_upstream, upstream) = start_upstream()?;
    let (envoy, sagegate) = (binary(&plan.envoy), binary(&plan.sagegate));
    let shares = plan.contenders.contains(&Kind::SagegateShared);
    let redis = shares.then(|| Redis::start(&binary(&plan.redis), directory.path())).transpose()?;
    let course = Course {
        issuer,
        upstream,
        directory: directory.path(),
        envoy: &envoy,
        sagegate: &sagegate,
        certificate: None,
        redis: redis.as_ref(),
    };
    race(plan, &course, &tokens, &probes).await?;
    if plan.contenders.contains(&Kind::Sagegate) {
        apart::measure(&course, &probes.good, plan.streams()).await?;
        // A tenth of a turn in the race: a single caller waits a disk's time for each.
        durable::measure(&course, &tokens, plan.requests() / 10).await?;
    }
    Ok(())
}

async fn race(plan: &Plan, course: &Course<'_>, tokens: &Path, probes: &Tokens) -> Outcome {
    let (upstream, load) = (course.upstream, plan.load());
    let mut standings = Vec::new();
    for kind in &plan.contenders {
        let contender = Contender::start(*kind, course).await?;
        let requests = probe::check(&contender, upstream, probes).await?;
        standings.push(Standing { contender, turns: Vec::new(), requests });
    }
    for round in 1..=plan.rounds() {
        for standing in &mut standings {
            let asked = course.redis.map(Redis::calls).transpose()?;
            let mut turn = take_turn(&load, &standing.contender, upstream, tokens).await?;
            if let Some((redis, asked)) = course.redis.zip(asked) {
                let sent = f64::from(u32::try_from(load.warm_up + load.requests)?);
                turn.asked_per_thousand = f64::from(redis.calls()? - asked) * 1e3 / sent;
            }
            eprintln!("round {round}: {:12} {:6.1} µs", standing.contender.kind, turn.cpu_us);
            standing.requests += load.warm_up + load.requests;
            standing.turns.push(turn);
        }
    }
    let (rounds, requests) = (plan.rounds(), plan.requests());
    println!(
        "{rounds} rounds of {requests} requests, interleaved; {} connections, {} tokens, 1 KiB bodies, one worker",
        plan.connections, plan.tokens
    );
    report::print(&standings)?;
    let asked = alone::measure(standings.iter().map(|s| &s.contender), &probes.good).await?;
    for standing in standings.iter().filter(|standing| standing.contender.kind.is_gateway()) {
        standing.contender.check_records(standing.requests + asked).await?;
    }
    Ok(())
}

/// Writes the tokens of the load to a file, and makes those of the checks.
fn mint(count: usize, issuer: &Issuer, directory: &Path) -> Outcome<(PathBuf, Tokens)> {
    let mut lines = String::new();
    for number in 0..count {
        lines += &issuer.token(&format!("user-{number:04}"), GROUP)?;
        lines.push('\n');
    }
    let path = directory.join("tokens");
    fs::write(&path, lines)?;
    let good = issuer.token("prober", GROUP)?;
    let (head, signature) = good.rsplit_once('.').ok_or("a token without dots")?;
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{head}.{other}{}", signature.get(1..).unwrap_or_default());
    let stranger = issuer.token("stranger", "nobody")?;
    Ok((path, Tokens { good, tampered, stranger }))
}

fn start_upstream() -> Outcome<((Process, impl Sized), SocketAddr)> {
    let (process, input, mut output) = Process::part(["upstream"])?;
    let address = line(&mut output)?.parse()?;
    Ok(((process, (input, output)), address))
}

/// A path with a directory in it must stay right when a contender is started elsewhere.
fn binary(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

pub(crate) async fn take_turn(
    load: &Load,
    contender: &Contender,
    upstream: SocketAddr,
    tokens: &Path,
) -> Outcome<Turn> {
    let before = probe::seen(upstream).await?;
    let (_load, mut input, mut output) = Process::part(load_arguments(load, contender, tokens))?;
    let said = line(&mut output)?;
    if said != "warm" {
        return Err(format!("{}: the warm-up failed: `{said}`", contender.kind).into());
    }
    let cpu_before = contender.process.cpu_seconds()?;
    input.write_all(b"go\n")?;
    let tally: Tally = serde_json::from_str(&line(&mut output)?)?;
    let cpu = contender.process.cpu_seconds()? - cpu_before;
    if tally.failures > 0 || tally.requests != load.requests {
        return Err(format!("{}: not a valid run: {tally:?}", contender.kind).into());
    }
    let signed = probe::seen(upstream).await?.signed - before.signed;
    if contender.kind.signs() && signed != u64::try_from(load.warm_up + load.requests)? {
        return Err(format!("{}: only {signed} requests came signed", contender.kind).into());
    }
    let cpu_us = cpu * 1e6 / f64::from(u32::try_from(tally.requests)?);
    Ok(Turn { cpu_us, tally, asked_per_thousand: 0.0 })
}

fn load_arguments(load: &Load, contender: &Contender, tokens: &Path) -> Vec<String> {
    let numbers = [
        ("--connections", load.connections),
        ("--warm-up", load.warm_up),
        ("--requests", load.requests),
    ];
    let mut arguments = vec!["load".to_owned(), contender.address.to_string()];
    arguments.extend(["--path".to_owned(), PATH.to_owned()]);
    arguments.extend(["--tokens".to_owned(), tokens.display().to_string()]);
    for (name, number) in numbers {
        arguments.extend([name.to_owned(), number.to_string()]);
    }
    arguments
}
