//! Typed files of every shape, for the round trip.

use std::num::NonZeroUsize;

use std::time::Duration;

use crate::config::file::access::{
    Access, Action, Binding, DefaultTeam, EndpointFacts, Limit, Per, Revoked, Role, Rule, Team,
    When,
};
use crate::config::file::gateway::{
    Admin, Algorithm, Audit, Aws, Bounds, ClaimPath, Danger, Durability, Format, Gateway, Issuer,
    Level, Log, Server, ServerTimeouts, Timeouts, Tls,
};
use crate::config::file::privacy::{Omit, PseudonymKey, Pseudonymized};
use crate::config::file::store::{Limits, OnFailure, Redis, RedisTls, Secret, Store};
use crate::config::file::{ByteRate, ByteSize, Listen, Named, Network, Rate, Span};
use proptest::prelude::*;

/// Texts that YAML could take for something else are among them.
fn text() -> impl Strategy<Value = String> {
    let odd = ["true", "null", "~", "1", "1.5", "0x1", "a: b", "- a", "#", "é", "'", "\"", "on"];
    prop_oneof!["[a-z*/:. -]{1,12}", prop::sample::select(odd.to_vec()).prop_map(str::to_owned)]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..3)
}

fn some_texts() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(prop::collection::vec(text(), 1..3))
}

fn named<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Named<T>> {
    prop::collection::vec((text(), one), 0..3).prop_map(|mut pairs| {
        let mut seen = std::collections::HashSet::new();
        pairs.retain(|(name, _)| seen.insert(name.clone()));
        Named(pairs)
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let actions = prop::sample::select(vec![Action::InvokeEndpoint, Action::ListEndpoints]);
    let actions = prop::option::of(prop::collection::vec(actions, 1..3));
    (actions, some_texts(), when()).prop_map(|(actions, endpoints, when)| Rule {
        actions,
        endpoints,
        when,
    })
}

fn when() -> impl Strategy<Value = When> {
    let tags = prop::collection::btree_map(text(), texts(), 0..3);
    let networks = prop::sample::select(vec!["10.0.0.0/8", "::1"]);
    let networks = networks.prop_map(|text| text.parse::<Network>().unwrap());
    let source_ips = prop::option::of(prop::collection::vec(networks, 1..3));
    let targets = (some_texts(), some_texts(), some_texts());
    let more = (some_texts(), some_texts(), some_texts());
    (tags, targets, more, source_ips).prop_map(|(tags, (a, b, c), (d, e, f), source_ips)| When {
        tags,
        target_variants: a,
        target_models: b,
        inference_components: c,
        container_hostnames: d,
        input_locations: e,
        output_extensions: f,
        source_ips,
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let rates = prop::sample::select(vec!["5/s", "6/min", "7/h"]);
    let rates = prop::option::of(rates.prop_map(|text| text.parse::<Rate>().unwrap()));
    let bytes = prop::sample::select(vec!["5GiB/h", "6B/day"]);
    let bytes = prop::option::of(bytes.prop_map(|text| text.parse::<ByteRate>().unwrap()));
    let count = || prop::option::of(1..=u32::MAX);
    let per = prop::option::of(prop::sample::select(vec![Per::User, Per::Role]));
    let operations = prop::option::of(Just(vec![Action::InvokeEndpoint]));
    let whose = (per, some_texts(), operations);
    (rates, bytes, count(), count(), whose).prop_map(
        |(requests, body_bytes, burst, concurrency, (per, endpoints, operations))| Limit {
            requests,
            body_bytes,
            inference_seconds: requests,
            burst,
            concurrency,
            per,
            endpoints,
            operations,
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    let rules = || prop::collection::vec(rule(), 0..3);
    (text(), rules(), rules()).prop_map(|(description, permit, forbid)| Role {
        description,
        permit,
        forbid,
    })
}

pub(super) fn access() -> impl Strategy<Value = Access> {
    let binding = (texts(), texts(), prop::collection::vec(text(), 1..3))
        .prop_map(|(groups, users, roles)| Binding { groups, users, roles });
    let team = (texts(), texts(), prop::collection::vec(limit(), 0..3))
        .prop_map(|(groups, users, limits)| Team { groups, users, limits });
    let facts =
        prop::collection::btree_map(text(), text(), 0..3).prop_map(|tags| EndpointFacts { tags });
    let revoked = (texts(), texts()).prop_map(|(users, token_ids)| Revoked { users, token_ids });
    let limits = || prop::collection::vec(limit(), 0..3);
    let limits = (limits(), limits(), prop::option::of(text()));
    let teams = (named(team), limits);
    (named(role()), prop::collection::vec(binding, 0..3), teams, named(facts), revoked).prop_map(
        |(roles, bindings, (teams, (limits, of_no_team, time_zone)), endpoints, revoked)| Access {
            roles,
            bindings,
            teams,
            limits,
            default_team: DefaultTeam { limits: of_no_team },
            time_zone,
            endpoints,
            revoked,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    any::<u32>().prop_map(|millis| Span(Duration::from_millis(u64::from(millis))))
}

fn size() -> impl Strategy<Value = ByteSize> {
    any::<u32>().prop_map(|bytes| ByteSize(u64::from(bytes)))
}

fn listen() -> impl Strategy<Value = Listen> {
    prop::sample::select(vec!["0.0.0.0:1", "[::1]:2"]).prop_map(|text| text.parse().unwrap())
}

fn path() -> impl Strategy<Value = Option<std::path::PathBuf>> {
    prop::option::of("[a-z/.]{1,9}".prop_map(Into::into))
}

fn claim() -> impl Strategy<Value = ClaimPath> {
    prop_oneof![
        text().prop_map(ClaimPath::Top),
        prop::collection::vec(text(), 1..3).prop_map(ClaimPath::Path),
    ]
}

fn issuer() -> impl Strategy<Value = Issuer> {
    let some = || prop::collection::vec(text(), 1..3);
    let algorithms = prop::sample::select(vec![Algorithm::RS256, Algorithm::EdDSA]);
    let names = (text(), some(), text(), some(), prop::option::of(text()), path());
    let claims = (claim(), claim(), prop::collection::btree_map(text(), text(), 0..3));
    let spans = (span(), span(), span(), span());
    (names, prop::collection::vec(algorithms, 1..3), claims, spans).prop_map(
        |((issuer, audiences, audience_claim, token_types, jwks_url, ca), algorithms, c, s)| {
            Issuer {
                issuer,
                audiences,
                audience_claim,
                algorithms,
                token_types,
                groups_claim: c.0,
                user_claim: c.1,
                required_claims: c.2,
                leeway: s.0,
                max_token_age: s.1,
                jwks_url,
                jwks_refresh: s.2,
                jwks_max_stale: s.3,
                ca,
            }
        },
    )
}

fn server() -> impl Strategy<Value = Server> {
    let tls = prop::option::of(path().prop_map(|client_ca| Tls {
        certificate: "a.crt".into(),
        private_key: "a.key".into(),
        client_ca,
        modern: true,
    }));
    let workers = prop::option::of(1..64_usize).prop_map(|n| n.and_then(NonZeroUsize::new));
    let timeouts = (span(), span(), span(), span(), span(), span()).prop_map(|s| ServerTimeouts {
        handshake: s.0,
        head: s.1,
        body: s.2,
        idle: s.3,
        unread: s.4,
        notice: s.5,
    });
    (listen(), tls, size(), size(), span(), workers, bounds(), timeouts).prop_map(
        |(listen, tls, max_body, body_memory, drain_timeout, workers, bounds, timeouts)| Server {
            listen,
            tls,
            max_body,
            body_memory,
            drain_timeout,
            workers,
            bounds,
            timeouts,
        },
    )
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let count = || 16..1_000_u32;
    let each = prop::option::of(count());
    (count(), count(), each, count(), count(), size()).prop_map(
        |(requests, connections, connections_per_address, streams, headers, head)| Bounds {
            requests,
            connections,
            connections_per_address,
            streams,
            headers,
            head,
        },
    )
}

fn aws() -> impl Strategy<Value = Aws> {
    let names = (prop::option::of(text()), prop::option::of(text()), path());
    let timeouts = (span(), span(), span(), span()).prop_map(|s| Timeouts {
        connect: s.0,
        response_head: s.1,
        stream_idle: s.2,
        stream: s.3,
    });
    (names, any::<(bool, bool)>(), span(), timeouts).prop_map(
        |((region, runtime_url, ca), (fips, dual_stack), dns_refresh, timeouts)| Aws {
            region,
            runtime_url,
            fips,
            dual_stack,
            ca,
            dns_refresh,
            timeouts,
        },
    )
}

fn audit() -> impl Strategy<Value = Audit> {
    let durability = prop::sample::select(vec![Durability::Memory, Durability::Fsync]);
    let rotation = (size(), span());
    (path(), any::<bool>(), durability, rotation, path(), 1..=1_000_000_u32).prop_map(
        |(directory, stdout, durability, (rotate_size, rotate_age), signing_key, queue)| Audit {
            directory,
            stdout,
            durability,
            rotate_size,
            rotate_age,
            signing_key,
            queue,
            pseudonymize: vec![Pseudonymized::User, Pseudonymized::SrcEndpoint],
            pseudonym_key: Some(PseudonymKey { name: "k".to_owned(), file: "k.key".into() }),
            omit: vec![Omit::UserAgent, Omit::InputLocation],
            ..Audit::default()
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let tls = (path(), path(), path()).prop_map(|(ca, certificate, private_key)| RedisTls {
        ca,
        certificate,
        private_key,
    });
    let on_failure = prop::sample::select(vec![OnFailure::Local, OnFailure::Closed]);
    let redis = (text(), any::<bool>(), prop::option::of(tls), span(), on_failure);
    let store = redis.prop_map(|(url, cluster, tls, timeout, on_failure)| Store {
        redis: Redis { url: Secret(url), cluster, tls, timeout, on_failure },
    });
    prop::option::of(store).prop_map(|store| Limits { store })
}

pub(super) fn gateway() -> impl Strategy<Value = Gateway> {
    let issuers = named(issuer()).prop_filter("an issuer", |issuers| !issuers.is_empty());
    let danger = any::<(bool, bool, bool, bool, bool)>().prop_map(|d| Danger {
        plaintext_listener: d.0,
        http_issuers: d.1,
        http_runtime_url: d.2,
        public_admin: d.3,
        plaintext_limit_store: d.4,
        http_sinks: false,
    });
    let probes = prop::option::of(listen());
    let admin = (listen(), probes).prop_map(|(listen, probes)| Admin { listen, probes });
    (server(), admin, aws(), issuers, path(), audit(), limits(), danger).prop_map(
        |(server, admin, aws, issuers, policies, audit, limits, danger)| Gateway {
            server,
            admin,
            aws,
            issuers,
            access: "b.yaml".into(),
            policies,
            audit,
            limits,
            log: Log { level: Level::Trace, format: Format::Text },
            danger,
        },
    )
}
