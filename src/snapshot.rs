//! Everything one request may read of what the operator configured, immutable.
//!
//! A request takes one `Arc<Snapshot>` at the door and never looks at shared configuration
//! again, so that a reload cannot give it one half of each of two configurations.

use std::sync::Arc;

use crate::identity::Authenticator;
use crate::limits::{Concurrency, Limits};
use crate::policy::Policy;
use crate::upstream::{BodyLimits, Upstream};

/// One configuration, compiled. Counts and caches inside move; what they are held to does not.
#[derive(Debug)]
pub struct Snapshot {
    /// Everybody's requests at once.
    pub requests: Arc<Concurrency>,
    pub identity: Authenticator,
    pub policy: Policy,
    pub limits: Limits,
    pub bodies: BodyLimits,
    pub upstream: Upstream,
}
