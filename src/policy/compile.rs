//! WIP
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::access::{Access, PolicyFault, PolicyFile};
use super::permit::{Denial, DenialReason, Grounds, Permit};
use super::verdict::{Outcome, Query, Verdict};
use crate::identity::Principal;
use crate::sagemaker::Call;
use crate::telemetry::metrics::Metrics;

#[derive(Debug)]
pub struct Policy {
    version: Arc<str>,
}

impl Policy {
    /// # Errors
    /// wip
    pub fn compile(
        _access: Access,
        _files: &[PolicyFile],
        _metrics: &Metrics,
    ) -> Result<Self, Vec<PolicyFault>> {
        Ok(Self { version: "sha256:".into() })
    }

    /// # Errors
    /// wip
    pub fn authorize(
        &self,
        principal: Arc<Principal>,
        call: Call,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Permit, Denial> {
        let query = Query {
            user: principal.user(),
            groups: principal.groups(),
            action: call.action(),
            endpoint: call.endpoint(),
            targets: call.targets().into(),
            source,
            token_id: principal.token_id(),
            tags: None,
            now,
        };
        let verdict = Arc::new(self.decide(&query));
        match verdict.outcome {
            Outcome::Permit => Ok(Permit { principal, call, source, verdict }),
            Outcome::Deny(reason) => Err(Denial { reason, principal, call, verdict }),
        }
    }

    pub fn decide(&self, _query: &Query<'_>) -> Verdict {
        Verdict {
            outcome: Outcome::Deny(DenialReason::NoPermit),
            team: None,
            grounds: Grounds::default(),
        }
    }

    pub fn cedar(&self) -> String {
        String::new()
    }

    pub fn version(&self) -> &Arc<str> {
        &self.version
    }
}
