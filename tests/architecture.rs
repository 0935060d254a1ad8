//! Holds `src/` to its shape: rooms import only from lower ranks, the pure modules know no
//! runtime, file system or clock, every module opens with why it exists, and nothing grows
//! past what one can read.
//!
//! It reads the sources as text (`architecture/source.rs`). Each check is also run on a
//! snippet that breaks it, so that a check which lost its sight fails here and not in a review.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: clippy's own allowance does not reach its helper functions"
)]
#![expect(unreachable_pub, reason = "a binary has no outside")]

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, all_files, functions, read, root, sources, words_after};

/// DESIGN's ranks. A room imports only from rooms with a lower number.
const RANKS: [(&str, u8); 19] = [
    ("names", 0),
    ("sync", 0),
    ("telemetry", 0),
    ("audit", 1),
    ("aws", 1),
    ("identity", 1),
    ("sagemaker", 1),
    ("server", 1),
    ("policy", 2),
    ("ship", 2),
    ("limits", 3),
    ("upstream", 4),
    ("snapshot", 5),
    ("admin", 6),
    ("config", 6),
    ("gateway", 6),
    ("app", 7),
    ("cli", 8),
    ("main", 9),
];

/// Files, or whole folders, that decide from their parameters alone.
const PURE: [&str; 38] = [
    "audit/event.rs",
    "audit/json.rs",
    "audit/render.rs",
    "aws/sigv4.rs",
    "gateway/refusal.rs",
    "identity/bearer.rs",
    "identity/claims.rs",
    "identity/error.rs",
    "identity/hash.rs",
    "identity/json.rs",
    "identity/keys.rs",
    "identity/rules.rs",
    "identity/token.rs",
    "limits/bucket.rs",
    "limits/count.rs",
    "limits/day.rs",
    "limits/headers.rs",
    "limits/limit.rs",
    "limits/open.rs",
    "limits/table.rs",
    "limits/shared/breaker.rs",
    "limits/shared/lease.rs",
    "limits/shared/slots.rs",
    "names.rs",
    "policy.rs",
    "policy/",
    "sagemaker.rs",
    "sagemaker/",
    "server/frames.rs",
    "server/framing.rs",
    "ship/batch.rs",
    "ship/spool.rs",
    "upstream/addresses.rs",
    "upstream/budget.rs",
    "upstream/headers.rs",
    "upstream/health.rs",
    "upstream/route.rs",
    "upstream/sign.rs",
];

/// What a pure module may not name. Types such as `std::net::IpAddr` and `SystemTime` are
/// values like any other; reading a clock or opening a socket is not.
const IMPURE: [&str; 15] = [
    "tokio",
    "tokio_util",
    "tokio_rustls",
    "hyper",
    "hyper_util",
    "hyper_rustls",
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "crate::telemetry::clock::Clock",
];

const MOST_LINES_OF_A_FILE: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 60;

#[test]
fn rooms_import_only_from_lower_ranks() {
    assert_none(sources().iter().flat_map(rank_faults));
}

#[test]
fn every_room_has_a_rank_and_every_rank_a_room() {
    let source = Source::new("lib.rs", &read(&root().join("lib.rs")));
    let declared: BTreeSet<_> = words_after(&source.code, "mod ").collect();
    let ranked = RANKS.iter().map(|(room, _)| *room).filter(|room| *room != "main");
    assert_eq!(declared, ranked.collect());
}

#[test]
fn pure_modules_know_no_runtime_no_file_system_and_no_clock() {
    let sources = sources();
    for pure in PURE {
        assert!(sources.iter().any(|source| is(&source.path, pure)), "`{pure}` is no file");
    }
    assert_none(sources.iter().flat_map(purity_faults));
}

#[test]
fn every_module_opens_with_why_it_exists() {
    assert_none(all_files().iter().filter_map(|(path, text)| opening_fault(path, text)));
}

#[test]
fn files_and_functions_stay_small_enough_to_read() {
    assert_none(sources().iter().flat_map(size_faults));
}

#[test]
fn an_import_from_the_same_or_a_higher_rank_is_seen_in_every_spelling() {
    for bad in [
        "use crate::gateway::Gateway;",
        "pub(crate) use crate::upstream::{Relay, Route};",
        "use crate::{names::Team, gateway};",
        "use {crate::names, crate::limits::{self, Limits}};",
        "fn f() -> crate::cli::Cli { todo() }",
        "fn f() { let x = <crate::policy::Policy as Default>::default(); }",
        "use super::super::config::Fault;",
        "const DOC: &str = \"//\"; use crate::server::Tls;",
    ] {
        assert!(!rank_faults(&Source::new("identity/keys.rs", bad)).is_empty(), "{bad}");
    }
    for good in [
        "use crate::names::{Endpoint, Team};",
        "use crate::identity::Claims;",
        "use super::Claims; use super::keys::Keys;",
        "// use crate::gateway::Gateway;\n/* crate::cli */ const A: &str = \"crate::cli::Cli\";",
        "#[cfg(test)]\nmod tests { use crate::gateway::Gateway; }",
        "#[cfg(test)] use crate::gateway::Gateway;",
    ] {
        assert_none(rank_faults(&Source::new("identity/keys.rs", good)));
    }
    assert_none(rank_faults(&Source::new("cli/run.rs", "use crate::app::App;")));
    assert_eq!(rank_faults(&Source::new("app/build.rs", "use crate::cli::Cli;")).len(), 1);
    assert_eq!(rank_faults(&Source::new("app/build.rs", "use crate::unheard::Of;")).len(), 1);
}

#[test]
fn an_impurity_is_seen_in_every_spelling() {
    for bad in [
        "use tokio::time::sleep;",
        "use std::{collections::HashMap, fs};",
        "use std::net::{IpAddr, TcpStream};",
        "fn f() { let now = std::time::Instant::now(); }",
        "use std::time::SystemTime as When; fn f() { When::now(); }",
        "fn f() { std::env::var(\"A\"); }",
        "async fn f() { tokio::select! {} }",
        "use crate::telemetry::clock::{Clock, unix_millis};",
    ] {
        assert_eq!(purity_faults(&Source::new("policy/decide.rs", bad)).len(), 1, "{bad}");
        assert_none(purity_faults(&Source::new("server/listener.rs", bad)));
    }
    let good = "use std::net::IpAddr; use std::time::{Instant, SystemTime};\n\
                fn f(now: SystemTime) { env!(\"A\"); } // tokio::spawn\n\
                #[cfg(test)] mod tests { use std::fs; }";
    assert_none(purity_faults(&Source::new("policy/decide.rs", good)));
}

#[test]
fn a_module_without_a_why_is_seen() {
    assert!(opening_fault("a.rs", "use std::fs;\n//! Late.").is_some());
    assert!(opening_fault("a.rs", "//!\n//! Why.").is_some());
    assert!(opening_fault("a.rs", "//! Why.").is_none());
}

#[test]
fn a_long_file_and_a_long_function_are_seen_and_tests_do_not_count() {
    let body = |lines: usize| "    let brace = '{';\n".repeat(lines);
    let function = |lines: usize| format!("fn f<T>(a: T)\nwhere T: Copy,\n{{\n{}}}\n", body(lines));
    let faults = |text: &str| size_faults(&Source::new("a.rs", text)).len();
    assert_eq!(faults(&function(MOST_LINES_OF_A_FUNCTION - 4)), 0);
    assert_eq!(faults(&function(MOST_LINES_OF_A_FUNCTION - 3)), 1);
    assert_eq!(faults(&"// A comment counts.\n".repeat(MOST_LINES_OF_A_FILE)), 0);
    assert_eq!(faults(&"// A comment counts.\n".repeat(MOST_LINES_OF_A_FILE + 1)), 1);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(900));
    assert_eq!(faults(&tests), 0);
    assert_eq!(faults("trait T { fn a(&self); fn b(&self) {} }"), 0);
}

fn rank_faults(source: &Source) -> Vec<String> {
    let Some(own) = room(&source.path) else { return Vec::new() };
    let rank = |room: &str| RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank);
    let mut faults = Vec::new();
    for path in &source.names {
        let other = match path.split("::").collect::<Vec<_>>().as_slice() {
            ["crate", room, ..] => *room,
            // `super` above the room's door is the crate.
            steps if leaves_the_crate_behind(&source.path, steps) => "`super`, not `crate`",
            _ => continue,
        };
        if other != own && rank(other).is_none_or(|other| Some(other) >= rank(own)) {
            faults.push(format!("src/{}: `{path}` reaches from `{own}` to `{other}`", source.path));
        }
    }
    faults
}

fn leaves_the_crate_behind(path: &str, steps: &[&str]) -> bool {
    steps.iter().take_while(|step| **step == "super").count() > path.matches('/').count()
}

/// `config/compile/url.rs` → `config`; `None` for the map itself, which imports nothing.
fn room(path: &str) -> Option<&str> {
    let room = path.split(['/', '.']).next()?;
    (room != "lib").then_some(room)
}

fn purity_faults(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|pure| is(&source.path, pure)) {
        return Vec::new();
    }
    let named = |path: &&String| {
        path.ends_with("::now")
            || IMPURE.iter().any(|impure| {
                path.strip_prefix(impure)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            })
    };
    let impure: BTreeSet<_> = source.names.iter().filter(named).collect();
    impure.iter().map(|path| format!("src/{}: `{path}` is impure", source.path)).collect()
}

fn is(path: &str, pure: &str) -> bool {
    path == pure || (pure.ends_with('/') && path.starts_with(pure))
}

fn opening_fault(path: &str, text: &str) -> Option<String> {
    let first = text.lines().next().unwrap_or_default();
    let why = first.strip_prefix("//! ").is_some_and(|why| !why.trim().is_empty());
    (!why).then(|| format!("src/{path}: does not open with `//! ` and why it exists"))
}

fn size_faults(source: &Source) -> Vec<String> {
    let lines = source.code.lines().count();
    let mut faults = Vec::new();
    if lines > MOST_LINES_OF_A_FILE {
        faults.push(format!("src/{}: {lines} lines", source.path));
    }
    for (name, lines) in functions(&source.code) {
        if lines > MOST_LINES_OF_A_FUNCTION {
            faults.push(format!("src/{}: fn {name} has {lines} lines", source.path));
        }
    }
    faults
}

#[track_caller]
fn assert_none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
