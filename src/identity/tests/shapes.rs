//! Tokens as the identity providers of FACTS write them.

use serde_json::{Value, json};

use super::support::{NOW, RSA, World, with};
use crate::identity::{AuthError, Principal, Reason};

fn groups(principal: &Principal) -> Vec<&str> {
    principal.groups().iter().map(|group| group.as_str()).collect()
}

fn path(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A token with these claims and no others, save `iss`, `iat` and `exp`.
async fn check(world: &World, claims: Value) -> Result<std::sync::Arc<Principal>, AuthError> {
    let life = json!({ "iss": world.config.url, "iat": NOW - 10, "exp": NOW + 3000 });
    let token = RSA.sign(&json!({ "alg": "RS256", "kid": "rsa" }), &with(claims, life));
    world.check(&token).await
}

#[tokio::test]
async fn cognito_access_tokens_have_a_client_id_and_no_audience() {
    let world = World::with_config(|config| {
        config.audience_claim = "client_id".into();
        config.audiences = path(&["5f4h2k"]);
        config.groups_claim = path(&["cognito:groups"]);
        config.required_claims.insert("token_use".into(), "access".into());
    })
    .await;
    let access = json!({
        "sub": "aaaa-bbbb", "cognito:groups": ["ds"], "client_id": "5f4h2k", "version": 2,
        "token_use": "access", "scope": "openid", "username": "alice", "jti": "c-1",
    });
    let principal = check(&world, access.clone()).await.unwrap();
    assert_eq!(principal.user().as_str(), "corp/aaaa-bbbb");
    assert_eq!(groups(&principal), ["corp/ds"]);
    assert_eq!(principal.client(), Some("5f4h2k"));

    let id = with(access.clone(), json!({ "token_use": "id", "aud": "5f4h2k" }));
    let error = check(&world, id).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::RequiredClaim { .. })), "{error:?}");
    let other_client = with(access, json!({ "client_id": "other" }));
    let error = check(&world, other_client).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::Audience { .. })), "{error:?}");
}

#[tokio::test]
async fn keycloak_roles_are_found_by_their_path() {
    let world =
        World::with_config(|config| config.groups_claim = path(&["realm_access", "roles"])).await;
    let token = json!({
        "sub": "0f3c", "aud": ["sagegate", "account"], "typ": "Bearer", "azp": "web",
        "realm_access": { "roles": ["ds", "offline_access"] },
        "resource_access": { "web": { "roles": ["admin"] } }, "preferred_username": "alice",
    });
    let principal = check(&world, token.clone()).await.unwrap();
    assert_eq!(groups(&principal), ["corp/ds", "corp/offline_access"]);
    assert_eq!(principal.client(), Some("web"));
    let flat = with(token, json!({ "realm_access": ["ds"] }));
    let error = check(&world, flat).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::ClaimForm { .. })), "{error:?}");
}

#[tokio::test]
async fn entra_names_the_user_by_oid_and_overage_is_refused_with_its_reason() {
    let world = World::with_config(|config| {
        config.user_claim = path(&["oid"]);
        config.audiences = path(&["api://sagegate"]);
    })
    .await;
    let token = json!({
        "aud": "api://sagegate", "sub": "pairwise", "oid": "11-22", "tid": "33", "ver": "1.0",
        "appid": "44", "groups": ["g-1"], "uti": "x", "acr": "1", "nbf": NOW - 300,
    });
    let principal = check(&world, token.clone()).await.unwrap();
    assert_eq!((principal.user().as_str(), principal.client()), ("corp/11-22", Some("44")));

    let without = with(token.clone(), json!({ "groups": null }));
    for overage in [
        json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } }),
        json!({ "hasgroups": true }),
        json!({ "hasgroups": "true" }),
    ] {
        let error = check(&world, with(without.clone(), overage.clone())).await.unwrap_err();
        assert_eq!(error, Reason::GroupOverage.into(), "{overage}");
    }
    for ordinary in
        [json!({}), json!({ "hasgroups": false }), json!({ "_claim_names": { "x": 1 } })]
    {
        assert!(check(&world, with(without.clone(), ordinary)).await.is_ok());
    }
}

#[tokio::test]
async fn entra_app_roles_do_not_suffer_from_group_overage() {
    let world = World::with_config(|config| config.groups_claim = path(&["roles"])).await;
    let token = json!({
        "aud": "sagegate", "sub": "s", "roles": ["Invoker"], "hasgroups": true,
        "_claim_names": { "groups": "src1" },
    });
    assert_eq!(groups(&check(&world, token).await.unwrap()), ["corp/Invoker"]);
}

#[tokio::test]
async fn kubernetes_service_accounts_are_users_without_groups() {
    let world = World::new().await;
    let token = json!({
        "aud": ["sagegate"], "sub": "system:serviceaccount:payments:scorer", "nbf": NOW - 10,
        "jti": "8e5f", "kubernetes.io": {
            "namespace": "payments", "node": { "name": "n1", "uid": "u" },
            "pod": { "name": "scorer-1", "uid": "p" }, "serviceaccount": { "name": "scorer", "uid": "s" },
        },
    });
    let principal = check(&world, token).await.unwrap();
    assert_eq!(principal.user().as_str(), "corp/system:serviceaccount:payments:scorer");
    assert!(principal.groups().is_empty());
}

#[tokio::test]
async fn okta_access_tokens_name_their_client_in_cid() {
    let world = World::with_config(|config| config.audiences = path(&["api://default"])).await;
    let token = json!({
        "ver": 1, "jti": "AT.x", "aud": "api://default", "cid": "0oa1", "uid": "00u1",
        "scp": ["openid"], "sub": "alice@example.com", "groups": ["Everyone", "ds"],
    });
    let principal = check(&world, token).await.unwrap();
    assert_eq!(principal.user().as_str(), "corp/alice@example.com");
    assert_eq!(
        (groups(&principal), principal.client()),
        (vec!["corp/Everyone", "corp/ds"], Some("0oa1"))
    );
}

#[tokio::test]
async fn github_actions_are_known_by_their_subject() {
    let world = World::new().await;
    let token = json!({
        "aud": "sagegate", "sub": "repo:acme/models:ref:refs/heads/main", "repository": "acme/models",
        "job_workflow_ref": "acme/models/.github/workflows/x.yml@refs/heads/main", "jti": "g",
        "nbf": NOW - 600,
    });
    let principal = check(&world, token).await.unwrap();
    assert_eq!(principal.user().as_str(), "corp/repo:acme/models:ref:refs/heads/main");
}
