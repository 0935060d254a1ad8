//! The whole way from text to `Loaded`, and from broken text to the words a user reads.

use std::fs;
use std::path::Path;

use super::file::gateway::Gateway;
use super::*;
use crate::telemetry::metrics::Metrics;

mod properties;
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
    assert!(loaded.dangers.is_empty() && loaded.journal.stdout);
    assert_eq!(loaded.sources.len(), 2);
}

#[test]
fn the_examples_load_without_a_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(&root.join("config/sagegate.yaml"), &|_| None);
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.access.roles.len(), 4);
    assert_eq!(loaded.limits.len(), 2);
    assert!(loaded.policy.cedar().contains("production-targets.cedar"));
    assert!(loaded.dangers.is_empty());
}

#[test]
fn texts_load_as_files_do_and_never_from_the_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let names = ["sagegate.yaml", "access.yaml", "policies/production-targets.cedar"];
    let files = names.map(|name| (root.join(name), fs::read(root.join(name)).unwrap()));
    let main = root.join(names[0]);
    let load_texts = |files| load::load_texts(files, &main, &env, &Metrics::new().unwrap());
    let texts = load_texts(files.clone().into()).unwrap_or_else(|faults| panic!("{faults}"));
    let disk = load(&main, &env).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(texts.policy.version(), disk.policy.version());
    assert_eq!((texts.sources, texts.access), (disk.sources, disk.access));

    let without_access = files.into_iter().filter(|(path, _)| !path.ends_with("access.yaml"));
    let faults = load_texts(without_access.collect()).map(|_| ()).unwrap_err();
    assert!(faults.to_string().ends_with("access.yaml: cannot be read: there is no such file"));
}

/// The example says which values are defaults: here it is held to that.
#[test]
fn the_example_spells_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sagegate.yaml");
    let text = fs::read_to_string(&root).unwrap();
    let mut faults = Faults::default();
    let tree = yaml::parse(&root, &text, &mut faults).unwrap();
    let spelled: Gateway = serde::Deserialize::deserialize(&tree).unwrap();
    let minimal = yaml::parse(&root, GOOD, &mut faults).unwrap();
    let mut default: Gateway = serde::Deserialize::deserialize(&minimal).unwrap();
    default.server.listen = "127.0.0.1:8080".parse().unwrap();
    default.aws.region = Some("us-east-1".to_owned());
    default.policies = Some("policies/".into());
    default.issuers.0[0].1.issuer = "https://idp.example.com/realms/acme".to_owned();
    assert_eq!(spelled, default);
}

#[test]
fn names_keep_the_order_of_the_file() {
    let access = "teams:\n  zebra: { groups: [corp/z] }\n  ant: { groups: [corp/a] }\n";
    let loaded = load_texts(GOOD, access).unwrap();
    let names: Vec<_> = loaded.access.teams.iter().map(|team| team.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant"]);
}

#[test]
fn the_environment_fills_values_in() {
    let text = GOOD.replace("https://idp.example.com", "\"${IDP}/realms/a\"");
    let loaded = load_texts(&text, "").unwrap();
    assert_eq!(loaded.issuers[0].url, "https://idp.example.com/realms/a");
}

#[test]
fn algorithms_and_actions_are_those_of_the_rooms() {
    use crate::names::Action;
    let actions = Action::ALL.map(Action::as_str).join(", ");
    let access =
        format!("roles: {{ r: {{ permit: [{{ actions: [{actions}], endpoints: ['*'] }}] }} }}");
    let loaded = load_texts(GOOD, &access).unwrap();
    assert_eq!(loaded.access.roles[0].permit[0].actions, Action::ALL);
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
audit: { durability: fsync, queue: 0 }
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
sagegate.yaml:11:22: audit.durability: `fsync` is not available in this version
  hint: `write` survives the process, though not the machine
sagegate.yaml:11:36: audit.queue: must be at least 1
"#);
}

#[test]
fn gateway_faults_in_their_words() {
    let cases = [
        "danger: { plaintext: true }",
        "danger: yes",
        "admin: { listen: 0.0.0.0:9090 }",
        "admin: { listen: 9090 }",
        "audit: { stdout: false }",
        "audit: { rotate_size: 256MB }",
        "audit:",
        "log: { level: verbose }",
        "log: { level: 3 }",
        "aws: { timeouts: { connect: 0s } }",
        "aws: { runtime_url: \"http://10.0.0.1\", fips: true }",
        "aws: { runtime_url: \"https://user@host\" }",
        "aws: { ca: none.pem }",
        "policies: none/",
        "access: [a]",
    ];
    let mut all: Vec<_> =
        cases.iter().map(|more| format!("# {more}\n{}", in_gateway(more))).collect();
    for whole in ["issuers: {}", "admin: { listen: '10.0.0.1:1' }", "issuers: [a]\nserver: {}"] {
        all.push(format!("# only {whole}\n{}", told(whole, "bindings: []")));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
# danger: { plaintext: true }
sagegate.yaml:4:11: danger.plaintext: unknown key
  hint: known here: plaintext_listener, http_issuers, http_runtime_url, public_admin
# danger: yes
sagegate.yaml:4:9: danger: expected a map, found `yes`
# admin: { listen: 0.0.0.0:9090 }
sagegate.yaml:4:18: admin.listen: the admin listener has no authentication, and its metrics name endpoints and teams
  hint: keep it on 127.0.0.1, or, to be probed and scraped from other pods, spell out `danger: { public_admin: true }`
# admin: { listen: 9090 }
sagegate.yaml:4:18: admin.listen: expected an address and a port such as `0.0.0.0:8443` or `[::]:8443`, found the number 9090
# audit: { stdout: false }
sagegate.yaml:4:8: audit: the record has nowhere to go
  hint: give `directory`, or leave `stdout` on
# audit: { rotate_size: 256MB }
sagegate.yaml:4:23: audit.rotate_size: expected a size such as `25MiB` (units: B, KiB, MiB, GiB), found `256MB`
# audit:
sagegate.yaml:4:6: audit: expected a map, found nothing
  hint: give it a value, or leave the key out
# log: { level: verbose }
sagegate.yaml:4:15: log.level: `verbose` is not one of error, warn, info, debug, trace
# log: { level: 3 }
sagegate.yaml:4:15: log.level: expected one of error, warn, info, debug, trace, found the number 3
# aws: { timeouts: { connect: 0s } }
sagegate.yaml:4:29: aws.timeouts.connect: must not be zero
# aws: { runtime_url: "http://10.0.0.1", fips: true }
sagegate.yaml:4:21: aws.runtime_url: `http://` is for loopback addresses
  hint: use https, or spell out `danger: { http_runtime_url: true }`
sagegate.yaml:4:46: aws.fips: chooses the region's host, and `runtime_url` gives another one
# aws: { runtime_url: "https://user@host" }
sagegate.yaml:4:21: aws.runtime_url: a URL here has no user, no query and no fragment
# aws: { ca: none.pem }
sagegate.yaml:4:12: aws.ca: cannot read `none.pem`: there is no such file
# policies: none/
sagegate.yaml:4:11: policies: cannot read the directory `none/`: there is no such file
# access: [a]
sagegate.yaml:4:9: access: expected a text, found a list
# only issuers: {}
sagegate.yaml:1:1: server.listen: without `tls`, tokens would cross the network in plaintext
  hint: give `server.tls`, listen on 127.0.0.1 as a sidecar does, or spell out `danger: { plaintext_listener: true }`
sagegate.yaml:1:10: issuers: must not be empty
# only admin: { listen: '10.0.0.1:1' }
sagegate.yaml:1:1: issuers: this key is required
sagegate.yaml:1:1: server.listen: without `tls`, tokens would cross the network in plaintext
  hint: give `server.tls`, listen on 127.0.0.1 as a sidecar does, or spell out `danger: { plaintext_listener: true }`
sagegate.yaml:1:18: admin.listen: the admin listener has no authentication, and its metrics name endpoints and teams
  hint: keep it on 127.0.0.1, or, to be probed and scraped from other pods, spell out `danger: { public_admin: true }`
# only issuers: [a]
server: {}
sagegate.yaml:1:10: issuers: expected a map, found a list
sagegate.yaml:2:9: server.listen: without `tls`, tokens would cross the network in plaintext
  hint: give `server.tls`, listen on 127.0.0.1 as a sidecar does, or spell out `danger: { plaintext_listener: true }`
"#);
}

#[test]
fn issuer_faults_in_their_words() {
    let cases = [
        "issuer: https://a.example.com, audiences: []",
        "issuer: https://a.example.com, audiences: [a], algorithms: [none]",
        "issuer: https://idp.example.com, audiences: [a]",
        "issuer: idp, audiences: [a], groups_claim: []",
        "issuer: 'https://a.example.com?x', audiences: [1]",
        "issuer: http://127.0.0.1:1, audiences: [a], jwks_url: http://a.example.com",
        "issuer: https://a.example.com, audiences: [a], leeway: 1h, jwks_refresh: 0s, groups_claim: 3",
        "issuer: https://a.example.com, audiences: [a], jwks_max_stale: 1m",
    ];
    let told: Vec<_> = cases
        .iter()
        .map(|case| format!("# {case}\n{}", in_gateway(&format!("  other: {{ {case} }}\n"))))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
# issuer: https://a.example.com, audiences: []
sagegate.yaml:4:54: issuers.other.audiences: must not be empty
# issuer: https://a.example.com, audiences: [a], algorithms: [none]
sagegate.yaml:4:72: issuers.other.algorithms[0]: `none` is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
  hint: tokens without an asymmetric signature are never accepted
# issuer: https://idp.example.com, audiences: [a]
sagegate.yaml:4:20: issuers.other.issuer: `corp` has this issuer already
# issuer: idp, audiences: [a], groups_claim: []
sagegate.yaml:4:20: issuers.other.issuer: expected a URL
  hint: it begins with `https://`
sagegate.yaml:4:55: issuers.other.groups_claim: must not be empty
# issuer: 'https://a.example.com?x', audiences: [1]
sagegate.yaml:4:20: issuers.other.issuer: a URL here has no user, no query and no fragment
sagegate.yaml:4:59: issuers.other.audiences[0]: expected a text, found the number 1
  hint: write `"1"`
# issuer: http://127.0.0.1:1, audiences: [a], jwks_url: http://a.example.com
sagegate.yaml:4:66: issuers.other.jwks_url: `http://` is for loopback addresses
  hint: use https, or spell out `danger: { http_issuers: true }`
# issuer: https://a.example.com, audiences: [a], leeway: 1h, jwks_refresh: 0s, groups_claim: 3
sagegate.yaml:4:67: issuers.other.leeway: must be at most 10m: expired tokens work for as long
sagegate.yaml:4:85: issuers.other.jwks_refresh: must not be zero
sagegate.yaml:4:103: issuers.other.groups_claim: expected a text or a list, found the number 3
  hint: write `"3"`
# issuer: https://a.example.com, audiences: [a], jwks_max_stale: 1m
sagegate.yaml:4:75: issuers.other.jwks_max_stale: is less than `jwks_refresh`, 5m: keys would always be stale
"#);
}

#[test]
fn access_faults_in_their_words() {
    let cases = [
        "roles: { r: {} }",
        "roles: { r: { permit: [{ actions: [InvokeEndpoint] }] } }",
        "roles: { r: { permit: [{ endpoints: [] }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tag: {} } }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: b } } }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: [] }, source_ips: [10.0.0.0/33] } }] } }",
        "roles: { r: { forbid: [{ endpoints: [''] }] } }",
        "bindings: [{ roles: [r] }]",
        "bindings: [{ groups: [corp/a], roles: [] }]",
        "bindings: [{ groups: [corp/, /a, ''], roles: [r] }]\nroles: { r: { forbid: [{}] } }",
        "teams: { t: {} }",
        "teams: { t: { users: [corp/a], limits: [{}] } }",
        "teams: { t: { users: [corp/a], limits: [{ requests: 0/s }, { burst: 3 }, { concurrency: 0 }] } }",
        "teams: { t: { users: [corp/a], limits: [{ requests: 5/s, concurrency: 3 }, { tokens: 5 }, { requests: 5 }] } }",
        "teams: { t: { users: [corp/a] }, t: { users: [corp/b] } }",
        "endpoints: { a_b: {}, Fraud: {}, fraud: { tag: {} } }",
        "revoked: { users: [mallory], token_ids: [12] }",
        "roles: [",
        "- a",
        "nonsense",
    ];
    let told: Vec<_> = cases.iter().map(|text| format!("# {text}\n{}", in_access(text))).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
# roles: { r: {} }
access.yaml:1:10: roles.r: the role neither permits nor forbids
  hint: give it a `permit`
# roles: { r: { permit: [{ actions: [InvokeEndpoint] }] } }
access.yaml:1:24: roles.r.permit[0]: a permit names its `endpoints`
  hint: `["*"]` is every endpoint
# roles: { r: { permit: [{ endpoints: [] }] } }
access.yaml:1:37: roles.r.permit[0].endpoints: must not be empty
# roles: { r: { permit: [{ endpoints: ['*'], when: { tag: {} } }] } }
access.yaml:1:52: roles.r.permit[0].when.tag: unknown key
  hint: did you mean `tags`?
# roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: b } } }] } }
access.yaml:1:63: roles.r.permit[0].when.tags.a: expected a list, found `b`
  hint: write `[b]`
# roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: [] }, source_ips: [10.0.0.0/33] } }] } }
access.yaml:1:63: roles.r.permit[0].when.tags.a: must not be empty
access.yaml:1:82: roles.r.permit[0].when.source_ips[0]: expected a network such as `10.0.0.0/8`, or one address, found `10.0.0.0/33`
# roles: { r: { forbid: [{ endpoints: [''] }] } }
access.yaml:1:38: roles.r.forbid[0].endpoints[0]: `` matches no endpoint's name
  hint: letters, digits, `-`, and `*` for any characters
# bindings: [{ roles: [r] }]
access.yaml:1:12: bindings[0]: the binding is for nobody
  hint: give it `groups` or `users`
access.yaml:1:22: bindings[0].roles[0]: there is no role `r`
# bindings: [{ groups: [corp/a], roles: [] }]
access.yaml:1:39: bindings[0].roles: must not be empty
# bindings: [{ groups: [corp/, /a, ''], roles: [r] }]
roles: { r: { forbid: [{}] } }
access.yaml:1:23: bindings[0].groups[0]: `corp/` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:30: bindings[0].groups[1]: `/a` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:34: bindings[0].groups[2]: expected 1 to 1024 characters, none of them a control character
access.yaml:1:34: bindings[0].groups[2]: `` is not of the form `issuer/name`
  hint: such as `corp/alice`
# teams: { t: {} }
access.yaml:1:10: teams.t: the team is for nobody
  hint: give it `groups` or `users`
# teams: { t: { users: [corp/a], limits: [{}] } }
access.yaml:1:41: teams.t.limits[0]: a limit is either `requests` or `concurrency`
# teams: { t: { users: [corp/a], limits: [{ requests: 0/s }, { burst: 3 }, { concurrency: 0 }] } }
access.yaml:1:53: teams.t.limits[0].requests: must not be zero
  hint: to shut a team out, take its binding away
access.yaml:1:69: teams.t.limits[1].burst: `burst` goes with `requests`
access.yaml:1:89: teams.t.limits[2].concurrency: must be at least 1
# teams: { t: { users: [corp/a], limits: [{ requests: 5/s, concurrency: 3 }, { tokens: 5 }, { requests: 5 }] } }
access.yaml:1:41: teams.t.limits[0]: one limit is either `requests` or `concurrency`
  hint: write two limits
access.yaml:1:78: teams.t.limits[1].tokens: unknown key
  hint: known here: requests, burst, concurrency
access.yaml:1:103: teams.t.limits[2].requests: expected a rate such as `200/s` (per: s, min or minute, h or hour), found the number 5
# teams: { t: { users: [corp/a] }, t: { users: [corp/b] } }
access.yaml:1:34: teams.t: the same key a second time
  hint: the first is on line 1
# endpoints: { a_b: {}, Fraud: {}, fraud: { tag: {} } }
access.yaml:1:14: endpoints.a_b: is not an endpoint's name
  hint: at most 63 letters, digits and inner `-`
access.yaml:1:34: endpoints.fraud: the same endpoint a second time: case does not count
access.yaml:1:43: endpoints.fraud.tag: unknown key
  hint: did you mean `tags`?
# revoked: { users: [mallory], token_ids: [12] }
access.yaml:1:20: revoked.users[0]: `mallory` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:42: revoked.token_ids[0]: expected a text, found the number 12
  hint: write `"12"`
# roles: [
access.yaml:1:8: unclosed bracket '['
# - a
access.yaml:1:1: expected a map, found a list
# nonsense
access.yaml:1:1: expected a map, found `nonsense`
"#);
}

#[test]
fn plaintext_beyond_loopback_is_a_fault_unless_spelled() {
    let open = GOOD.replace("127.0.0.1:0", "0.0.0.0:0");
    insta::assert_snapshot!(told(&open, ""), @r#"
sagegate.yaml:1:19: server.listen: without `tls`, tokens would cross the network in plaintext
  hint: give `server.tls`, listen on 127.0.0.1 as a sidecar does, or spell out `danger: { plaintext_listener: true }`
"#);
    let loaded = load_texts(&format!("{open}danger: {{ plaintext_listener: true }}"), "").unwrap();
    assert_eq!(loaded.dangers, ["plaintext_listener"]);
}

#[test]
fn tls_takes_a_pair_of_real_pem_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write("tls.crt", &pair.cert.pem());
    write("tls.key", &pair.signing_key.serialize_pem());
    write("access.yaml", "");
    let with = |tls: &str| {
        let server = format!("{{ listen: 0.0.0.0:0, tls: {tls} }}");
        write("sagegate.yaml", &GOOD.replace("{ listen: 127.0.0.1:0 }", &server));
        load(&dir.path().join("sagegate.yaml"), &env)
            .map_err(|faults| faults.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    let loaded =
        with("{ certificate: tls.crt, private_key: tls.key, client_ca: tls.crt }").unwrap();
    assert_eq!(loaded.server.tls.unwrap().certificate, dir.path().join("tls.crt"));
    assert_eq!(loaded.sources.len(), 4);
    let bad = [
        "{ certificate: tls.crt }",
        "{ certificate: tls.key, private_key: tls.crt }",
        "{ certificate: none.crt, private_key: tls.key, client_ca: . }",
        "tls.crt",
    ];
    let told: Vec<_> = bad.iter().map(|tls| with(tls).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
sagegate.yaml:1:35: server.tls.private_key: this key is required
sagegate.yaml:1:50: server.tls.certificate: the file holds no certificate in PEM
sagegate.yaml:1:72: server.tls.private_key: the file holds no private key in PEM
sagegate.yaml:1:50: server.tls.certificate: cannot read `none.crt`: there is no such file
sagegate.yaml:1:93: server.tls.client_ca: cannot read `.`: it is not a file
sagegate.yaml:1:35: server.tls: expected a map, found `tls.crt`
"#);
}

#[test]
fn files_that_are_not_there_or_no_text_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sagegate.yaml");
    let told = || {
        let faults = load(&path, &env).map(|_| ()).unwrap_err().to_string();
        faults.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(told(), "sagegate.yaml: cannot be read: there is no such file");
    fs::write(&path, b"\xff\xfe\x00").unwrap();
    assert_eq!(told(), "sagegate.yaml: is not a text in UTF-8");
    fs::write(&path, GOOD).unwrap();
    assert_eq!(told(), "access.yaml: cannot be read: there is no such file");
    fs::write(dir.path().join("access.yaml"), "").unwrap();
    assert!(load(&path, &env).is_ok());
}

/// Ten thousand of each are a large company's file; one mistake made in all of them must not
/// take minutes to tell.
#[test]
fn a_large_file_with_a_fault_in_every_line_is_told_whole() {
    let roles: String = (0..2_000)
        .map(|n| format!("  r-{n}: {{ permit: [{{ endpoints: ['a_b'] }}] }}\n"))
        .collect();
    let bindings: String =
        (0..2_000).map(|n| format!("  - {{ groups: [corp/g], roles: [x-{n}] }}\n")).collect();
    let faults = load_texts(GOOD, &format!("roles:\n{roles}bindings:\n{bindings}")).unwrap_err();
    assert_eq!(faults.len(), 4_000);
}

#[test]
fn an_access_path_that_cannot_expand_is_one_fault() {
    insta::assert_snapshot!(in_gateway("access: ${NOPE}"), @r#"
sagegate.yaml:4:9: access: the environment has no variable `NOPE`
  hint: set it, or write `$$` for a plain `$`
"#);
}

/// A list whose items are all commented out is YAML's null. Read as "not given", it would
/// turn the narrowest of rules into the widest.
#[test]
fn a_part_of_a_rule_that_is_left_empty_is_a_fault_and_never_the_widest_rule() {
    let rule = |part: &str| {
        format!("roles:\n  a:\n    permit:\n      - endpoints: [\"*\"]\n        {part}\n")
    };
    for (part, good) in [
        ("actions:", " [InvokeEndpoint]"),
        ("when: { target_variants:", " [blue] }"),
        ("when: { target_models:", " [a.tar.gz] }"),
        ("when: { inference_components:", " [a] }"),
        ("when: { container_hostnames:", " [a] }"),
        ("when: { input_locations:", " [\"s3://a/*\"] }"),
        ("when: { output_extensions:", " [a] }"),
        ("when: { source_ips:", " [10.0.0.0/8] }"),
        ("when: { tags: { environment:", " [prod] } }"),
    ] {
        assert!(load_texts(GOOD, &rule(&format!("{part}{good}"))).is_ok(), "{part}");
        let closing: String = good.chars().filter(|c| *c == '}').collect();
        let told = in_access(&rule(&format!("{part} {closing}")));
        assert!(told.contains("expected a list, found nothing"), "{part}: {told}");
    }
    let told = in_access("roles: { a: { forbid: [{ endpoints: }] } }");
    assert!(told.contains("expected a list, found nothing"), "{told}");
}

#[test]
fn a_protection_that_is_left_empty_is_a_fault_and_never_off() {
    for (more, key) in [
        ("policies:", "policies"),
        ("server: { listen: 127.0.0.1:0, tls: }", "server.tls"),
        ("server: { tls: { certificate: a, private_key: b, client_ca: } }", "client_ca"),
    ] {
        let rest = GOOD.split_once('\n').unwrap().1;
        let told = told(&format!("{more}\n{rest}"), "");
        let fault = told.lines().find(|line| line.contains("found nothing"));
        assert!(fault.is_some_and(|fault| fault.contains(key)), "{more}: {told}");
    }
}

/// A ConfigMap's swap may come between two files of one load. The environment is asked after
/// the first file was read and before the second.
#[test]
fn files_that_change_while_they_are_read_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let write = |generation: &str| {
        let main = format!("{GOOD}aws: {{ region: \"${{X}}{generation}\" }}\n");
        let access = format!("revoked: {{ token_ids: [{generation}] }}\n");
        fs::write(dir.path().join("sagegate.yaml"), main).unwrap();
        fs::write(dir.path().join("access.yaml"), access).unwrap();
    };
    write("old");
    let asked = std::cell::Cell::new(0);
    let swap = |_: &str| {
        if asked.replace(asked.get() + 1) == 0 {
            write("new");
        }
        Some(String::new())
    };
    let loaded = load(&dir.path().join("sagegate.yaml"), &swap).unwrap();
    let revoked: Vec<_> = loaded.access.revoked.token_ids.iter().map(String::as_str).collect();
    assert_eq!((loaded.aws.region.as_deref(), revoked), (Some("new"), vec!["new"]));
}

/// A forbid on a group of a misspelt issuer would hold for nobody.
#[test]
fn a_policy_that_names_an_issuer_that_does_not_exist_is_a_fault() {
    let with = |policy: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        fs::write(dir.path().join("policies/a.cedar"), policy).unwrap();
        fs::write(dir.path().join("access.yaml"), "").unwrap();
        fs::write(dir.path().join("sagegate.yaml"), format!("{GOOD}policies: policies/\n"))
            .unwrap();
        load(&dir.path().join("sagegate.yaml"), &env).map(drop).map_err(|faults| faults.to_string())
    };
    for name in ["Group", "User"] {
        let forbid = |issuer: &str| {
            format!(
                "forbid (principal, action, resource) when {{ principal in {name}::\"{issuer}/a\" }};"
            )
        };
        assert_eq!(with(&forbid("corp")), Ok(()), "{name}");
        let told = with(&forbid("crop")).unwrap_err();
        assert!(told.contains("a policy names `crop/a`, and there is no issuer `crop`"), "{told}");
        assert!(told.contains("did you mean `corp`?"), "{told}");
    }
}
