//! `tests/vectors/decisions.md`, read and run.

use std::collections::BTreeMap;

use super::super::{Access, Binding, DenialReason, Outcome, PolicyFile, TeamMembers, When};
use super::{Asking, compile, patterns, role, rule};
use crate::names::{Action, Group, Role, Team, User};

const PAGE: &str = include_str!("../../../tests/vectors/decisions.md");

const PROD: &str = r#"// Production is for callers who belong to a team.
@id("prod-needs-a-team")
forbid (principal, action, resource)
when {
    resource.hasTag("environment") &&
    resource.getTag("environment") == "prod" &&
    !(context has team)
};

@id("auditors-look")
permit (
    principal in Group::"corp/audit",
    action in [Action::"DescribeEndpoint", Action::"ListEndpoints"],
    resource
);

@id("one-user")
permit (principal == User::"corp/oncall", action == Action::"InvokeEndpoint", resource)
when { context.source_ip.isInRange(ip("10.9.0.0/16")) };

// Fails to evaluate: the sum does not fit.
@id("broken")
forbid (principal, action, resource == Endpoint::"broken")
when { 9223372036854775807 + 1 > 0 };
"#;

#[test]
fn every_row_of_the_page_is_answered_as_it_says() {
    let policy = compile(&access(), &[prod()]);
    let rows = rows("Decisions by row");
    assert!(rows.len() > 40, "the table was not found");
    for row in rows {
        let (asking, expected) = read(&row);
        let verdict = asking.with(|query| policy.decide(query));
        let by: Vec<_> = verdict.grounds.policies.iter().chain(&*verdict.grounds.errors).collect();
        let by: Vec<_> = by.into_iter().map(|id| &**id).collect();
        let got = (word(verdict.outcome), by.join(" "));
        assert_eq!(got, expected, "{row:?}");
        let Some(call) = asking.call().filter(|_| asking.token == "jti-1") else { continue };
        for use_of_cache in ["miss or hit", "hit"] {
            let got = policy.authorize(
                asking.principal(),
                call.clone(),
                None,
                asking.source(),
                asking.now(),
            );
            let grounds = match &got {
                Ok(permit) => permit.grounds(),
                Err(denial) => denial.grounds(),
            };
            assert_eq!(grounds, &verdict.grounds, "{use_of_cache}: {row:?}");
            assert_eq!(got.is_ok(), verdict.is_permit(), "{use_of_cache}: {row:?}");
        }
    }
}

#[test]
fn the_page_shows_the_policies_in_force() {
    let shown = PAGE.split("```cedar\n").nth(1).and_then(|rest| rest.split("```").next());
    let cedar = compile(&access(), &[prod()]).cedar();
    assert_eq!(shown.map(str::trim), Some(cedar.trim()), "put this there:\n{cedar}");
}

#[test]
fn what_is_printed_loads_again_and_decides_the_same() {
    let policy = compile(&access(), &[prod()]);
    let printed = PolicyFile { name: "printed".to_owned(), text: policy.cedar() };
    let mut bare = access();
    bare.roles.iter_mut().for_each(|role| {
        role.permit.clear();
        role.forbid.clear();
    });
    let again = compile(&bare, &[printed]);
    for row in rows("Decisions by row") {
        let (asking, _) = read(&row);
        let ask = |policy: &super::Policy| asking.with(|query| policy.decide(query)).outcome;
        assert_eq!(ask(&again), ask(&policy), "{row:?}");
    }
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Permit => "permit".to_owned(),
        Outcome::Deny(reason) => DenialReason::as_str(reason).to_owned(),
    }
}

/// The cells of the first table under a heading, without its two head lines.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section = PAGE.split(&format!("## {heading}\n")).nth(1).unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let lines = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// user · groups · action · endpoint · naming · from · answer · by
fn read(row: &[String]) -> (Asking, (String, String)) {
    let [user, groups, action, endpoint, naming, from, answer, by] = row else {
        panic!("eight cells: {row:?}")
    };
    let target = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let (user, token) = user.split_once(" with ").unwrap_or((user, "jti-1"));
    let asking = Asking {
        user: user.to_owned(),
        token: token.to_owned(),
        groups: groups.split_whitespace().map(str::to_owned).collect(),
        action: Some(action.parse().unwrap()),
        endpoint: endpoint.clone(),
        targets: naming.split_whitespace().filter_map(target).collect(),
        source: Some(from.parse().unwrap()),
        team: None,
        hour: 0,
    };
    (asking, (answer.clone(), by.replace('`', "")))
}

fn prod() -> PolicyFile {
    PolicyFile { name: "policies/prod.cedar".to_owned(), text: PROD.to_owned() }
}

fn access() -> Access {
    let mut access = Access { roles: roles(), ..Access::default() };
    for row in rows("Who holds what") {
        let [who, roles, team] = row.as_slice() else { panic!("three cells: {row:?}") };
        let (groups, users) = match who.split_once(' ') {
            Some(("group", name)) => (vec![Group::new(name)], vec![]),
            Some(("user", name)) => (vec![], vec![User::new(name)]),
            _ => panic!("a group or a user: {who}"),
        };
        if !team.is_empty() {
            let (groups, users) = (groups.clone(), users.clone());
            access.teams.push(TeamMembers { name: Team::new(team.as_str()), groups, users });
        }
        let roles = roles.split_whitespace().map(Role::new).collect();
        access.bindings.push(Binding { groups, users, roles });
    }
    for row in rows("Tags") {
        let [endpoint, tag, value] = row.as_slice() else { panic!("three cells: {row:?}") };
        access.endpoints.entry(endpoint.clone()).or_default().insert(tag.clone(), value.clone());
    }
    access.revoked.users.insert(User::new("corp/mallory"));
    access.revoked.token_ids.insert("jti-stolen".to_owned());
    access
}

fn roles() -> Vec<super::RoleRules> {
    use Action::*;
    let any = When::default;
    let tags = BTreeMap::from([("environment".to_owned(), patterns(&["test-*", "staging"]))]);
    let variants = Some(patterns(&["Blue", "green"]));
    let batch = When {
        input_locations: Some(patterns(&["s3://batch/in/*"])),
        output_extensions: Some(patterns(&["batch/*"])),
        ..any()
    };
    let office = When {
        source_ips: Some(vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        ..any()
    };
    let multi = When {
        target_models: Some(patterns(&["models/*.tar.gz"])),
        inference_components: Some(patterns(&["ic-*"])),
        container_hostnames: Some(patterns(&["scorer"])),
        ..any()
    };
    vec![
        role(
            "data-scientist",
            vec![rule(
                &[InvokeEndpoint, InvokeEndpointWithResponseStream, InvokeEndpointAsync],
                &["*"],
                When { tags, ..any() },
            )],
            vec![],
        ),
        role(
            "fraud-caller",
            vec![rule(
                &[InvokeEndpoint],
                &["Fraud-*"],
                When { target_variants: variants, ..any() },
            )],
            vec![rule(&[], &["fraud-internal-*"], any())],
        ),
        role(
            "product-manager",
            vec![rule(&[GetAsyncResult, DescribeEndpoint, ListEndpoints], &["*"], any())],
            vec![],
        ),
        role("batch-runner", vec![rule(&[InvokeEndpointAsync], &["scoring"], batch)], vec![]),
        role(
            "office-caller",
            vec![rule(&[], &["desk", "lamp"], office), rule(&[InvokeEndpoint], &["multi"], multi)],
            vec![],
        ),
    ]
}
