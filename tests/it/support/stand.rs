//! A gateway in this process, started as `sagegate run` starts it: from files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use sagegate::app::{App, Drained, Options, StartError};
use sagegate::audit::Instance;
use sagegate::aws::Source;
use sagegate::cli::demo::issuer::Issuer;
use sagegate::config::{self, Loaded};
use sagegate::telemetry::metrics::Metrics;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Ask, Caller, Response, SageMaker, until};

/// The two files, as JSON, which is YAML too.
#[derive(Clone, Debug)]
pub struct Setup {
    pub gateway: Value,
    pub access: Value,
    /// Whether there are AWS credentials to sign with.
    pub credentials: bool,
}

impl Default for Setup {
    /// `corp/callers` may do everything but `secret-*`; `corp/mallory` and `jti-stolen` are
    /// revoked.
    fn default() -> Self {
        let anything = json!({
            "permit": [{"endpoints": ["*"]}],
            "forbid": [{"endpoints": ["secret-*"]}],
        });
        Self {
            gateway: json!({
                // A drain that hangs fails its test soon, and nobody is on the way here.
                "server": {
                    "listen": "127.0.0.1:0",
                    "drain_timeout": "5s",
                    "timeouts": {"notice": "0s"},
                },
                "admin": {"listen": "127.0.0.1:0"},
                "aws": {"region": "us-east-1"},
                "audit": {"directory": "journal", "stdout": false},
            }),
            access: json!({
                "roles": {"caller": anything},
                "bindings": [{"groups": ["corp/callers"], "roles": ["caller"]}],
                "revoked": {"users": ["corp/mallory"], "token_ids": ["jti-stolen"]},
            }),
            credentials: true,
        }
    }
}

impl Setup {
    /// With one more setting of `sagegate.yaml`: `with("server", "max_body", json!("1KiB"))`.
    pub fn with(mut self, section: &str, key: &str, value: Value) -> Self {
        self.gateway[section][key] = value;
        self
    }

    /// With `corp/callers` as a team that has this limit.
    pub fn limited(mut self, limit: &Value) -> Self {
        let team = json!({"groups": ["corp/callers"], "limits": [limit]});
        self.access["teams"] = json!({"fraud": team});
        self
    }
}

pub struct Stand {
    pub app: App,
    pub issuer: Issuer,
    pub sagemaker: SageMaker,
    pub metrics: Metrics,
    directory: TempDir,
}

impl Stand {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let directory = TempDir::new().unwrap();
        Self::within(directory, setup).await
    }

    /// In a directory that may hold certificates already.
    pub async fn within(directory: TempDir, setup: Setup) -> Self {
        let stand = Self::unready(directory, setup).await;
        until("readiness", || stand.app.health().faults().is_empty()).await;
        stand
    }

    /// Started, whether or not it can become ready.
    pub async fn unready(directory: TempDir, setup: Setup) -> Self {
        let (issuer, sagemaker) = (Issuer::start().await.unwrap(), SageMaker::start().await);
        let metrics = Metrics::new().unwrap();
        let setup = local(setup, &issuer, sagemaker.address);
        let loaded = load(directory.path(), &setup, &metrics);
        let app = App::start(loaded, options(&setup, metrics.clone())).await.unwrap();
        Self { app, issuer, sagemaker, metrics, directory }
    }

    /// A gateway whose SageMaker answers every request with [`OK`](super::OK).
    pub async fn answering(setup: Setup) -> Self {
        let mut stand = Self::with(setup).await;
        stand.sagemaker.answer_all(super::OK);
        stand
    }

    /// Applies other files, which name `sagemaker` as the runtime.
    pub async fn reload(&mut self, setup: Setup, sagemaker: SocketAddr) {
        let setup = local(setup, &self.issuer, sagemaker);
        let loaded = load(self.directory.path(), &setup, &self.metrics);
        self.app.reload(loaded).await.unwrap();
        until("readiness", || self.app.health().faults().is_empty()).await;
    }

    /// Applies the same files anew, as they are now.
    pub async fn try_reload(&mut self, setup: Setup) -> Result<(), String> {
        let setup = local(setup, &self.issuer, self.sagemaker.address);
        let path = write(self.directory.path(), &setup);
        let loaded = config::load(&path, &|_| None, &self.metrics);
        let loaded = loaded.map_err(|faults| faults.to_string())?;
        self.app.reload(loaded).await.map_err(|error| error.to_string())
    }

    /// Another gateway beside this one, if it can be started.
    pub async fn try_another(&self, setup: Setup) -> Result<App, StartError> {
        let metrics = Metrics::new().unwrap();
        let setup = local(setup, &self.issuer, self.sagemaker.address);
        let loaded = load(self.directory.path(), &setup, &metrics);
        App::start(loaded, options(&setup, metrics)).await
    }

    pub async fn caller(&self) -> Caller {
        Caller::connect(self.app.address()).await
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, ask: &Ask, status: u16) -> impl Future<Output = Response> {
        self.write(ask.bytes(), status)
    }

    #[track_caller]
    pub fn write(&self, bytes: Vec<u8>, status: u16) -> impl Future<Output = Response> {
        let address = self.app.address();
        async move {
            let mut caller = Caller::connect(address).await;
            caller.write(bytes).await;
            caller.response(status).await
        }
    }

    /// A page of the admin listener.
    pub async fn admin(&self, line: &str, status: u16) -> Response {
        let mut caller = Caller::connect(self.app.admin_address()).await;
        caller.write(Ask::line(line).bytes()).await;
        caller.response(status).await
    }

    /// The token of a caller who may do everything but `secret-*`.
    pub fn token(&self) -> String {
        self.token_with(|_| {})
    }

    /// The same with its claims changed.
    pub fn token_with(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = self.issuer.claims("alice", &["callers"], SystemTime::now());
        change(&mut claims);
        self.issuer.mint(&claims).unwrap().expose_secret().to_owned()
    }

    /// Every event on record.
    pub fn events(&self) -> Vec<Value> {
        events(&self.journal())
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// The one event of an answer; it is there before the answer's end is.
    #[track_caller]
    pub fn event(&self, response: &Response) -> Value {
        let of = |event: &Value| event["metadata"]["uid"] == response.id();
        let mut found: Vec<_> = self.events().into_iter().filter(of).collect();
        assert_eq!(found.len(), 1, "one event for {}", response.id());
        found.remove(0)
    }

    /// The events once there are so many; never more.
    #[track_caller]
    pub fn recorded(&self, count: usize) -> impl Future<Output = Vec<Value>> {
        let waiting = until("the record", move || self.events().len() >= count);
        async move {
            waiting.await;
            let events = self.events();
            assert_eq!(events.len(), count, "{events:#?}");
            events
        }
    }

    /// The gateway, and what must outlive it.
    pub fn apart(self) -> (App, (SageMaker, Issuer, TempDir)) {
        (self.app, (self.sagemaker, self.issuer, self.directory))
    }

    /// Ends it all. What was asked has been answered, so nothing is left to cut off.
    pub async fn stop(self) {
        assert_eq!(self.app.drain().await, Drained::Clean);
    }
}

/// The requests on record.
pub fn events(journal: &Path) -> Vec<Value> {
    let mut events = records(journal);
    events.retain(|event| event["metadata"]["event_code"] == "request");
    events
}

/// Every record of every kind, in order.
pub fn records(journal: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(journal).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort();
    let text: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    // A line that is being written has no end yet.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn options(setup: &Setup, metrics: Metrics) -> Options {
    Options {
        credentials: Source::Provider(provider(setup.credentials)),
        metrics,
        instance: Instance { uid: "gw-test".into(), version: "0.0.0".into() },
    }
}

fn provider(any: bool) -> SharedCredentialsProvider {
    if any {
        let session = Some("session".to_owned());
        let keys = Credentials::new("AKIDTEST", "secret", session, None, "test");
        SharedCredentialsProvider::new(keys)
    } else {
        let none = || Err(CredentialsError::not_loaded("none in this test"));
        SharedCredentialsProvider::new(provide_credentials_fn(move || async move { none() }))
    }
}

fn local(mut setup: Setup, issuer: &Issuer, sagemaker: SocketAddr) -> Setup {
    let corp = json!({"issuer": issuer.url(), "audiences": ["sagegate"]});
    if setup.gateway["issuers"].is_null() {
        setup.gateway["issuers"] = json!({"corp": corp});
    }
    if setup.gateway["aws"]["runtime_url"].is_null() {
        setup.gateway["aws"]["runtime_url"] = json!(format!("http://{sagemaker}"));
    }
    setup
}

fn write(directory: &Path, setup: &Setup) -> PathBuf {
    let path = directory.join("sagegate.yaml");
    std::fs::write(&path, setup.gateway.to_string()).unwrap();
    std::fs::write(directory.join("access.yaml"), setup.access.to_string()).unwrap();
    path
}

fn load(directory: &Path, setup: &Setup, metrics: &Metrics) -> Loaded {
    let path = write(directory, setup);
    config::load(&path, &|_| None, metrics).unwrap_or_else(|faults| panic!("{faults}"))
}
