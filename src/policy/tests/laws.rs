//! What holds for every policy and every request.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{DenialReason, Outcome, Policy, TeamMembers, Verdict};
use super::reference::Reference;
use super::world::{World, asking, rule, world};
use super::{Asking, When, compile, file, role, rule as one_rule};
use crate::names::{Group, Role, Team};

/// The decision of the corridor's stage, cache and all.
fn enforced(policy: &Policy, asking: &Asking) -> Option<Verdict> {
    let call = asking.call().filter(|_| asking.token == "jti-1")?;
    let principal = asking.principal();
    let got =
        policy.authorize(principal, call, asking.team.as_deref(), asking.source(), asking.now());
    Some(match got {
        Ok(permit) => Verdict::clone(&permit.verdict),
        Err(denial) => {
            let outcome = Outcome::Deny(denial.reason());
            assert_eq!(denial.verdict.outcome, outcome);
            Verdict::clone(&denial.verdict)
        }
    })
}

fn fresh(world: &World, asking: &Asking) -> Verdict {
    asking.with(|query| compile(&world.access, &world.files).decide(query))
}

fn summary(verdict: &Verdict) -> (Outcome, Vec<String>) {
    let policies = verdict.grounds.policies.iter().map(|id| id.to_string()).collect();
    (verdict.outcome, policies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Slices, blinded requests, standings, caches and recompiles are all invisible.
    #[test]
    fn cached_fresh_and_slow_decisions_are_equal(
        worlds in vec(world(), 1..3),
        askings in vec(asking(), 1..12),
        order in vec(any::<prop::sample::Index>(), 24),
    ) {
        for world in worlds.iter().chain(worlds.first()) {
            let policy = compile(&world.access, &world.files);
            let slow = Reference::new(&world.access, &world.files);
            for index in &order {
                let asking = index.get(&askings);
                let fresh = asking.with(|query| policy.decide(query));
                prop_assert_eq!(summary(&fresh), asking.with(|q| slow.decide(q)), "{:?}", asking);
                if let Some(enforced) = enforced(&policy, asking) {
                    prop_assert_eq!(enforced, fresh, "{:?}", asking);
                }
            }
        }
    }

    #[test]
    fn a_forbid_beats_every_permit(mut world in world(), asking in asking()) {
        let everyone = "permit (principal, action, resource);\n";
        world.files.push(super::PolicyFile { name: "all".into(), text: everyone.into() });
        let before = fresh(&world, &asking).outcome;
        let refused = matches!(
            before,
            Outcome::Deny(
                DenialReason::PolicyError | DenialReason::Revoked | DenialReason::NotInTeam
            )
        );
        let nobody = "forbid (principal, action, resource);\n";
        world.files.push(super::PolicyFile { name: "none".into(), text: nobody.into() });
        let after = fresh(&world, &asking).outcome;
        let expected = if refused { before } else { Outcome::Deny(DenialReason::Forbidden) };
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn without_a_permit_nothing_is_permitted(mut world in world(), asking in asking()) {
        world.access.roles.iter_mut().for_each(|role| role.permit.clear());
        world.files.iter_mut().for_each(|file| file.text = file.text.replace("permit", "forbid"));
        prop_assert!(!fresh(&world, &asking).is_permit());
    }

    #[test]
    fn order_does_not_matter(world in world(), asking in asking()) {
        let mut turned = world.clone();
        turned.access.roles.reverse();
        turned.access.bindings.reverse();
        turned.access.roles.iter_mut().for_each(|role| {
            role.permit.reverse();
            role.forbid.reverse();
        });
        turned.files[0].text = world.files[0].text.lines().rev().collect::<Vec<_>>().join("\n");
        prop_assert_eq!(fresh(&turned, &asking).outcome, fresh(&world, &asking).outcome);
    }

    #[test]
    fn a_role_that_the_caller_lacks_changes_nothing(
        world in world(),
        asking in asking(),
        permit in vec(rule(), 0..3),
        forbid in vec(rule(), 0..3),
    ) {
        let mut more = world.clone();
        more.access.roles.push(role("unrelated", permit, forbid));
        prop_assert_eq!(summary(&fresh(&more, &asking)), summary(&fresh(&world, &asking)));
    }

    #[test]
    fn an_error_denies_whatever_else_is_said(
        mut world in world(),
        asking in asking(),
        effect in prop::sample::select(vec!["permit", "forbid"]),
    ) {
        let everyone = "permit (principal, action, resource);";
        let broken = format!("{effect} (principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};");
        world.files.push(super::PolicyFile { name: "broken".into(), text: format!("{everyone}\n{broken}") });
        let verdict = fresh(&world, &asking);
        let before = [DenialReason::Revoked, DenialReason::NotInTeam].map(Outcome::Deny);
        if !before.contains(&verdict.outcome) {
            prop_assert_eq!(verdict.outcome, Outcome::Deny(DenialReason::PolicyError));
            prop_assert!(verdict.grounds.errors.contains(&Arc::from("broken#1")));
        }
    }
}

#[test]
fn the_worlds_are_neither_all_permitted_nor_all_refused() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: Vec<Outcome> = Vec::new();
    for _ in 0..240 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let policy = compile(&world.access, &world.files);
        for _ in 0..10 {
            let asking = asking().new_tree(&mut runner).unwrap().current();
            seen.push(asking.with(|query| policy.decide(query)).outcome);
        }
    }
    let share = |outcome| seen.iter().filter(|o| **o == outcome).count();
    assert!(share(Outcome::Permit) > 60, "{} permits", share(Outcome::Permit));
    let reasons = [
        DenialReason::NoPermit,
        DenialReason::Forbidden,
        DenialReason::PolicyError,
        DenialReason::NotInTeam,
    ];
    for reason in reasons {
        assert!(share(Outcome::Deny(reason)) > 5, "{reason:?}");
    }
}

#[test]
fn a_decision_that_reads_the_time_follows_it_and_others_are_cached() {
    let at_night =
        r#"forbid (principal, action, resource) when { context.now.toTime() < duration("9h") };"#;
    let mut access = super::Access {
        roles: vec![role("r", vec![one_rule(&[], &[], When::default())], vec![])],
        ..super::Access::default()
    };
    access.bindings.push(super::super::Binding {
        groups: vec![Group::new("corp/g")],
        users: vec![],
        roles: vec![Role::new("r")],
    });
    let asking = |hour| Asking {
        user: "corp/u".into(),
        groups: vec!["corp/g".into()],
        endpoint: "e".into(),
        token: "jti-1".into(),
        hour,
        ..Asking::default()
    };
    for (files, night, cache) in
        [(vec![], true, ["miss", "hit", "hit"]), (vec![file(at_night)], false, ["uncached"; 3])]
    {
        let metrics = super::Metrics::new().unwrap();
        let policy = Policy::compile(access.clone(), &files, &metrics).unwrap();
        assert_eq!(policy.uncacheable(), !files.is_empty());
        let permitted = |hour| enforced(&policy, &asking(hour)).unwrap().is_permit();
        let counted = |result, cache| metrics.decisions.with_label_values(&[result, cache]).get();
        assert_eq!([permitted(12), permitted(3), permitted(13)], [true, night, true]);
        for used in ["hit", "miss", "uncached"] {
            let expected = cache.iter().filter(|c| **c == used).count() as u64;
            assert_eq!(counted("permit", used) + counted("deny", used), expected, "{used}");
        }
    }
}

#[test]
fn a_call_is_charged_to_the_team_it_names_and_the_others_decision_is_reused_unless_read() {
    let reads = r#"forbid (principal, action, resource) when { context has team && context.team == "t2" };"#;
    let mut access = super::Access {
        roles: vec![role("r", vec![one_rule(&[], &[], When::default())], vec![])],
        ..super::Access::default()
    };
    let groups = vec![Group::new("corp/g")];
    access.bindings.push(super::super::Binding {
        groups: groups.clone(),
        users: vec![],
        roles: vec![Role::new("r")],
    });
    access.teams = ["t1", "t2"]
        .map(|name| TeamMembers { name: Team::new(name), groups: groups.clone(), users: vec![] })
        .into();
    let asking = |team: Option<&str>| Asking {
        user: "corp/u".into(),
        groups: vec!["corp/g".into()],
        endpoint: "e".into(),
        token: "jti-1".into(),
        team: team.map(str::to_owned),
        ..Asking::default()
    };
    for (files, second, misses) in [(vec![], true, 1), (vec![file(reads)], false, 2)] {
        let metrics = super::Metrics::new().unwrap();
        let policy = Policy::compile(access.clone(), &files, &metrics).unwrap();
        for (named, charged, permitted) in [
            (None, Some("t1"), true),
            (Some("t1"), Some("t1"), true),
            (Some("t2"), Some("t2"), second),
            (Some("t3"), None, false),
            (Some("T1"), None, false),
            (Some(""), None, false),
        ] {
            let verdict = enforced(&policy, &asking(named)).unwrap();
            assert_eq!(verdict.team.as_ref().map(Team::as_str), charged, "{named:?}");
            assert_eq!(verdict.is_permit(), permitted, "{named:?}");
        }
        let missed = |result| metrics.decisions.with_label_values(&[result, "miss"]).get();
        assert_eq!(missed("permit") + missed("deny"), misses);
    }
}
