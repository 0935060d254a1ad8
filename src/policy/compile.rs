//! `access.yaml` and the policy files → a [`Policy`], or every fault at once.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cedar_policy::{Authorizer, Policy as CedarPolicy, PolicyId, PolicySet};

use super::access::{Access, PolicyFault, PolicyFile};
use super::cache::Decisions;
use super::decide::Policy;
use super::footprint::Footprint;
use super::slice::Slicer;
use super::standing::Directory;
use super::words::{SCHEMA, Words};
use super::{load, roles};
use crate::telemetry::metrics::Metrics;

impl Policy {
    /// Compiles roles and policy files and validates both against the schema.
    ///
    /// # Errors
    /// All faults of all files, in order of file and position.
    pub fn compile(
        access: Access,
        files: &[PolicyFile],
        metrics: &Metrics,
    ) -> Result<Self, Vec<PolicyFault>> {
        let words = Words::read().map_err(|error| vec![ours("sagegate.cedarschema", &error)])?;
        let policies = policies(&access, files, &words)?;
        let footprint = Footprint::of(&policies, &words);
        let cedar = cedar(&access, files);
        let version = version(&access, files);
        let name =
            |policy: &CedarPolicy| (policy.id().clone(), AsRef::<str>::as_ref(policy.id()).into());
        Ok(Self {
            ids: policies.iter().map(name).collect(),
            directory: Directory::new(&access, &footprint),
            slicer: Slicer::new(policies, &words),
            authorizer: Authorizer::new(),
            decisions: Decisions::new(metrics),
            revoked_users: access.revoked.users.into_iter().collect(),
            revoked_tokens: access.revoked.token_ids.into_iter().collect(),
            tags: access.endpoints,
            words,
            footprint,
            cedar,
            version,
        })
    }
}

/// All policies, validated.
pub(super) fn policies(
    access: &Access,
    files: &[PolicyFile],
    words: &Words,
) -> Result<Vec<CedarPolicy>, Vec<PolicyFault>> {
    let mut faults = Vec::new();
    let mut all = from_roles(access, &mut faults);
    let mut origin = HashMap::new();
    for file in files {
        let policies = load::read(file, &mut faults);
        faults.extend(policies.iter().flat_map(|p| load::names(file, p, access, words)));
        origin.extend(policies.iter().map(|policy| (policy.id().clone(), file)));
        all.extend(policies);
    }
    match PolicySet::from_policies(all.iter().cloned()) {
        Ok(set) => faults.extend(load::validate(&set, &origin, words)),
        Err(error) => faults.push(ours("access", &error)),
    }
    if faults.is_empty() { Ok(all) } else { Err(in_order(faults)) }
}

fn from_roles(access: &Access, faults: &mut Vec<PolicyFault>) -> Vec<CedarPolicy> {
    let texts = access.roles.iter().flat_map(roles::compile);
    let parsed = texts.filter_map(|policy| {
        CedarPolicy::parse(Some(PolicyId::new(&policy.id)), &policy.text)
            .map_err(|error| faults.push(ours(&policy.id, &error)))
            .ok()
    });
    parsed.collect()
}

fn in_order(mut faults: Vec<PolicyFault>) -> Vec<PolicyFault> {
    let place = |f: &PolicyFault| (f.file.clone(), f.line, f.column, f.message.clone());
    faults.sort_by_key(place);
    faults.dedup();
    faults
}

/// A fault without a line: in what the gateway generated, or in roles as a whole.
fn ours(file: &str, error: &impl ToString) -> PolicyFault {
    let message = error.to_string();
    PolicyFault { file: file.to_owned(), line: 0, column: 0, message, hint: None }
}

/// What `sagegate policy` prints. It loads as a policy file itself.
fn cedar(access: &Access, files: &[PolicyFile]) -> String {
    let mut out = String::new();
    for role in &access.roles {
        out.push_str(&comment(&format!("role {}: {}", role.name, role.description)));
        for policy in roles::compile(role) {
            out.push_str(&format!("@id({})\n{}\n", roles::quoted(&policy.id), policy.text));
        }
    }
    for file in files {
        out.push_str(&comment(&file.name));
        out.push_str(file.text.trim_end());
        out.push_str("\n\n");
    }
    out
}

/// Every line of `text` as a comment, so that none can be read as policy.
fn comment(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| format!("// {line}\n")).collect()
}

/// Over the debug form, which is stable within a build: the version tells what was in force,
/// it is not a checksum of the files.
fn version(access: &Access, files: &[PolicyFile]) -> Arc<str> {
    let hash = digest(&SHA256, format!("{SCHEMA}\n{access:?}\n{files:?}").as_bytes());
    format!("sha256:{}", hex::encode(hash)).into()
}
