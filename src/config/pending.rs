//! Copies of the rooms' runtime types, until those rooms are merged; then this file goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::names::{Action, Group, Issuer, Role, Team, User};

// identity
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    pub name: Issuer,
    pub url: String,
    pub audiences: Vec<String>,
    pub audience_claim: String,
    pub algorithms: Vec<Algorithm>,
    pub token_types: Vec<String>,
    pub groups_claim: Vec<String>,
    pub user_claim: Vec<String>,
    pub required_claims: BTreeMap<String, String>,
    pub leeway: Duration,
    pub max_token_age: Duration,
    pub jwks_url: Option<String>,
    pub jwks_refresh: Duration,
    pub jwks_max_stale: Duration,
    pub ca: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

// policy
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub roles: Vec<RoleRules>,
    pub bindings: Vec<Binding>,
    pub teams: Vec<TeamMembers>,
    pub revoked: Revoked,
    pub endpoints: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRules {
    pub name: Role,
    pub description: String,
    pub permit: Vec<Rule>,
    pub forbid: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub actions: Vec<Action>,
    pub endpoints: Vec<Pattern>,
    pub when: When,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    pub tags: BTreeMap<String, Vec<Pattern>>,
    pub target_variants: Option<Vec<Pattern>>,
    pub target_models: Option<Vec<Pattern>>,
    pub inference_components: Option<Vec<Pattern>>,
    pub container_hostnames: Option<Vec<Pattern>>,
    pub input_locations: Option<Vec<Pattern>>,
    pub output_extensions: Option<Vec<Pattern>>,
    pub source_ips: Option<Vec<IpNet>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub groups: Vec<Group>,
    pub users: Vec<User>,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamMembers {
    pub name: Team,
    pub groups: Vec<Group>,
    pub users: Vec<User>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub users: BTreeSet<User>,
    pub token_ids: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    pub name: String,
    pub text: String,
}

// limits
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamLimits {
    pub team: Team,
    pub limits: Vec<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests { per: NonZeroU32, window: Duration, burst: NonZeroU32 },
    Concurrency(NonZeroU32),
}

// server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

// upstream
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfig {
    pub region: Option<String>,
    pub runtime_url: Option<String>,
    pub fips: bool,
    pub dual_stack: bool,
    pub ca: Option<Vec<u8>>,
    pub timeouts: Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub response_head: Duration,
    pub stream_idle: Duration,
    pub stream: Duration,
}

// audit
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    pub directory: Option<PathBuf>,
    pub stdout: bool,
    pub durability: Durability,
    pub rotate_size: u64,
    pub queue: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Memory,
    Write,
}
