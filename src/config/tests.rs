//! The whole way from text to `Loaded`, and from broken text to the words a user reads.

use std::fs;
use std::path::Path;

use super::*;
use crate::telemetry::metrics::Metrics;

mod access;
mod files;
mod gateway;
mod limits;
mod properties;
mod shape;
mod typed;

const GOOD: &str = "server: { listen: 127.0.0.1:0 }\nissuers:\n  corp: { issuer: https://idp.example.com, audiences: [sagegate] }\n";

fn env(name: &str) -> Option<String> {
    (name == "IDP").then(|| "https://idp.example.com".to_owned())
}

/// Nothing here looks at the metrics.
pub(super) fn load(path: &Path, env: &Environment<'_>) -> Result<Loaded, Faults> {
    super::load(path, env, &Metrics::new().unwrap())
}

fn load_texts(gateway: &str, access: &str) -> Result<Loaded, Faults> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sagegate.yaml"), gateway).unwrap();
    fs::write(dir.path().join("access.yaml"), access).unwrap();
    load(&dir.path().join("sagegate.yaml"), &env)
}

/// What a user would read, with the test's folder taken out.
fn told(gateway: &str, access: &str) -> String {
    let faults = load_texts(gateway, access).map(|_| ()).unwrap_err();
    let dir = faults.iter().next().unwrap().file.parent().unwrap().display().to_string();
    faults.to_string().replace(&format!("{dir}/"), "")
}

fn in_gateway(more: &str) -> String {
    told(&format!("{GOOD}{more}"), "")
}

fn in_access(text: &str) -> String {
    told(GOOD, text)
}

#[test]
fn a_minimal_file_loads_with_the_documented_defaults() {
    let loaded = load_texts(GOOD, "").unwrap();
    let issuer = &loaded.issuers[0];
    assert_eq!((loaded.max_body, loaded.body_memory), (26_214_400, 268_435_456));
    assert_eq!(issuer.token_types, ["jwt", "at+jwt"]);
    assert_eq!(issuer.groups_claim, ["groups"]);
    assert!(loaded.dangers.is_empty() && loaded.ship.is_none());
    assert_eq!(loaded.sources.len(), 2);
}

#[test]
fn the_examples_load_without_a_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(&root.join("config/sagegate.yaml"), &|_| None);
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.access.roles.len(), 4);
    assert_eq!(loaded.limits.teams.len(), 2);
    assert!(loaded.policy.cedar().contains("production-targets.cedar"));
    assert!(loaded.dangers.is_empty());
}

#[test]
fn shape_faults_of_both_files_and_faults_of_meaning_come_together() {
    let gateway = "\
server: { listen: 127.0.0.1:0, max_bodi: 1MiB, drain_timeout: 30 }
issuers:
  corp:
    issuer: http://idp.example.com
    audience: [sagegate]
  ext:
    issuer: https://ext.example.com
    audiences: sagegate
    algorithms: [RS265, HS256]
aws: { runtime_url: \"https://x.example.com/path\", region: \"${NOPE}\" }
audit: { rotate_age: 0s, queue: 0 }
";
    let access = "\
roles:
  caller:
    permit: [{ actions: [InvokeEndpoints], endpoints: ['a_b'] }]
bindings:
  - { groups: [corp/ds, crop/ds, ds], roles: [coller] }
";
    insta::assert_snapshot!(told(gateway, access), @r#"
access.yaml:3:26: roles.caller.permit[0].actions[0]: `InvokeEndpoints` is not one of InvokeEndpoint, InvokeEndpointWithResponseStream, InvokeEndpointAsync, GetAsyncResult, DescribeEndpoint, ListEndpoints
  hint: did you mean `InvokeEndpoint`?
access.yaml:3:56: roles.caller.permit[0].endpoints[0]: `a_b` matches no endpoint's name
  hint: letters, digits, `-`, and `*` for any characters
access.yaml:5:25: bindings[0].groups[1]: there is no issuer `crop`
  hint: did you mean `corp`?
access.yaml:5:34: bindings[0].groups[2]: `ds` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:5:47: bindings[0].roles[0]: there is no role `coller`
  hint: did you mean `caller`?
sagegate.yaml:1:32: server.max_bodi: unknown key
  hint: did you mean `max_body`?
sagegate.yaml:1:63: server.drain_timeout: expected a time span such as `30s` (units: ms, s, m or min, h, d), found the number 30
sagegate.yaml:4:5: issuers.corp.audiences: this key is required
sagegate.yaml:4:13: issuers.corp.issuer: `http://` is for loopback addresses
  hint: use https, or spell out `danger: { http_issuers: true }`
sagegate.yaml:5:5: issuers.corp.audience: unknown key
  hint: did you mean `audiences`?
sagegate.yaml:8:16: issuers.ext.audiences: expected a list, found `sagegate`
  hint: write `[sagegate]`
sagegate.yaml:9:18: issuers.ext.algorithms[0]: `RS265` is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
  hint: did you mean `RS256`?
sagegate.yaml:9:25: issuers.ext.algorithms[1]: `HS256` is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
  hint: tokens without an asymmetric signature are never accepted
sagegate.yaml:10:21: aws.runtime_url: a runtime URL has no path: the path comes from the call
sagegate.yaml:10:59: aws.region: the environment has no variable `NOPE`
  hint: set it, or write `$$` for a plain `$`
sagegate.yaml:11:22: audit.rotate_age: must not be zero
sagegate.yaml:11:33: audit.queue: must be at least 1
"#);
}
