//! Commands: one file each. Arguments are read here; what they mean is decided there.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 denied (`explain`) or touched
//! (`audit verify`).

mod audit;
mod check;
pub mod demo;
mod explain;
mod limits;
mod load;
mod policy;
mod run;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An authorizing reverse proxy in front of Amazon SageMaker endpoints.
#[derive(Debug, Parser)]
#[command(name = "sagegate", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. SIGHUP or a changed file reloads; SIGTERM drains.
    Run(ConfigFile),
    /// Read both files and the policies, and say everything that is wrong with them.
    Check(ConfigFile),
    /// Print the Cedar that the roles compile to.
    Policy(ConfigFile),
    /// Decide one call as the gateway would, and say why (JSON; exit 0 permit, 3 deny).
    Explain(Box<explain::Question>),
    /// List the limits, and where each is written.
    Limits(limits::Question),
    /// Ask the record.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Try it: an issuer, a SageMaker stand-in and the gateway in one process.
    Demo(demo::Demo),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    path: PathBuf,
}

const DEFAULT_FILE: &str = "sagegate.yaml";

/// Wrong usage or configuration.
const USAGE: u8 = 2;

impl Cli {
    /// Runs the command to its end.
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Run(config) => run::run(&config.path),
            Command::Check(config) => check::check(&config.path),
            Command::Policy(config) => policy::policy(&config.path),
            Command::Explain(question) => explain::explain(&question),
            Command::Limits(question) => limits::limits(&question),
            Command::Audit(audit) => audit.execute(),
            Command::Demo(demo) => demo.execute(),
        }
    }
}
