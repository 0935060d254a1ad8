//! The command: the real gateway on the demo's stage.

use std::path::PathBuf;
use std::process::ExitCode;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::{Examples, Running, StartError, run};
use crate::app::{App, Options};
use crate::audit::Instance;
use crate::aws::Source;
use crate::cli::load::{environment, say_error};
use crate::config;
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;

/// Arguments of `sagegate demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Make all the calls, print who was answered what, and exit 0 if each was as expected.
    #[arg(long)]
    once: bool,
}

const EXAMPLES: Examples = Examples {
    sagegate: include_str!("../../../config/sagegate.yaml"),
    access: include_str!("../../../config/access.yaml"),
    policies: &[(
        "production-targets.cedar",
        include_str!("../../../config/policies/production-targets.cedar"),
    )],
};

impl Demo {
    pub(in crate::cli) fn execute(&self) -> ExitCode {
        log::init(tracing::Level::WARN, log::Format::Text);
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(self.once, EXAMPLES, start)),
            Err(error) => {
                say_error(&error);
                ExitCode::FAILURE
            }
        }
    }
}

async fn start(path: PathBuf, credentials: Credentials) -> Result<Running, StartError> {
    let metrics = Metrics::new()?;
    let loaded = config::load(&path, &environment, &metrics).map_err(|f| f.to_string())?;
    let options = Options {
        credentials: Source::Provider(SharedCredentialsProvider::new(credentials)),
        metrics,
        instance: Instance {
            uid: "demo".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    };
    let app = App::start(loaded, options).await?;
    Ok(Running {
        gateway: app.address(),
        admin: app.admin_address(),
        drain: Box::pin(async move {
            app.drain().await;
        }),
    })
}
