//! The built binary at the prompt: what each command prints, where, and how it exits.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Exit code, standard output, standard error.
pub type Told = (Option<i32>, String, String);

/// The binary in `directory`, with no terminal and 80 columns.
fn sagegate_in(directory: &Path, arguments: &[&str]) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_sagegate"))
        .args(arguments)
        .current_dir(directory)
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Over the examples.
pub fn sagegate(arguments: &[&str]) -> Told {
    sagegate_in(&examples(), arguments)
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// The examples in a directory of their own.
fn copied() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("policies")).unwrap();
    for name in ["sagegate.yaml", "access.yaml", "policies/production-targets.cedar"] {
        fs::copy(examples().join(name), directory.path().join(name)).unwrap();
    }
    directory
}

/// The same with a word of one of them replaced.
fn with(file: &str, right: &str, wrong: &str) -> TempDir {
    let directory = copied();
    let text = fs::read_to_string(examples().join(file)).unwrap();
    assert!(text.contains(right), "{right}");
    fs::write(directory.path().join(file), text.replacen(right, wrong, 1)).unwrap();
    directory
}

const READING: [&[&str]; 5] = [&["run"], &["check"], &["policy"], &["limits"], &QUESTION];
const QUESTION: [&str; 11] = [
    "explain",
    "--issuer",
    "corp",
    "--user",
    "u",
    "--group",
    "ds",
    "--action",
    "InvokeEndpoint",
    "--endpoint",
    "summarizer",
];

#[test]
fn good_files_are_ok_and_a_slip_in_any_is_told_by_every_command() {
    let (code, told, wrong) = sagegate(&["check"]);
    assert_eq!((code, &*wrong), (Some(0), ""), "{told}");
    assert!(told.starts_with("sagegate.yaml: ok\npolicy: sha256:"), "{told}");

    for (file, right, slip, told) in [
        ("sagegate.yaml", "audiences:", "audience:", "hint: did you mean `audiences`?\n"),
        (
            "access.yaml",
            "InvokeEndpoint]",
            "InvokeEndpiont]",
            "hint: did you mean `InvokeEndpoint`?\n",
        ),
        (
            "policies/production-targets.cedar",
            "context.target_variant",
            "context.target",
            "policies/production-targets.cedar:",
        ),
    ] {
        let directory = with(file, right, slip);
        for command in READING {
            let (code, out, wrong) = sagegate_in(directory.path(), command);
            assert_eq!((code, &*out), (Some(2), ""), "{command:?}: {wrong}");
            assert!(wrong.starts_with(file) && wrong.contains(told), "{command:?}: {wrong}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_type() {
    let nowhere = TempDir::new().unwrap();
    for command in READING {
        let (code, out, wrong) = sagegate_in(nowhere.path(), command);
        assert_eq!((code, &*out), (Some(2), ""), "{command:?}");
        assert_eq!(
            wrong,
            "sagegate.yaml: cannot be read: there is no such file\n  \
             hint: say where it is with `--config FILE`\n"
        );
    }
}

#[test]
fn explain_exits_by_its_decision_and_wrong_names_are_wrong_usage() {
    let ask = |more: &[&str]| sagegate(&[&QUESTION[..], more].concat());
    let (code, told, wrong) = ask(&[]);
    assert_eq!((code, &*wrong), (Some(0), ""), "{told}");
    assert!(told.contains("\"decision\": \"permit\""), "{told}");
    let (code, told, wrong) = ask(&["--tag", "environment=prod"]);
    assert_eq!((code, &*wrong), (Some(3), ""), "{told}");
    assert!(told.contains("\"decision\": \"deny\""), "{told}");
    let (code, _, wrong) = ask(&["--group", "corp/ds"]);
    assert_eq!((code, &*wrong), (Some(0), "note: `corp/ds` is read as `corp/corp/ds`\n"));

    let other = QUESTION.map(|word| if word == "corp" { "crop" } else { word });
    assert_eq!(
        sagegate(&other),
        (Some(2), String::new(), "error: no issuer `crop`; there is corp\n".to_owned())
    );
}

#[test]
fn the_policy_that_is_printed_is_cedar_that_loads_again() {
    let (code, cedar, wrong) = sagegate(&["policy"]);
    assert_eq!((code, &*wrong), (Some(0), ""));
    assert!(cedar.starts_with("// role data-scientist: "), "{cedar}");
    let directory = copied();
    fs::write(directory.path().join("policies/printed.cedar"), cedar).unwrap();
    let (code, _, wrong) = sagegate_in(directory.path(), &["check"]);
    assert_eq!((code, &*wrong), (Some(0), ""));
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_right() {
    for (arguments, told) in [
        (&["chek"][..], "a similar subcommand exists: 'check'"),
        (&["check", "--confg", "x"], "a similar argument exists: '--config'"),
        (&["explain"], "--endpoint <ENDPOINT>"),
        (&["explain", "--endpoint", "a_b"], "at most 63 letters, digits and inner hyphens"),
        (&["audit", "query"], "<DIR|FILE>"),
        (&[], "Usage: sagegate <COMMAND>"),
    ] {
        let (code, out, wrong) = sagegate(arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}");
        assert!(wrong.contains(told), "{arguments:?}: {wrong}");
    }
    assert_eq!(sagegate(&["--version"]).0, Some(0));
}

#[test]
fn the_help_of_every_command_fits_a_terminal() {
    for command in [
        "",
        "run",
        "check",
        "policy",
        "explain",
        "limits",
        "audit",
        "audit query",
        "audit verify",
        "audit key",
        "demo",
    ] {
        let arguments: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let (code, told, wrong) = sagegate(&arguments);
        assert_eq!((code, &*wrong), (Some(0), ""), "{command}");
        for line in told.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
}

/// What is no fault of the files is a failure and not wrong usage, and on the log.
#[test]
fn a_gateway_that_cannot_start_exits_1_and_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = with("sagegate.yaml", "127.0.0.1:8080", &address);
    let (code, _, log) = sagegate_in(directory.path(), &["run"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&format!("cannot listen on {address}: Address already in use")), "{log}");
}
