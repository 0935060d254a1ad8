//! What `sagegate.yaml` may say: its defaults, its values, and its faults in a user's words.

use std::fs;
use std::path::Path;

use super::super::file::gateway::Gateway;
use super::super::{Faults, yaml};
use super::{GOOD, env, in_gateway, load, load_texts, told};

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
fn the_environment_fills_values_in() {
    let text = GOOD.replace("https://idp.example.com", "\"${IDP}/realms/a\"");
    let loaded = load_texts(&text, "").unwrap();
    assert_eq!(loaded.issuers[0].url, "https://idp.example.com/realms/a");
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
        "limits: { store: { redis: { url: \"redis://u:secret@10.0.0.1:6379\", tls: {} } } }",
        "limits: { store: { redis: { url: \"https://u:secret@h\", timeout: 0s } } }",
        "limits: { store: { redis: { url: \"rediss://u:sec#ret@h/a\", tls: { ca: none.pem } } } }",
        "limits: { store: { redis: { url: \"rediss://h/1\", cluster: true, tls: { certificate: none.pem } } } }",
        "limits: { store: { redis: \"rediss://u:secret@h\" } }",
        "limits: { store: { redis: {}, on_failure: local } }",
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
  hint: known here: plaintext_listener, http_issuers, http_runtime_url, public_admin, plaintext_limit_store, http_sinks
# danger: yes
sagegate.yaml:4:9: danger: expected a map, found `yes`
# admin: { listen: 0.0.0.0:9090 }
sagegate.yaml:4:18: admin.listen: the admin listener has no authentication, and its metrics name endpoints and teams
  hint: keep it on 127.0.0.1; probes have `admin.probes`, and to be scraped from other pods, spell out `danger: { public_admin: true }`
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
# limits: { store: { redis: { url: "redis://u:secret@10.0.0.1:6379", tls: {} } } }
sagegate.yaml:4:34: limits.store.redis.url: `redis://` is for loopback addresses
  hint: use `rediss://`, or spell out `danger: { plaintext_limit_store: true }`
sagegate.yaml:4:73: limits.store.redis.tls: the store is asked in plaintext
  hint: write `rediss://` in `url`
# limits: { store: { redis: { url: "https://u:secret@h", timeout: 0s } } }
sagegate.yaml:4:34: limits.store.redis.url: expected the URL of a Redis or Valkey server
  hint: such as `rediss://redis.example.com:6379`
sagegate.yaml:4:65: limits.store.redis.timeout: must not be zero
# limits: { store: { redis: { url: "rediss://u:sec#ret@h/a", tls: { ca: none.pem } } } }
sagegate.yaml:4:34: limits.store.redis.url: expected the URL of a Redis or Valkey server
  hint: such as `rediss://redis.example.com:6379`
sagegate.yaml:4:71: limits.store.redis.tls.ca: cannot read `none.pem`: there is no such file
# limits: { store: { redis: { url: "rediss://h/1", cluster: true, tls: { certificate: none.pem } } } }
sagegate.yaml:4:34: limits.store.redis.url: a cluster has no databases but 0
sagegate.yaml:4:70: limits.store.redis.tls: `certificate` and `private_key` go together
sagegate.yaml:4:85: limits.store.redis.tls.certificate: cannot read `none.pem`: there is no such file
# limits: { store: { redis: "rediss://u:secret@h" } }
sagegate.yaml:4:27: limits.store.redis: expected a map, found `…`
# limits: { store: { redis: {}, on_failure: local } }
sagegate.yaml:4:27: limits.store.redis.url: this key is required
sagegate.yaml:4:31: limits.store.on_failure: unknown key
  hint: known here: redis
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
  hint: keep it on 127.0.0.1; probes have `admin.probes`, and to be scraped from other pods, spell out `danger: { public_admin: true }`
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
fn an_access_path_that_cannot_expand_is_one_fault() {
    insta::assert_snapshot!(in_gateway("access: ${NOPE}"), @r#"
sagegate.yaml:4:9: access: the environment has no variable `NOPE`
  hint: set it, or write `$$` for a plain `$`
"#);
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

#[test]
fn pseudonyms_need_a_key_and_a_key_needs_a_use() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("access.yaml", "");
    write("good.key", &"k".repeat(32));
    write("short.key", "secret\n");
    let with = |audit: &str| {
        write("sagegate.yaml", &format!("{GOOD}audit: {{ {audit} }}\n"));
        load(&dir.path().join("sagegate.yaml"), &env)
            .map_err(|faults| faults.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    let good = "pseudonymize: [user], pseudonym_key: { name: 2026-11, file: good.key }";
    let loaded = with(good).unwrap();
    let pseudonyms = loaded.journal.privacy.pseudonyms.unwrap();
    assert!(pseudonyms.user && !pseudonyms.source && pseudonyms.key.name() == "2026-11");
    assert_eq!(loaded.sources.len(), 3, "a changed key is a change");
    let bad = [
        "pseudonymize: [user]",
        "pseudonymize: [users]",
        "pseudonymize:",
        "pseudonym_key: { name: a, file: good.key }",
        "pseudonymize: [user], pseudonym_key: { name: 'a b', file: good.key }",
        "pseudonymize: [user], pseudonym_key: { name: a, file: short.key }",
        "pseudonymize: [user], pseudonym_key: { name: a, file: none.key }",
        "pseudonymize: [user], pseudonym_key: { file: good.key }",
        "pseudonymize: [user], pseudonym_key:",
        "omit: [user, time, user_agents]",
    ];
    let told: Vec<_> = bad.iter().map(|audit| with(audit).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn sinks_follow_the_journals_files_over_https() {
    let audit = |audit: &str| format!("audit: {{ directory: log, {audit} }}");
    let otlp = "sinks: { otlp: { url: 'http://10.0.0.1/v1/logs', headers: { authorization: \"${IDP}\" } } }";
    let cases = [
        "audit: { sinks: { firehose: { stream: s } } }".to_owned(),
        audit("sinks: { kafka: {}, s3: {}, firehose: }"),
        audit(otlp),
        audit("sinks: { otlp: { url: 'https://c.example.com/v1/logs', headers: { 'a b': x } } }"),
        audit("sinks: { s3: { bucket: My_Bucket, prefix: /a?b, every: 0s, region: 'x y' } }"),
        audit(
            "sinks: { cloudwatch_logs: { group: g, stream: 'a:b', endpoint_url: 'https://h/p', ca: none.pem } }",
        ),
        audit("spool: 256MiB"),
        audit("spool_full: drop, retention: 0s"),
    ];
    let all: Vec<_> = cases.iter().map(|more| format!("# {more}\n{}", in_gateway(more))).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
# audit: { sinks: { firehose: { stream: s } } }
sagegate.yaml:4:17: audit.sinks: sinks follow the journal's files, and there are none
  hint: give `directory`
# audit: { directory: log, sinks: { kafka: {}, s3: {}, firehose: } }
sagegate.yaml:4:35: audit.sinks.kafka: unknown key
  hint: known here: cloudwatch_logs, firehose, s3, otlp
sagegate.yaml:4:50: audit.sinks.s3.bucket: this key is required
sagegate.yaml:4:62: audit.sinks.firehose: expected a map, found nothing
  hint: give it a value, or leave the key out
# audit: { directory: log, sinks: { otlp: { url: 'http://10.0.0.1/v1/logs', headers: { authorization: "${IDP}" } } } }
sagegate.yaml:4:48: audit.sinks.otlp.url: `http://` is for loopback addresses
  hint: use https, or spell out `danger: { http_sinks: true }`
# audit: { directory: log, sinks: { otlp: { url: 'https://c.example.com/v1/logs', headers: { 'a b': x } } } }
sagegate.yaml:4:99: audit.sinks.otlp.headers.a b: is not a header's name with a value for it
# audit: { directory: log, sinks: { s3: { bucket: My_Bucket, prefix: /a?b, every: 0s, region: 'x y' } } }
sagegate.yaml:4:49: audit.sinks.s3.bucket: a bucket's name has only `a-z`, `0-9`, `-` and `.`
sagegate.yaml:4:68: audit.sinks.s3.prefix: a prefix has only letters, digits, `-`, `_`, `.`, `=` and `/`, and does not begin with `/`
  hint: such as `sagegate/prod/`
sagegate.yaml:4:81: audit.sinks.s3.every: must not be zero
sagegate.yaml:4:93: audit.sinks.s3.region: is not a region's name
  hint: such as `us-east-1`
# audit: { directory: log, sinks: { cloudwatch_logs: { group: g, stream: 'a:b', endpoint_url: 'https://h/p', ca: none.pem } } }
sagegate.yaml:4:72: audit.sinks.cloudwatch_logs.stream: a stream's name is not empty and has no `:` and no `*`
sagegate.yaml:4:93: audit.sinks.cloudwatch_logs.endpoint_url: an endpoint's URL has no path
sagegate.yaml:4:112: audit.sinks.cloudwatch_logs.ca: cannot read `none.pem`: there is no such file
# audit: { directory: log, spool: 256MiB }
sagegate.yaml:4:33: audit.spool: is less than twice `rotate_size`, 256MiB: only closed files can make room
# audit: { directory: log, spool_full: drop, retention: 0s }
sagegate.yaml:4:38: audit.spool_full: `drop` is not one of refuse, drop_oldest_shipped
sagegate.yaml:4:55: audit.retention: must not be zero
"#);

    let open = format!("{GOOD}{}\ndanger: {{ http_sinks: true }}", audit(otlp));
    let loaded = load_texts(&open, "").unwrap();
    assert_eq!(loaded.dangers, ["http_sinks"]);
    let ship = loaded.ship.unwrap();
    assert_eq!((ship.sinks.len(), ship.spool, ship.retention), (2, 10 << 30, None));
    assert!(!format!("{ship:?}").contains("idp.example.com"), "a header's value prints");
}
