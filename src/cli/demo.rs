//! `sagegate demo`: everything around the gateway, and the gateway, in one process.
//!
//! For somebody who has two minutes and neither an identity provider nor an AWS account: an
//! OpenID Connect [`issuer`], a [`sagemaker`] stand-in that recomputes every signature, the
//! gateway with the examples of `config/`, and three people with tokens. It prints lines to
//! paste; with `--once` it makes the calls itself and says whether each was answered as it
//! should be, whether SageMaker saw the permitted ones alone, and whether all are on record.
//!
//! Everything listens on loopback, on ports of the system's choice; every key and secret is
//! made at start and leaves with the process. The two stand-ins serve the tests too.

mod client;
mod command;
mod files;
pub mod issuer;
mod loopback;
mod personas;
mod play;
mod report;
pub mod sagemaker;
#[cfg(test)]
mod tests;

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::Request;
use http_body_util::Full;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use self::client::Client;
pub use self::command::Demo;
pub use self::files::Examples;
use self::files::{Files, FilesError, Local};
use self::issuer::Issuer;
use self::personas::{CALLS, Tokens};
use self::play::Outcome;
use self::report::{Balance, Places, Screen, Style};
use self::sagemaker::SageMaker;
use crate::telemetry::clock::Clock;

const REGION: &str = "us-east-1";

/// Configuration and keys are local: a gateway that needs longer will not get there.
const READY_WITHIN: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(20);

/// Plays the demo on standard output. With `once`, 0 only if all was as expected.
///
/// `start` builds a gateway from the configuration at this path that signs with these
/// credentials; it comes in as a parameter so that the tests can play wrong ones.
pub async fn run<S, F>(once: bool, examples: Examples, start: S) -> ExitCode
where
    S: FnOnce(PathBuf, Credentials) -> F,
    F: Future<Output = Result<Running, StartError>>,
{
    let mut out = io::stdout();
    let mut screen = Screen { style: Style::of_stdout(), out: &mut out };
    match perform(once, examples, &mut screen, start).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "sagegate demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A gateway that serves.
pub struct Running {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub drain: Drain,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({}, admin {})", self.gateway, self.admin)
    }
}

/// Finishes what is open and flushes the record; does nothing until it is awaited.
pub type Drain = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whatever the gateway's start failed with.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the gateway did not start, its files are in `{}`: {error}", directory.display())]
    Gateway { directory: PathBuf, error: StartError },
    #[error("the gateway was not ready in time; see {admin}/readyz")]
    NotReady { admin: String },
}

/// Sets the stage, starts a gateway on it and plays, until a signal or, if `once`, to the end
/// of the table. `true`: all was as expected.
async fn perform<S, F>(
    once: bool,
    examples: Examples,
    screen: &mut Screen<'_>,
    start: S,
) -> Result<bool, DemoError>
where
    S: FnOnce(PathBuf, Credentials) -> F,
    F: Future<Output = Result<Running, StartError>>,
{
    let stage = Stage::set(examples).await?;
    let config = stage.files.path("sagegate.yaml");
    let running = start(config, stage.credentials.clone()).await.map_err(|error| {
        DemoError::Gateway { directory: stage.files.directory().to_owned(), error }
    })?;
    let good = stage.play(once, running, screen).await?;
    // A demo that went wrong leaves its files, to be looked at.
    if good {
        stage.files.remove()?;
    }
    Ok(good)
}

/// Everything but the gateway.
struct Stage {
    issuer: Issuer,
    sagemaker: SageMaker,
    credentials: Credentials,
    tokens: Tokens,
    files: Files,
}

impl Stage {
    async fn set(examples: Examples) -> Result<Self, DemoError> {
        let issuer = Issuer::start().await?;
        let sagemaker = SageMaker::start(REGION, Clock::System).await?;
        let credentials = new_credentials()?;
        sagemaker.accept(&credentials);
        let tokens = Tokens::mint(&issuer, SystemTime::now())?;
        let (issues, runtime) = (issuer.url(), sagemaker.url());
        let local = Local { issuer: &issues, runtime: &runtime, region: REGION };
        let files = Files::write(examples, local, &tokens)?;
        Ok(Self { issuer, sagemaker, credentials, tokens, files })
    }

    async fn play(
        &self,
        once: bool,
        running: Running,
        screen: &mut Screen<'_>,
    ) -> Result<bool, DemoError> {
        let (gateway, admin) =
            (format!("http://{}", running.gateway), format!("http://{}", running.admin));
        ready(&admin).await?;
        let (issuer, sagemaker) = (self.issuer.url(), self.sagemaker.url());
        let program = env::current_exe().unwrap_or_else(|_| "sagegate".into());
        let places = Places {
            gateway: &gateway,
            admin: &admin,
            issuer: &issuer,
            sagemaker: &sagemaker,
            directory: self.files.directory(),
            program: &program,
        };
        screen.show(&report::opening(places, screen.style));
        if once {
            return Ok(self.play_once(&gateway, running.drain, screen).await?);
        }
        // Before it is said that Ctrl-C ends it: unheard, it would leave the directory behind.
        let mut stop = Stop::listen()?;
        screen.show(&report::to_paste(places, screen.style));
        stop.asked().await;
        running.drain.await;
        Ok(true)
    }

    async fn play_once(
        &self,
        gateway: &str,
        drain: Drain,
        screen: &mut Screen<'_>,
    ) -> io::Result<bool> {
        let outcomes = play::all(gateway, &self.tokens).await;
        screen.show(&report::table(&outcomes, screen.style));
        drain.await;
        let balance = self.balance(&outcomes)?;
        screen.show(&report::verdict(balance, self.files.directory(), screen.style));
        Ok(balance.holds())
    }

    /// Counts after the drain, when nothing is on its way any more.
    fn balance(&self, outcomes: &[Outcome]) -> io::Result<Balance> {
        let seen = self.sagemaker.seen();
        Ok(Balance {
            calls: CALLS.len(),
            as_expected: outcomes.iter().filter(|outcome| outcome.as_expected).count(),
            permitted: CALLS.iter().filter(|call| call.expected.code().is_none()).count(),
            arrived: seen.len(),
            believed: seen.iter().filter(|seen| seen.answered.is_success()).count(),
            recorded: self.files.events()?,
        })
    }
}

/// Temporary ones, as a role gives them: with a session token.
fn new_credentials() -> io::Result<Credentials> {
    let random = || {
        let mut bytes = [0; 30];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| io::Error::other("the system has no random numbers"))?;
        Ok::<_, io::Error>(STANDARD_NO_PAD.encode(bytes))
    };
    Ok(Credentials::new("ASIADEMO", random()?, Some(random()?), None, "demo"))
}

/// Waits until `/readyz` says yes.
async fn ready(admin: &str) -> Result<(), DemoError> {
    let client = Client::new();
    let asking = async {
        loop {
            let request = Request::get(format!("{admin}/readyz")).body(Full::default());
            if let Ok(request) = request
                && client.call(request).await.is_ok_and(|reply| reply.status.is_success())
            {
                return;
            }
            sleep(READY_POLL).await;
        }
    };
    timeout(READY_WITHIN, asking).await.map_err(|_| DemoError::NotReady { admin: admin.to_owned() })
}

/// Ctrl-C and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on neither ends the process by itself.
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
