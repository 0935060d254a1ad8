//! Policy files → policies, with every fault and where it stands.
//!
//! It refuses what would fail silently: a policy that cannot apply, a name that nobody has,
//! an endpoint spelled in upper case. Invariant: a policy that leaves here has an id that
//! says where it is written (`policies/prod.cedar#name`).

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::access::{Access, PolicyFault, PolicyFile};
use super::case;
use super::words::{Kind, Words};

/// Reads one file.
pub(super) fn read(file: &PolicyFile, faults: &mut Vec<PolicyFault>) -> Vec<Policy> {
    let set = match PolicySet::from_str(&file.text) {
        Ok(set) => set,
        Err(errors) => {
            faults.extend(errors.iter().map(|error| diagnosed(file, error, 0)));
            return Vec::new();
        }
    };
    for template in set.templates() {
        let start = start(template.as_ref().loc().map(|loc| loc.start()));
        let message = "templates are not supported: nothing would link them";
        faults.push(fault(file, start, message.to_owned(), None));
    }
    let mut seen = HashSet::new();
    let renamed = set.policies().zip(0..).filter_map(|(policy, index)| {
        rename(file, policy, index, &mut seen).map_err(|fault| faults.push(fault)).ok()
    });
    renamed.collect()
}

/// `file#id` for a policy with `@id("id")`, else `file#N`, N from 0 in file order.
fn rename(
    file: &PolicyFile,
    policy: &Policy,
    index: usize,
    seen: &mut HashSet<String>,
) -> Result<Policy, PolicyFault> {
    let id = policy.annotation("id").map_or_else(|| index.to_string(), str::to_owned);
    let at = |message| Err(fault(file, position(policy), message, None));
    if id.is_empty() {
        return at("`@id` needs a name: `@id(\"name\")`".to_owned());
    }
    if !seen.insert(id.clone()) {
        return at(format!("another policy of this file has the id `{id}`"));
    }
    Ok(policy.new_id(PolicyId::new(format!("{}#{id}", file.name))))
}

/// Checks policies strictly against the schema. `files` says which file a policy is from;
/// one that is from none was compiled from a role.
pub(super) fn validate(
    all: &PolicySet,
    files: &HashMap<PolicyId, &PolicyFile>,
    words: &Words,
) -> Vec<PolicyFault> {
    let validator = Validator::new(words.schema.clone());
    let result = validator.validate(all, ValidationMode::Strict);
    let wrong: HashSet<_> = result.validation_errors().map(|error| error.policy_id()).collect();
    // A policy with an error draws warnings that only repeat it.
    let warnings = result
        .validation_warnings()
        .filter(|warning| is_fault(warning) && !wrong.contains(warning.policy_id()))
        .map(|warning| (warning.policy_id(), warning as &dyn Diagnostic));
    let errors =
        result.validation_errors().map(|error| (error.policy_id(), error as &dyn Diagnostic));
    let fault = |(id, found): (&PolicyId, &dyn Diagnostic)| match files.get(id) {
        Some(file) => (id.clone(), diagnosed(file, found, all.policy(id).map_or(0, position))),
        None => (id.clone(), from_role(id, found)),
    };
    let mut faults: Vec<_> = errors.chain(warnings).map(fault).collect();
    faults.sort_by_key(|(id, fault)| (id.clone(), fault.line, fault.column, fault.message.clone()));
    // The validator repeats itself for every action that the policy takes.
    faults.dedup_by_key(|(id, fault)| (id.clone(), fault.line, fault.column));
    faults.into_iter().map(|(id, fault)| plain(&id, fault)).collect()
}

/// Without the policy's name: the fault already says where it is.
fn plain(id: &PolicyId, fault: PolicyFault) -> PolicyFault {
    let plain = |text: String| text.replacen(&format!("for policy `{id}`, "), "", 1);
    PolicyFault { message: plain(fault.message), hint: fault.hint.map(plain), ..fault }
}

/// A policy that can never apply is a mistake, and so is text that reads differently from
/// what it says. Names in several scripts are neither.
fn is_fault(warning: &ValidationWarning) -> bool {
    match warning {
        ValidationWarning::ImpossiblePolicy(_)
        | ValidationWarning::BidiCharsInString(_)
        | ValidationWarning::BidiCharsInIdentifier(_)
        | ValidationWarning::InvalidActionApplication(_) => true,
        ValidationWarning::MixedScriptString(_)
        | ValidationWarning::MixedScriptIdentifier(_)
        | ValidationWarning::ConfusableIdentifier(_) => false,
        // What a later Cedar warns of is looked at before it is let through.
        _ => true,
    }
}

/// Checks the names that a file's policy mentions: a wrong one would just never match.
pub(super) fn names(
    file: &PolicyFile,
    policy: &Policy,
    access: &Access,
    words: &Words,
) -> Vec<PolicyFault> {
    let from = position(policy);
    let at = |shown: &str| {
        let found = file.text.get(from..).and_then(|text| text.find(shown));
        from + found.unwrap_or(0)
    };
    let literals: HashSet<_> = policy.entity_literals().into_iter().collect();
    let misnamed = literals.iter().filter_map(|uid| {
        let (message, hint) = misnamed(words.kind(uid), uid.id().unescaped(), access)?;
        Some(fault(file, at(&uid.to_string()), message, hint))
    });
    let never = case::never_matching(policy).into_iter().map(|text| {
        let message = format!("`{text}` is compared with a name that is in lower case");
        let hint = format!("write `{}`", text.to_ascii_lowercase());
        fault(file, at(&format!("\"{text}\"")), message, Some(hint))
    });
    misnamed.chain(never).collect()
}

type Complaint = (String, Option<String>);

fn misnamed(kind: Kind, id: &str, access: &Access) -> Option<Complaint> {
    match kind {
        Kind::Role => unknown("role", id, access.roles.iter().map(|role| role.name.as_str())),
        Kind::Team => unknown("team", id, access.teams.iter().map(|team| team.name.as_str())),
        Kind::User | Kind::Group if !id.contains('/') => Some((
            format!("`{id}` does not say its issuer"),
            Some(format!("write `issuer/name`, such as `corp/{id}`")),
        )),
        Kind::Endpoint if id.bytes().any(|b| b.is_ascii_uppercase()) => Some((
            format!("endpoint `{id}` is written with upper case"),
            Some(format!("endpoints compare in lower case: `{}`", id.to_ascii_lowercase())),
        )),
        Kind::User | Kind::Group | Kind::Endpoint | Kind::Other => None,
    }
}

fn unknown<'a>(
    kind: &str,
    id: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<Complaint> {
    if known.clone().any(|name| name == id) {
        return None;
    }
    let near = known
        .map(|name| (strsim::damerau_levenshtein(name, id), name))
        .filter(|(distance, _)| *distance <= 3.min(id.len() / 2))
        .min();
    let hint = near.map(|(_, name)| format!("did you mean `{name}`?"));
    Some((format!("no {kind} is called `{id}`"), hint))
}

/// What Cedar found, where it found it.
fn diagnosed<D: Diagnostic + ?Sized>(
    file: &PolicyFile,
    found: &D,
    otherwise: usize,
) -> PolicyFault {
    let label = found.labels().and_then(|mut labels| labels.next());
    let start = label.map_or(otherwise, |label| label.offset());
    fault(file, start, lowered(&found.to_string()), found.help().map(|help| help.to_string()))
}

fn from_role<D: Diagnostic + ?Sized>(id: &PolicyId, found: &D) -> PolicyFault {
    PolicyFault {
        file: "access".to_owned(),
        line: 0,
        column: 0,
        message: format!("`{id}`: {}", lowered(&found.to_string())),
        hint: found.help().map(|help| help.to_string()),
    }
}

fn fault(file: &PolicyFile, offset: usize, message: String, hint: Option<String>) -> PolicyFault {
    let (line, column) = line_and_column(&file.text, offset);
    PolicyFault { file: file.name.clone(), line, column, message, hint }
}

fn lowered(message: &str) -> String {
    message.trim_end_matches('.').to_owned()
}

fn position(policy: &Policy) -> usize {
    start(policy.as_ref().loc().map(|loc| loc.start()))
}

fn start(offset: Option<usize>) -> usize {
    offset.unwrap_or(0)
}

/// From 1, columns in characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
