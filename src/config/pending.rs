//! The rooms' runtime types.

use std::net::SocketAddr;

pub use crate::audit::{Durability, JournalConfig};
pub use crate::identity::{Algorithm, IssuerConfig};
pub use crate::limits::{Limit, TeamLimits};
pub use crate::policy::{
    Access, Binding, Pattern, PolicyFile, Revoked, RoleRules, Rule, TeamMembers, When,
};
pub use crate::server::TlsFiles;
pub use crate::upstream::Timeouts;

/// `server:`, as far as the listener wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
}

/// `aws:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfig {
    pub region: Option<String>,
    pub runtime_url: Option<String>,
    pub fips: bool,
    pub dual_stack: bool,
    pub ca: Option<Vec<u8>>,
    pub timeouts: Timeouts,
}
