//! Decisions, kept and fresh, with few and many policies; and the admission that follows.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use divan::Bencher;
use sagegate::identity::Principal;
use sagegate::limits::{
    Filter, Limit, Limits, LimitsConfig, Measure, Moment, Origin, Per, Period, Scope, Unit,
};
use sagegate::names::{Action, Group, Issuer, Role, Team};
use sagegate::policy::{
    Access, Binding, Pattern, Permit, Policy, Query, RoleRules, Rule, TargetNames, TeamMembers,
};
use sagegate::telemetry::clock::Clock;

use crate::call;
use crate::caller::{DESK, ISSUER, METRICS};
use crate::issuer::GROUP;

const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
/// Roles that the caller holds; DESIGN §13's figure.
const ROLES: usize = 5;
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// DESIGN §13: at most 300 ns.
#[divan::bench(args = SIZES)]
fn decision_hit(bencher: Bencher<'_, '_>, policies: usize) {
    let policy = policy(policies);
    let (principal, call) = (DESK.principal("decision"), call());
    let now = SystemTime::now();
    assert!(policy.authorize(Arc::clone(&principal), call.clone(), None, SOURCE, now).is_ok());
    bencher
        .with_inputs(|| (Arc::clone(&principal), call.clone()))
        .bench_values(|(principal, call)| policy.authorize(principal, call, None, SOURCE, now));
}

/// DESIGN §13: at most 20 µs with 5,000 policies.
#[divan::bench(args = SIZES)]
fn decision_miss(bencher: Bencher<'_, '_>, policies: usize) {
    let policy = policy(policies);
    let (principal, call) = (DESK.principal("decision"), call());
    let query = Query {
        user: principal.user(),
        groups: principal.groups(),
        action: Action::InvokeEndpoint,
        endpoint: call.endpoint(),
        targets: TargetNames::from(call.targets()),
        source: SOURCE,
        team: None,
        token_id: principal.token_id(),
        tags: None,
        now: SystemTime::now(),
    };
    assert!(policy.decide(&query).is_permit());
    bencher.bench(|| policy.decide(&query));
}

/// Issue 4: at most 400 ns. Three limits, none reached: a rate, one per user, and concurrency.
/// The time moves on with each request.
#[divan::bench]
fn admission(bencher: Bencher<'_, '_>) {
    let (policy, principal) = (policy(10), DESK.principal("admission"));
    let limits = Limits::new(three_limits(), None, None, &Clock::System, &METRICS);
    let (begun, micros) = (Instant::now(), AtomicU64::new(0));
    bencher
        .with_inputs(|| {
            let later = Duration::from_micros(micros.fetch_add(10, Ordering::Relaxed));
            let now = Moment { instant: begun + later, wall: SystemTime::now() };
            (permit(&policy, &principal), now)
        })
        .bench_values(|(permit, now)| limits.admit_now(permit, Some(1_024), now).unwrap());
}

fn permit(policy: &Policy, principal: &Arc<Principal>) -> Permit {
    policy.authorize(Arc::clone(principal), call(), None, SOURCE, SystemTime::now()).unwrap()
}

/// One role a policy; the caller holds the last five, and the very last lets it in.
fn policy(policies: usize) -> Policy {
    let role = |number: usize| Role::new(format!("role-{number}"));
    let group = Group::of(&Issuer::new(ISSUER), GROUP);
    let access = Access {
        roles: (1..=policies).map(|number| rules(role(number), number == policies)).collect(),
        bindings: vec![Binding {
            groups: vec![group.clone()],
            users: Vec::new(),
            roles: (policies + 1 - ROLES..=policies).map(role).collect(),
        }],
        teams: vec![TeamMembers { name: team(), groups: vec![group], users: Vec::new() }],
        ..Access::default()
    };
    Policy::compile(access, &[], &METRICS).unwrap()
}

fn rules(name: Role, lets_in: bool) -> RoleRules {
    let endpoints = if lets_in { "fraud-*".to_owned() } else { format!("{name}-*") };
    let permit = Rule {
        actions: vec![Action::InvokeEndpoint],
        endpoints: vec![Pattern::new(&endpoints)],
        ..Rule::default()
    };
    RoleRules { name, description: String::new(), permit: vec![permit], forbid: Vec::new() }
}

fn team() -> Team {
    Team::new("fraud")
}

fn three_limits() -> LimitsConfig {
    let quota = NonZeroU64::new(1_000_000).unwrap_or(NonZeroU64::MAX);
    let (unit, period) = (Unit::Requests, Period::Second);
    let requests = Measure::Rate { unit, quota, period, burst: quota };
    let limit = |measure, per| Limit {
        name: Arc::default(),
        scope: Scope::Team(team()),
        measure,
        per,
        filter: Filter::default(),
        origin: Origin { file: Path::new("access.yaml").into(), line: 1 },
    };
    let limits = vec![
        limit(requests.clone(), Per::Whole),
        limit(requests, Per::User),
        limit(Measure::Concurrency(NonZeroU32::MAX), Per::Whole),
    ];
    LimitsConfig::new(vec![team()], limits)
}
