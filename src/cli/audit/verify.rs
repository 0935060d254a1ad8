//! `sagegate audit verify`: whether the record is what was written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::signing::PublicKey;
use crate::audit::verify::{Evidence, Report, verify};
use crate::cli::USAGE;
use crate::cli::load::{say, say_error};

/// It was touched.
const TOUCHED: u8 = 3;

/// What to verify, and against what.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// Directories of a journal, or some of its files.
    #[arg(required = true, value_name = "DIR|FILE")]
    places: Vec<PathBuf>,
    /// Heads that were kept elsewhere: a `.heads` file, or records of a sink. May be given
    /// more than once. Those beside the journal's files are read in any case.
    #[arg(long = "heads", value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// The public key that every head must be signed by (PEM, as `sagegate audit key` prints it).
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

pub(super) fn run(asked: &Verify) -> ExitCode {
    let evidence = match evidence(asked) {
        Ok(evidence) => evidence,
        Err(message) => {
            say_error(&format!("error: {message}"));
            return ExitCode::from(USAGE);
        }
    };
    let reports = match verify(&asked.places, evidence) {
        Ok(reports) => reports,
        Err(error) => {
            say_error(&format!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if reports.is_empty() {
        say_error(&"no journal is here: there are neither records nor heads");
        return ExitCode::from(TOUCHED);
    }
    reports.iter().for_each(|report| say(&words(report)));
    let whole = reports.iter().all(|report| report.fault.is_none());
    if whole { ExitCode::SUCCESS } else { ExitCode::from(TOUCHED) }
}

fn evidence(asked: &Verify) -> Result<Evidence, String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let key = asked.public_key.as_deref().map(|path| {
        let pem = std::fs::read(path).map_err(|error| told(path, &error))?;
        PublicKey::from_pem(&pem).map_err(|error| told(path, &error))
    });
    let mut evidence = Evidence::default().with_key(key.transpose()?);
    for path in &asked.heads {
        if evidence.add_heads(path).map_err(|error| error.to_string())? == 0 {
            return Err(told(path, &"holds no head"));
        }
    }
    Ok(evidence)
}

fn words(report: &Report) -> String {
    let Report { chain, files, first, last, heads, signed, notes, fault } = report;
    let mut text = match fault {
        Some(fault) => fault.to_string(),
        None => format!(
            "chain {chain}: ok: records {first} to {last} in {files} files, {heads} heads, {signed} signed"
        ),
    };
    for note in notes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  note: {note}");
    }
    text
}
