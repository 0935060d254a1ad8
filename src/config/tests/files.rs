//! Where the texts come from: files that are missing, that change meanwhile, or are no files.

use std::fs;
use std::path::Path;

use super::super::load::load_texts;
use super::{GOOD, env, load};
use crate::telemetry::metrics::Metrics;

#[test]
fn texts_load_as_files_do_and_never_from_the_disk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let names = ["sagegate.yaml", "access.yaml", "policies/production-targets.cedar"];
    let files = names.map(|name| (root.join(name), fs::read(root.join(name)).unwrap()));
    let main = root.join(names[0]);
    let from_texts = |files| load_texts(files, &main, &env, &Metrics::new().unwrap());
    let texts = from_texts(files.clone().into()).unwrap_or_else(|faults| panic!("{faults}"));
    let disk = load(&main, &env).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(texts.policy.version(), disk.policy.version());
    assert_eq!((texts.sources, texts.access), (disk.sources, disk.access));

    let without_access = files.into_iter().filter(|(path, _)| !path.ends_with("access.yaml"));
    let faults = from_texts(without_access.collect()).map(|_| ()).unwrap_err();
    assert!(faults.to_string().ends_with("access.yaml: cannot be read: there is no such file"));
}

/// A reviewer compares the version on record with that of the files at hand.
#[test]
fn the_policys_version_and_ids_do_not_depend_on_where_the_files_are() {
    let load = |main: &str, policies: &str, cedar: &str| {
        let main = Path::new(main);
        let gateway = format!("{GOOD}policies: {policies}\n");
        let files = [
            (main.to_owned(), gateway.into_bytes()),
            (main.with_file_name("access.yaml"), Vec::new()),
            (main.with_file_name(policies).join("a.cedar"), cedar.as_bytes().to_vec()),
        ];
        let loaded = load_texts(files.into(), main, &env, &Metrics::new().unwrap());
        loaded.map(|loaded| loaded.policy)
    };
    let good = "@id(\"x\") forbid (principal, action, resource);";
    let here = load("sagegate.yaml", "policies", good).unwrap();
    assert!(here.cedar().contains("// policies/a.cedar\n"), "{}", here.cedar());
    for (main, policies) in [
        ("/etc/sagegate/sagegate.yaml", "policies"),
        ("./sagegate.yaml", "policies"),
        ("../b/sagegate.yaml", "./policies/"),
        ("sagegate.yaml", "./policies"),
    ] {
        let there = load(main, policies, good).unwrap();
        assert_eq!((there.version(), there.cedar()), (here.version(), here.cedar()), "{main}");
    }
    for (policies, cedar) in [("other", good), ("policies", "")] {
        let other = load("sagegate.yaml", policies, cedar).unwrap();
        assert_ne!(other.version(), here.version(), "{policies}: {cedar}");
    }

    let told = load("/etc/sagegate/sagegate.yaml", "policies", "nonsense").map(drop).unwrap_err();
    assert!(told.to_string().starts_with("/etc/sagegate/policies/a.cedar:1:"), "{told}");
}

#[test]
fn files_that_are_not_there_or_no_text_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sagegate.yaml");
    let told = || {
        let faults = load(&path, &env).map(|_| ()).unwrap_err().to_string();
        faults.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(told(), "sagegate.yaml: cannot be read: there is no such file");
    fs::write(&path, b"\xff\xfe\x00").unwrap();
    assert_eq!(told(), "sagegate.yaml: is not a text in UTF-8");
    fs::write(&path, GOOD).unwrap();
    assert_eq!(told(), "access.yaml: cannot be read: there is no such file");
    fs::write(dir.path().join("access.yaml"), "").unwrap();
    assert!(load(&path, &env).is_ok());
}

/// A ConfigMap's swap may come between two files of one load. The environment is asked after
/// the first file was read and before the second.
#[test]
fn files_that_change_while_they_are_read_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let write = |generation: &str| {
        let main = format!("{GOOD}aws: {{ region: \"${{X}}{generation}\" }}\n");
        let access = format!("revoked: {{ token_ids: [{generation}] }}\n");
        fs::write(dir.path().join("sagegate.yaml"), main).unwrap();
        fs::write(dir.path().join("access.yaml"), access).unwrap();
    };
    write("old");
    let asked = std::cell::Cell::new(0);
    let swap = |_: &str| {
        if asked.replace(asked.get() + 1) == 0 {
            write("new");
        }
        Some(String::new())
    };
    let loaded = load(&dir.path().join("sagegate.yaml"), &swap).unwrap();
    let revoked: Vec<_> = loaded.access.revoked.token_ids.iter().map(String::as_str).collect();
    assert_eq!((loaded.aws.region.as_deref(), revoked), (Some("new"), vec!["new"]));
}
