//! `sagegate audit key`: the public half of the key that signs heads, for whoever verifies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::signing::SigningKey;
use crate::cli::load::{load, metrics, say, say_error};
use crate::cli::{DEFAULT_FILE, USAGE};

/// Where the private key is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Key {
    /// The configuration file, whose `audit.signing_key` is meant.
    #[arg(long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// A private key of its own (Ed25519, PKCS#8 PEM) instead.
    #[arg(value_name = "PRIVATE_KEY")]
    key: Option<PathBuf>,
}

pub(super) fn run(asked: &Key) -> ExitCode {
    let path = match &asked.key {
        Some(path) => path.clone(),
        None => match configured(&asked.config) {
            Ok(path) => path,
            Err(code) => return code,
        },
    };
    let pem = std::fs::read(&path).map_err(|error| error.to_string());
    match pem.and_then(|pem| SigningKey::from_pem(&pem).map_err(|error| error.to_string())) {
        Ok(key) => {
            say(key.public());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&format!("error: {}: {error}", path.display()));
            ExitCode::from(USAGE)
        }
    }
}

fn configured(path: &Path) -> Result<PathBuf, ExitCode> {
    let loaded = metrics().and_then(|metrics| load(path, &metrics))?;
    loaded.journal.signing_key.ok_or_else(|| {
        let path = path.display();
        say_error(&format!("error: {path}: there is no `audit.signing_key`"));
        say_error(&"  hint: name a private key (Ed25519, PKCS#8 PEM) instead: `audit key FILE`");
        ExitCode::from(USAGE)
    })
}
