//! `sagegate audit`: what an auditor does with the record.

mod output;
mod query;
mod table;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Who called what, when, and how it ended.
    Query(Box<query::Query>),
}

impl Audit {
    pub(super) fn execute(self) -> ExitCode {
        match self {
            Self::Query(query) => query::query(&query),
        }
    }
}
