//! Arguments → command → exit code.

use std::process::ExitCode;

use clap::Parser;
use sagegate::cli::Cli;

/// Requests allocate small and short-lived; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().execute()
}
