//! `sagegate audit`: what an auditor does with the record.

mod key;
mod output;
mod query;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Who called what, when, and how it ended.
    Query(Box<query::Query>),
    /// Whether the record is what was written: the first bad position, and what is wrong
    /// (exit 0 whole, 3 touched).
    Verify(verify::Verify),
    /// Print the public key that heads are verified with.
    Key(key::Key),
}

impl Audit {
    pub(super) fn execute(self) -> ExitCode {
        match self {
            Self::Query(query) => query::query(&query),
            Self::Verify(asked) => verify::run(&asked),
            Self::Key(asked) => key::run(&asked),
        }
    }
}
