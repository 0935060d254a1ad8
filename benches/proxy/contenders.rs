//! The proxies, each started the way its users would, each with one worker.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::certificate::Certificate;
use crate::issuer::{AUDIENCE, GROUP, Issuer};
use crate::probe;
use crate::process::{Process, line};
use crate::redis::Redis;

/// Read when the bench runs, so that trying another configuration needs no build.
const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");

pub(crate) const PATH: &str = "/endpoints/fraud-v1/invocations";
const REGION: &str = "us-west-2";

/// In a contender's directory: what it recorded, and what it printed.
const RECORDS: &str = "records";
const LOG: &str = "log.txt";

const START_LIMIT: Duration = Duration::from_secs(15);
/// For records that are written later than the answer: Envoy keeps its log up to 10 s.
const RECORD_LIMIT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Bare,
    /// Bare, and signing each call: what is left when everything else costs nothing.
    Signing,
    Envoy,
    /// Its record and no access log, as Envoy writes one line a request: DESIGN §13's figure.
    Sagegate,
    /// Its record and its access log, which is what it does unless told otherwise.
    SagegateLogged,
    /// With its limits in Redis.
    SagegateShared,
    /// At `durability: memory`.
    SagegateMemory,
    /// At `durability: fsync`.
    SagegateFsync,
}

impl Kind {
    /// Whether it verifies, decides, signs and records; bare does none of it.
    pub(crate) fn is_gateway(self) -> bool {
        !matches!(self, Self::Bare | Self::Signing)
    }

    /// Whether SageMaker would take what it sends.
    pub(crate) fn signs(self) -> bool {
        self != Self::Bare
    }

    /// sagegate's `audit.durability`.
    fn durability(self) -> &'static str {
        match self {
            Self::SagegateMemory => "memory",
            Self::SagegateFsync => "fsync",
            _ => "write",
        }
    }

    /// sagegate's `log.level`: the access log stands at `info`.
    fn log_level(self) -> &'static str {
        if self == Self::SagegateLogged { "info" } else { "warn" }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare",
            Self::Signing => "bare+SigV4",
            Self::Envoy => "Envoy",
            Self::Sagegate => "sagegate",
            Self::SagegateLogged => "sagegate+log",
            Self::SagegateShared => "with Redis",
            Self::SagegateMemory => "at memory",
            Self::SagegateFsync => "at fsync",
        })
    }
}

/// What the contenders are started with.
pub(crate) struct Course<'a> {
    pub issuer: &'a Issuer,
    pub upstream: SocketAddr,
    /// Holds each contender's files.
    pub directory: &'a Path,
    pub envoy: &'a Path,
    pub sagegate: &'a Path,
    /// What sagegate serves TLS with; plaintext without.
    pub certificate: Option<&'a Certificate>,
    /// The limit store of those who share one.
    pub redis: Option<&'a Redis>,
}

/// One proxy, running.
pub(crate) struct Contender {
    pub kind: Kind,
    pub address: SocketAddr,
    pub process: Process,
    /// From its start until it was ready.
    pub ready: Duration,
    directory: PathBuf,
    _input: Option<ChildStdin>,
}

impl Contender {
    pub(crate) async fn start(kind: Kind, course: &Course<'_>) -> Outcome<Self> {
        let directory = course.directory.join(format!("{kind:?}"));
        fs::create_dir_all(directory.join(RECORDS))?;
        match kind {
            Kind::Bare | Kind::Signing => Self::floor(kind, course, &directory),
            Kind::Envoy => {
                let mut command = Command::new(course.envoy);
                command.args(["--concurrency", "1", "--disable-hot-restart"]);
                command.args(["--log-level", "error", "-c", "envoy.yaml"]);
                let templates = ["envoy.yaml"];
                Self::gateway(kind, course, &directory, command, &templates, "/ready").await
            }
            Kind::Sagegate
            | Kind::SagegateLogged
            | Kind::SagegateShared
            | Kind::SagegateMemory
            | Kind::SagegateFsync => {
                let mut command = Command::new(course.sagegate);
                command.args(["run", "--config", "sagegate.yaml"]);
                let templates = ["sagegate.yaml", "access.yaml"];
                Self::gateway(kind, course, &directory, command, &templates, "/readyz").await
            }
        }
    }

    fn floor(kind: Kind, course: &Course<'_>, directory: &Path) -> Outcome<Self> {
        let begun = Instant::now();
        let mut arguments = vec!["bare".to_owned(), course.upstream.to_string()];
        if kind.signs() {
            arguments.extend(["--sign".to_owned(), REGION.to_owned()]);
        }
        let (process, input, mut output) = Process::part(arguments)?;
        Ok(Self {
            kind,
            address: line(&mut output)?.parse()?,
            process,
            ready: begun.elapsed(),
            directory: directory.to_owned(),
            _input: Some(input),
        })
    }

    async fn gateway(
        kind: Kind,
        course: &Course<'_>,
        directory: &Path,
        mut command: Command,
        templates: &[&str],
        ready_path: &str,
    ) -> Outcome<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut places = places(course, address, admin);
        places.push(("RECORDS", directory.join(RECORDS).display().to_string()));
        places.push(("LOG_LEVEL", kind.log_level().to_owned()));
        places.push(("DURABILITY", kind.durability().to_owned()));
        places.push(("LIMITS", limits(kind, course)?));
        for name in templates {
            let template = fs::read_to_string(Path::new(TEMPLATES).join(name))?;
            fs::write(directory.join(name), fill(&template, &places)?)?;
        }
        let log = directory.join(LOG);
        // Static credentials of nobody; both gateways read them from the environment.
        command
            .current_dir(directory)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_SESSION_TOKEN");
        let begun = Instant::now();
        let mut process = Process::logged(&mut command, &log)?;
        while probe::status(admin, ready_path).await.is_none_or(|status| status != 200) {
            if !process.is_running() || begun.elapsed() > START_LIMIT {
                return Err(format!("{kind} did not start:\n{}", tail(&log)).into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (ready, directory) = (begun.elapsed(), directory.to_owned());
        Ok(Self { kind, address, process, ready, directory, _input: None })
    }

    /// Checks that it left one record for each of `requests`, and an access log line as well
    /// if it should have, and only then.
    pub(crate) async fn check_records(&self, requests: usize) -> Outcome {
        let begun = Instant::now();
        loop {
            let lines = self.records()?;
            if lines == requests {
                return self.check_log(requests);
            }
            if begun.elapsed() > RECORD_LIMIT {
                let kind = self.kind;
                return Err(format!("{kind} recorded {lines} of {requests} requests").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Records of requests: sagegate's journal tells of itself as well.
    fn records(&self) -> Outcome<usize> {
        let kind = if self.kind == Kind::Envoy { "" } else { r#""event_code":"request""# };
        let mut records = 0;
        for entry in fs::read_dir(self.directory.join(RECORDS))? {
            records += fs::read_to_string(entry?.path())?
                .lines()
                .filter(|line| line.contains(kind))
                .count();
        }
        Ok(records)
    }

    fn check_log(&self, requests: usize) -> Outcome {
        let log = fs::read_to_string(self.directory.join(LOG))?;
        let lines = log.lines().filter(|line| line.contains("sagegate::access")).count();
        let wanted = if self.kind == Kind::SagegateLogged { requests } else { 0 };
        if lines == wanted {
            return Ok(());
        }
        Err(format!("{}: {lines} access log lines, not {wanted}", self.kind).into())
    }
}

/// A port that was free a moment ago: neither gateway can report the one it was given.
fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn places(
    course: &Course<'_>,
    address: SocketAddr,
    admin: SocketAddr,
) -> Vec<(&'static str, String)> {
    vec![
        ("PORT", address.port().to_string()),
        ("ADMIN_PORT", admin.port().to_string()),
        ("UPSTREAM_PORT", course.upstream.port().to_string()),
        ("ISSUER", course.issuer.url()),
        ("JWKS", course.issuer.jwks()),
        ("AUDIENCE", AUDIENCE.to_owned()),
        ("GROUP", GROUP.to_owned()),
        ("PATH", PATH.to_owned()),
        ("REGION", REGION.to_owned()),
        ("TLS", course.certificate.map_or_else(String::new, Certificate::as_key)),
    ]
}

/// Where a contender keeps its limits.
fn limits(kind: Kind, course: &Course<'_>) -> Outcome<String> {
    if kind != Kind::SagegateShared {
        return Ok("{}".to_owned());
    }
    let redis = course.redis.ok_or("no Redis for a contender that shares its limits")?;
    Ok(format!("{{ store: {{ redis: {{ url: \"{}\" }} }} }}", redis.url()))
}

fn fill(template: &str, places: &[(&str, String)]) -> Outcome<String> {
    let filled = places.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    });
    match filled.split_once("${") {
        None => Ok(filled),
        Some((_, rest)) => {
            Err(format!("nothing fills `{}`", rest.chars().take(20).collect::<String>()).into())
        }
    }
}

/// The end of a log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
