//! What does the corridor cost? The side-by-side proxy bench of DESIGN §13.
//!
//! Figures from two machines, or from two hours on one machine, do not compare. So this bench
//! starts the contenders together (a bare hyper proxy as the floor, Envoy with its own filters
//! as the alternative, sagegate), drives them in turns with the same closed-loop load, and
//! reports ratios. Every part is a process of its own, so that `/proc` can say what each one
//! costs. A run counts only if every answer was a 200, if both gateways refused a tampered
//! token and a stranger, if the upstream saw as many signed requests as were sent, and if each
//! gateway left one record a request: a fast proxy that skips its work is not in the race.
//!
//! What concerns sagegate alone is measured after the race, each on a sagegate of its own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports to its terminal")]

mod alone;
mod apart;
mod bare;
mod caller;
mod certificate;
mod contenders;
mod durable;
mod idle;
#[path = "../support/issuer.rs"]
mod issuer;
mod load;
mod probe;
mod process;
mod redis;
mod report;
mod run;
#[path = "../support/serve.rs"]
mod serve;
mod streamer;
mod streams;
mod upstream;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs a bare hyper proxy, Envoy and sagegate side by side.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: run::Plan,
    /// What `cargo bench` passes; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Part {
    /// The model endpoint: answers a fixed 1 KiB and counts what came signed.
    Upstream,
    /// The floor: a hyper proxy that holds the request's body and does nothing else.
    Bare {
        upstream: SocketAddr,
        /// Sign each call as well, for this region.
        #[arg(long, value_name = "REGION")]
        sign: Option<String>,
    },
    /// The callers.
    Load(load::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Upstream) => upstream::run(),
        Some(Part::Bare { upstream, sign }) => bare::run(upstream, sign.map(bare::Signer::new)),
        Some(Part::Load(options)) => load::run(&options),
        None => run::run(&cli.plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy bench: {error}");
            ExitCode::FAILURE
        }
    }
}
