//! `sagegate.yaml` as typed. It belongs to operations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::privacy::{Omit, PseudonymKey, Pseudonymized};
pub use super::server::{Admin, Bounds, Server, ServerTimeouts, Tls};
use super::sinks::Sinks;
use super::store::Limits;
use super::{ByteSize, Named, Span};

/// sagegate.yaml: how the gateway listens, whom it trusts, where it forwards and records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["issuers"]))]
pub struct Gateway {
    #[serde(default)]
    pub server: Server,
    #[serde(default)]
    pub admin: Admin,
    #[serde(default)]
    pub aws: Aws,
    /// The identity providers whose tokens are accepted, by a short name. Users and groups
    /// are spelled with it: `corp/alice`.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[schemars(extend("minProperties" = 1))]
    pub issuers: Named<Issuer>,
    /// The file of roles, bindings and teams. Paths are relative to this file.
    #[serde(default = "default_access")]
    pub access: PathBuf,
    /// A directory of Cedar policies (*.cedar) that say what roles cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub policies: Option<PathBuf>,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub danger: Danger,
}

/// Beside this file, under the name that the documentation uses.
fn default_access() -> PathBuf {
    PathBuf::from("access.yaml")
}

/// Where calls go on to, and how long that may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Aws {
    /// Default: the AWS chain's (AWS_REGION, profile, instance metadata).
    pub region: Option<String>,
    /// A VPC endpoint or a test server. Default: SageMaker Runtime's host in the region.
    pub runtime_url: Option<String>,
    /// Use the FIPS endpoint.
    pub fips: bool,
    /// Use the dual-stack (IPv6) endpoint.
    pub dual_stack: bool,
    /// PEM roots to trust for the upstream instead of the system's.
    pub ca: Option<PathBuf>,
    /// How often the host's name is resolved. An address that DNS names no longer is used
    /// for four times as long.
    pub dns_refresh: Span,
    pub timeouts: Timeouts,
}

impl Default for Aws {
    fn default() -> Self {
        Self {
            region: None,
            runtime_url: None,
            fips: false,
            dual_stack: false,
            ca: None,
            // AWS's answers hold for a minute: a changed one is seen soon, and every one of
            // a name with many addresses is used for as long as it holds.
            dns_refresh: Span::seconds(15),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long each step of an upstream call may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    pub connect: Span,
    /// Until the response's head.
    pub response_head: Span,
    /// Between two chunks of a stream.
    pub stream_idle: Span,
    /// From the head to the end of a stream.
    pub stream: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Within a region a connection takes milliseconds; three seconds is an outage.
            connect: Span::seconds(3),
            // A model may take 60 s, and AWS advises clients to wait ten more.
            response_head: Span::seconds(70),
            // A language model that is silent for a minute has stopped.
            stream_idle: Span::seconds(60),
            // SageMaker ends a stream after 8 minutes; ours must not be the shorter one.
            stream: Span::seconds(600),
        }
    }
}

/// An identity provider, and the rules for its tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["issuer", "audiences"]))]
pub struct Issuer {
    /// The token's `iss`, character for character.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub issuer: String,
    /// A token must be for one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub audiences: Vec<String>,
    /// Where the audience stands. Cognito access tokens: client_id.
    #[serde(default = "default_audience_claim")]
    #[schemars(length(min = 1))]
    pub audience_claim: String,
    #[serde(default = "default_algorithms")]
    #[schemars(length(min = 1))]
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ`, compared without case; a missing one counts as JWT.
    #[serde(default = "default_token_types")]
    #[schemars(length(min = 1))]
    pub token_types: Vec<String>,
    /// A top-level claim, or a path: [realm_access, roles].
    #[serde(default = "default_groups_claim")]
    pub groups_claim: ClaimPath,
    /// Whom a call is recorded as.
    #[serde(default = "default_user_claim")]
    pub user_claim: ClaimPath,
    /// Claims that must have exactly this value.
    #[serde(default)]
    pub required_claims: BTreeMap<String, String>,
    /// By how much clocks may differ.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
    /// The longest accepted lifetime, `exp` less `iat`.
    #[serde(default = "default_max_token_age")]
    pub max_token_age: Span,
    /// The key set. Default: what the issuer's discovery document names.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// A withdrawn key stops working within this time.
    #[serde(default = "default_jwks_refresh")]
    pub jwks_refresh: Span,
    /// For how long keys stay good while the provider cannot be reached.
    #[serde(default = "default_jwks_max_stale")]
    pub jwks_max_stale: Span,
    /// PEM roots to trust for the provider instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// RFC 7519 §4.1.3.
fn default_audience_claim() -> String {
    "aud".to_owned()
}

/// What every large provider signs with.
fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256]
}

/// Plain tokens and RFC 9068's; an ID token of another type is no access token.
fn default_token_types() -> Vec<String> {
    vec!["JWT".to_owned(), "at+jwt".to_owned()]
}

/// Keycloak's, Okta's and Entra's usual name.
fn default_groups_claim() -> ClaimPath {
    ClaimPath::top("groups")
}

/// The only claim that is never given to another person (OpenID Connect Core §5.7).
fn default_user_claim() -> ClaimPath {
    ClaimPath::top("sub")
}

/// NTP keeps machines within a second; half a minute forgives one that lost it for a day.
fn default_leeway() -> Span {
    Span::seconds(30)
}

/// A token that lives longer cannot be called short-lived.
fn default_max_token_age() -> Span {
    Span::seconds(24 * 3600)
}

/// A leaked key can be used for so long after it was withdrawn.
fn default_jwks_refresh() -> Span {
    Span::seconds(300)
}

/// An outage of the provider over night must not stop the applications.
fn default_jwks_max_stale() -> Span {
    Span::seconds(24 * 3600)
}

/// Signature algorithms. Only asymmetric ones: with `HS…` a public key would be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// The way to a claim, outermost first. A text is one top-level claim, never split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ClaimPath {
    Top(String),
    Path(Vec<String>),
}

impl ClaimPath {
    fn top(name: &str) -> Self {
        Self::Top(name.to_owned())
    }

    pub fn steps(&self) -> &[String] {
        match self {
            Self::Top(name) => std::slice::from_ref(name),
            Self::Path(steps) => steps,
        }
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Top(String),
            Path(Vec<String>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Top(name) => Self::Top(name),
            Either::Path(steps) => Self::Path(steps),
        })
    }
}

impl JsonSchema for ClaimPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    /// One schema with two types and no `anyOf`, so that a fault can say what was expected.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": ["string", "array"],
            "minLength": 1,
            "minItems": 1,
            "items": {"type": "string", "minLength": 1},
        })
    }
}

/// The record of who called what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Where the journal's files (*.jsonl) go. Default: no files.
    pub directory: Option<PathBuf>,
    /// Also write every event to standard output.
    pub stdout: bool,
    /// memory: written within 100 ms. write: with the operating system before the caller sees
    /// the end of the response. fsync: on disk before the call goes to SageMaker, and again
    /// before the caller sees the end of the response.
    pub durability: Durability,
    /// A journal file is closed when it is this large.
    pub rotate_size: ByteSize,
    /// A journal file is closed when it is this old.
    pub rotate_age: Span,
    /// The Ed25519 key (PKCS#8, PEM) that signs the journal's heads. Default: not signed.
    pub signing_key: Option<PathBuf>,
    /// How many events may wait; requests wait when it is full.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: u32,
    /// Record pseudonyms of these, made with `pseudonym_key`.
    pub pseudonymize: Vec<Pseudonymized>,
    // As with `tls`: an empty key is a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PseudonymKey")]
    pub pseudonym_key: Option<PseudonymKey>,
    /// Leave these out of the record.
    pub omit: Vec<Omit>,
    #[serde(skip_serializing_if = "Sinks::is_empty")]
    pub sinks: Sinks,
    /// How much of the journal may be unshipped; beyond it requests are refused with 503.
    pub spool: ByteSize,
    /// refuse: the bound is for what is unshipped. drop_oldest_shipped: it is for all files,
    /// and the oldest that every sink has make room. What is unshipped is never removed.
    pub spool_full: SpoolFull,
    /// Remove files that are this old and that every sink has. Default: keep them.
    pub retention: Option<Span>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            // A container's root is read-only as a rule, and its output is collected.
            directory: None,
            stdout: true,
            // Survives the process, and costs no disk access in the request's path.
            durability: Durability::Write,
            // Small enough to ship and search, large enough to be few.
            rotate_size: ByteSize(256 << 20),
            // A day's records in files of that day, also where little is called.
            rotate_age: Span::seconds(24 * 3600),
            signing_key: None,
            // About a second of full load; 8192 events are some 16 MiB at worst.
            queue: 8192,
            // Who called is what the record is for; the law may want less of it.
            pseudonymize: Vec::new(),
            pseudonym_key: None,
            omit: Vec::new(),
            sinks: Sinks::default(),
            // Some five million events: hours of an outage at full load.
            spool: ByteSize(10 << 30),
            // The journal on disk is the record until somebody says otherwise.
            spool_full: SpoolFull::Refuse,
            retention: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SpoolFull {
    Refuse,
    DropOldestShipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Durability {
    Memory,
    Write,
    Fsync,
}

/// The gateway's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: Level,
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        // One line a request, for machines; a person at a terminal writes `text`.
        Self { level: Level::Info, format: Format::Json }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Format {
    Json,
    Text,
}

/// Ways out of safety. Each is off, and every start warns about each that is on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Danger {
    /// Take tokens over plaintext beyond loopback. For a service mesh that encrypts itself.
    pub plaintext_listener: bool,
    /// Fetch an issuer's keys over http:// beyond loopback: whoever is on the way can make keys.
    pub http_issuers: bool,
    /// Send bodies to an http:// runtime_url beyond loopback.
    pub http_runtime_url: bool,
    /// Serve probes and metrics beyond loopback, to be scraped from other pods.
    pub public_admin: bool,
    /// Ask a redis:// store beyond loopback: its password crosses the network in plaintext.
    pub plaintext_limit_store: bool,
    /// Ship the record over http:// beyond loopback.
    pub http_sinks: bool,
}
