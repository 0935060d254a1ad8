//! From a path to everything compiled: the one way in, for files and for texts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::at::At;
use super::compile::access::{Known, access};
use super::compile::{gateway, issuers, ship, store};
use super::expand::{Environment, expand};
use super::fault::{Fault, Faults, Tried};
use super::file;
use super::loaded::{Loaded, Source};
use super::reload;
use super::schema;
use super::shape;
use super::sources::{Sources, why};
use super::yaml::{self, Node, Value};
use crate::limits::LimitsConfig;
use crate::names::{Group, User};
use crate::policy::{Access, Footprint, Policy, PolicyFile};
use crate::telemetry::metrics::Metrics;

/// How often the files are read again because they changed meanwhile. A ConfigMap swaps all
/// of them at once; one that goes on changing is for the next reload.
const AGAIN: usize = 3;

/// Reads `path` (`sagegate.yaml`) and what it names, with `env` for `${…}`. Files that
/// change while they are read are read again, so that one half of a change is never loaded
/// with the other half of what was before.
///
/// # Errors
/// Every fault of both files that can be told, sorted by file and line.
pub fn load(path: &Path, env: &Environment<'_>, metrics: &Metrics) -> Result<Loaded, Faults> {
    for _ in 0..AGAIN {
        let result = load_from(Sources::beside(path), path, env, metrics);
        if !reload::changed_since(&result) {
            return result;
        }
    }
    load_from(Sources::beside(path), path, env, metrics)
}

/// The same of texts at hand, by their paths: nothing is read from the disk.
///
/// # Errors
/// As [`load`].
pub fn load_texts(
    files: BTreeMap<PathBuf, Vec<u8>>,
    path: &Path,
    env: &Environment<'_>,
    metrics: &Metrics,
) -> Result<Loaded, Faults> {
    load_from(Sources::given(path, files), path, env, metrics)
}

fn load_from(
    mut sources: Sources,
    path: &Path,
    env: &Environment<'_>,
    metrics: &Metrics,
) -> Result<Loaded, Faults> {
    let faults = RefCell::default();
    let loaded = load_both(path, env, metrics, &mut sources, &faults);
    let (mut faults, tried) = (faults.into_inner(), sources.into_tried());
    match loaded {
        Some(loaded) if faults.is_empty() => Ok(with_sources(loaded, tried)),
        loaded => {
            if loaded.is_none() && faults.is_empty() {
                faults.push(Fault::of_file(path, "cannot be read, and no fault of it was found"));
            }
            faults.tried = tried;
            Err(faults)
        }
    }
}

fn with_sources(loaded: Loaded, tried: Tried) -> Loaded {
    let source = |(path, sha256): (PathBuf, Option<String>)| Some(Source { path, sha256: sha256? });
    Loaded {
        sources: tried.files.into_iter().filter_map(source).collect(),
        policies_dir: tried.policies_dir,
        ..loaded
    }
}

/// A file, twice: as it was written, for its names, and what of it fits its schema.
struct Read<T> {
    raw: Node,
    fitting: Option<(Node, T)>,
}

/// What the access file says.
struct Rules {
    path: PathBuf,
    access: Access,
    limits: LimitsConfig,
}

fn load_both(
    path: &Path,
    env: &Environment<'_>,
    metrics: &Metrics,
    sources: &mut Sources,
    faults: &RefCell<Faults>,
) -> Option<Loaded> {
    let main: Read<file::gateway::Gateway> =
        read(path, env, &schema::GATEWAY, sources, &mut faults.borrow_mut())?;
    let rules = access_path(&main, sources).map(|path| {
        let read = read(&path, env, &schema::ACCESS, sources, &mut faults.borrow_mut());
        let (access, limits) = compile_access(&path, &main, read?, faults)?;
        Some(Rules { path, access, limits })
    });
    let (node, file) = main.fitting.as_ref()?;
    compile(&At::top(path, node, faults), file, metrics, sources, rules.flatten())
}

/// Where the access file is, even if other parts of the main file are faulty.
fn access_path<T>(main: &Read<T>, sources: &Sources) -> Option<PathBuf> {
    let Some(node) = main.raw.get("access") else {
        return Some(sources.resolve(Path::new("access.yaml")));
    };
    match &node.value {
        Value::Text(text) if !node.unknown() => Some(sources.resolve(Path::new(text))),
        _ => None,
    }
}

fn read<T: for<'de> Deserialize<'de>>(
    path: &Path,
    env: &Environment<'_>,
    schema: &serde_json::Value,
    sources: &mut Sources,
    faults: &mut Faults,
) -> Option<Read<T>> {
    let told =
        |error: std::io::Error| Fault::of_file(path, format!("cannot be read: {}", why(&error)));
    let bytes = sources.read(path).map_err(told);
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| Fault::of_file(path, "is not a text in UTF-8"))
    });
    let tree = text.and_then(|text| yaml::parse(path, &text, faults));
    let mut raw = tree.map_err(|fault| faults.push(fault)).ok()?;
    expand(path, &mut raw, env, faults);
    let node = shape::check(path, raw.clone(), schema, faults);
    let fitting = node.and_then(|node| {
        let told = |error| Fault::of_file(path, format!("does not fit its own schema: {error}"));
        let typed = T::deserialize(&node).map_err(told);
        typed.map_err(|fault| faults.push(fault)).ok().map(|typed| (node, typed))
    });
    Some(Read { raw, fitting })
}

fn compile_access(
    path: &Path,
    main: &Read<file::gateway::Gateway>,
    read: Read<file::access::Access>,
    faults: &RefCell<Faults>,
) -> Option<(Access, LimitsConfig)> {
    let names = |node: &'_ Node, key| -> Vec<String> {
        let entries = node.get(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(|entry| entry.key.clone()).collect()
    };
    let issuers = names(&main.raw, "issuers");
    let known = Known {
        issuers: Some(issuers).filter(|issuers| !issuers.is_empty()),
        roles: names(&read.raw, "roles").into_iter().collect(),
        max_body: main.fitting.as_ref().map_or(0, |(_, file)| file.server.max_body.0),
    };
    let (node, file) = read.fitting?;
    Some(access(&At::top(path, &node, faults), &file, &known))
}

fn compile<'a>(
    at: &At<'a>,
    file: &'a file::gateway::Gateway,
    metrics: &Metrics,
    sources: &mut Sources,
    rules: Option<Rules>,
) -> Option<Loaded> {
    let server = gateway::server(at, file, sources);
    let (requests, body_timeout) = gateway::requests(at, &file.server);
    let aws = gateway::aws(at, file, sources);
    let issuers = issuers::issuers(at, file, sources);
    let (admin, journal) = (gateway::admin(at, file), gateway::journal(at, &file.audit, sources));
    let limit_store = store::store(at, file, sources);
    let ship = ship::ship(at, file, sources);
    let policies = policies(at, file, sources);
    let Rules { path, access, limits } = rules?;
    let policy = Policy::compile(access.clone(), &policies, metrics);
    let policy = policy.map_err(|wrong| at.extend_of_policies(&path, sources, wrong)).ok()?;
    policies_issuers(&at.key("policies"), file, policy.footprint());
    Some(Loaded {
        server,
        max_body: file.server.max_body.0,
        body_memory: file.server.body_memory.0,
        body_timeout,
        requests,
        drain_timeout: file.server.drain_timeout.0,
        workers: file.server.workers,
        admin,
        aws,
        issuers,
        access,
        policy,
        limits,
        limit_store,
        journal,
        ship,
        log: gateway::log(&file.log),
        dangers: gateway::dangers(&file.danger),
        sources: Vec::new(),
        policies_dir: None,
    })
}

/// A policy that names a group or user of an issuer that does not exist holds for nobody,
/// which for a forbid means that it lets everybody through.
fn policies_issuers(at: &At<'_>, file: &file::gateway::Gateway, footprint: &Footprint) {
    let groups = footprint.groups().iter().map(Group::as_str);
    let names: BTreeSet<_> = groups.chain(footprint.users().iter().map(User::as_str)).collect();
    let known = || file.issuers.iter().map(|(issuer, _)| issuer);
    for name in names {
        let issuer = name.split_once('/').map_or(name, |(issuer, _)| issuer);
        if !known().any(|one| one == issuer) {
            let all: Vec<_> = known().collect();
            let message = format!("a policy names `{name}`, and there is no issuer `{issuer}`");
            at.reject_name(message, issuer, all);
        }
    }
}

fn policies(at: &At<'_>, file: &file::gateway::Gateway, sources: &mut Sources) -> Vec<PolicyFile> {
    let paths = gateway::policy_paths(at, file, sources);
    let one = |path: &PathBuf| {
        let told = |reason: String| {
            at.key("policies").reject(format!("cannot read `{}`: {reason}", path.display()));
        };
        let bytes = sources.read(path).map_err(|error| told(why(&error))).ok()?;
        let text = String::from_utf8(bytes).map_err(|_| told("it is not UTF-8".to_owned())).ok()?;
        Some(PolicyFile { name: sources.relative(path).display().to_string(), text })
    };
    paths.iter().filter_map(one).collect()
}
