//! Arguments → command → exit code.

use std::process::ExitCode;

use clap::Parser;
use sagegate::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
