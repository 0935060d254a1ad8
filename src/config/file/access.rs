//! `access.yaml` as typed. It belongs to whoever answers for access.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteRate, Named, Network, Rate};

/// access.yaml: who may do what. Whatever no role permits is denied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// What one may do, under a name.
    pub roles: Named<Role>,
    /// Who has which roles.
    pub bindings: Vec<Binding>,
    /// Who shares limits. A call is charged to the first of the caller's teams, as listed, or
    /// to the one that it names in X-Sagegate-Team.
    pub teams: Named<Team>,
    /// Limits for everybody, on top of each team's.
    pub limits: Vec<Limit>,
    /// For callers of no team, who share its limits as one team would.
    pub default_team: DefaultTeam,
    /// Where days begin and end for limits `/day`, such as `Europe/Berlin`. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Facts about endpoints that conditions can ask for.
    pub endpoints: Named<EndpointFacts>,
    /// Who is shut out now, whatever their token says.
    pub revoked: Revoked,
}

/// Permits and forbids; a forbid of any role beats every permit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Role {
    /// For people; it appears in `sagegate explain`.
    pub description: String,
    pub permit: Vec<Rule>,
    pub forbid: Vec<Rule>,
}

/// Some actions on some endpoints under some conditions. Conditions add up (and), the values
/// of one are alternatives (or).
// No key may be left empty (`actions:` with every item commented out is YAML's null): the
// narrowing that its author meant would be gone without a word. So the schema has no null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Default: every action.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Action>", length(min = 1))]
    pub actions: Option<Vec<Action>>,
    /// Endpoint names; `*` stands for any characters. A permit must name its endpoints; a
    /// forbid without them is for every endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub endpoints: Option<Vec<String>>,
    pub when: When,
}

/// SageMaker's operations, and the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Action {
    InvokeEndpoint,
    InvokeEndpointWithResponseStream,
    InvokeEndpointAsync,
    GetAsyncResult,
    DescribeEndpoint,
    ListEndpoints,
}

/// Patterns, `*` the only wildcard.
pub type Patterns = Option<Vec<String>>;

/// Conditions. One on a target matches only a request that names the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The endpoint's tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
    /// X-Amzn-SageMaker-Target-Variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub target_variants: Patterns,
    /// X-Amzn-SageMaker-Target-Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub target_models: Patterns,
    /// X-Amzn-SageMaker-Inference-Component.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub inference_components: Patterns,
    /// X-Amzn-SageMaker-Target-Container-Hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub container_hostnames: Patterns,
    /// X-Amzn-SageMaker-InputLocation: s3://bucket/prefix/*.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub input_locations: Patterns,
    /// X-Amzn-SageMaker-S3OutputPathExtension.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub output_extensions: Patterns,
    /// Networks or single addresses that the call may come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Network>", length(min = 1))]
    pub source_ips: Option<Vec<Network>>,
}

/// Gives roles to groups and users, each spelled `issuer/name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["roles"]))]
pub struct Binding {
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub users: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub roles: Vec<String>,
}

/// Members share the team's limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Team {
    pub groups: Vec<String>,
    pub users: Vec<String>,
    pub limits: Vec<Limit>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultTeam {
    pub limits: Vec<Limit>,
}

/// One limit: exactly one of `requests`, `body_bytes`, `inference_seconds` and `concurrency`,
/// and for which calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// Bytes of request bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<ByteRate>,
    /// Seconds that calls keep SageMaker busy, from sending one to the end of its answer.
    /// Charged when a call ends; when they are used up, the next one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_seconds: Option<Rate>,
    /// How many may come at once, for `requests` and `inference_seconds` per s, min or hour.
    /// Default: one window's worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub burst: Option<u32>,
    /// How many may be open at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub concurrency: Option<u32>,
    /// Who has a count of their own. Default: all whom the limit is for share one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Endpoint names; `*` stands for any characters. Default: every endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub endpoints: Option<Vec<String>>,
    /// Default: every operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Action>", length(min = 1))]
    pub operations: Option<Vec<Action>>,
}

/// `role` is the caller's first, in the order of `roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Per {
    User,
    Team,
    Role,
    Endpoint,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointFacts {
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revoked {
    /// `issuer/name`.
    pub users: Vec<String>,
    /// The tokens' `jti`.
    pub token_ids: Vec<String>,
}
