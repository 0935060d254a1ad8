//! A question to the policy and its answer: the decision travels with its grounds, so that
//! the record and `explain` say what enforcement used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::permit::{DenialReason, Grounds};
use crate::names::{Action, Endpoint, Group, Team, User};
use crate::sagemaker::{HeaderText, Targets};

/// Who asks for what, from where and when.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub user: &'a User,
    pub groups: &'a [Group],
    pub action: Action,
    pub endpoint: &'a Endpoint,
    pub targets: TargetNames<'a>,
    pub source: IpAddr,
    /// The team that the caller wants the call charged to.
    pub team: Option<&'a str>,
    /// The token's `jti`, for revocation.
    pub token_id: Option<&'a str>,
    /// Tags to decide by instead of the endpoint's own (`explain --tag`).
    pub tags: Option<&'a BTreeMap<String, String>>,
    pub now: SystemTime,
}

/// What a request names below its endpoint, as the caller wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetNames<'a> {
    pub variant: Option<&'a str>,
    pub model: Option<&'a str>,
    pub inference_component: Option<&'a str>,
    pub container_hostname: Option<&'a str>,
    pub input_location: Option<&'a str>,
    pub output_extension: Option<&'a str>,
}

impl<'a> From<&'a Targets> for TargetNames<'a> {
    fn from(targets: &'a Targets) -> Self {
        fn text(value: Option<&HeaderText>) -> Option<&str> {
            value.map(HeaderText::as_str)
        }
        Self {
            variant: text(targets.variant.as_ref()),
            model: text(targets.model.as_ref()),
            inference_component: text(targets.inference_component.as_ref()),
            container_hostname: text(targets.container_hostname.as_ref()),
            input_location: text(targets.input_location.as_ref()),
            output_extension: text(targets.output_extension.as_ref()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Permit,
    Deny(DenialReason),
}

/// The answer, and why. Serializes as `explain` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The team that the call is charged to: the one that the caller named, or the first of
    /// its teams, in file order.
    pub team: Option<Team>,
    pub grounds: Grounds,
}

impl Verdict {
    pub fn is_permit(&self) -> bool {
        self.outcome == Outcome::Permit
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (decision, reason) = match self.outcome {
            Outcome::Permit => ("permit", None),
            Outcome::Deny(reason) => ("deny", Some(reason.as_str())),
        };
        let roles: Vec<_> = self.grounds.roles.iter().map(|role| role.as_str()).collect();
        let mut object = serializer.serialize_struct("Verdict", 7)?;
        object.serialize_field("decision", decision)?;
        object.serialize_field("reason", &reason)?;
        object.serialize_field("policies", &self.grounds.policies)?;
        object.serialize_field("errors", &self.grounds.errors)?;
        object.serialize_field("roles", &roles)?;
        object.serialize_field("team", &self.team.as_ref().map(Team::as_str))?;
        object.serialize_field("policy_version", &self.grounds.policy_version)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Role;

    #[test]
    fn a_verdict_prints_as_explain_shows_it() {
        let grounds = Grounds {
            policies: ["role:r:forbid:0".into()].into(),
            errors: [].into(),
            roles: [Role::new("r")].into(),
            policy_version: "sha256:ab".into(),
        };
        let outcome = Outcome::Deny(DenialReason::Forbidden);
        let verdict = Verdict { outcome, team: Some(Team::new("fraud")), grounds };
        let expected = serde_json::json!({
            "decision": "deny", "reason": "forbidden", "policies": ["role:r:forbid:0"],
            "errors": [], "roles": ["r"], "team": "fraud", "policy_version": "sha256:ab",
        });
        assert_eq!(serde_json::to_value(&verdict).unwrap(), expected);
        let permit = Verdict { outcome: Outcome::Permit, ..verdict };
        let shown = serde_json::to_value(&permit).unwrap();
        assert_eq!((&shown["decision"], &shown["reason"]), (&"permit".into(), &None::<()>.into()));
    }
}
