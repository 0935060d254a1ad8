//! `sagegate audit verify` and `sagegate audit key`, by the built binary: what they print,
//! and what a script sees of it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sagegate::app::Drained;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ask, OK, Setup, Stand};

/// RFC 8410 §10.3 and §10.1: a key and its public half.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

/// `sagegate audit …`: its exit code, what it printed and what it complained of.
fn audit<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sagegate"));
    let output = command.arg("audit").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A journal of three calls whose gateway has ended, with what it takes to verify it.
struct Journal {
    directory: TempDir,
}

impl Journal {
    async fn written() -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("audit.pem"), PRIVATE).unwrap();
        fs::write(directory.path().join("audit.pub"), PUBLIC).unwrap();
        let setup = Setup::default().with("audit", "signing_key", json!("audit.pem"));
        let mut stand = Stand::within(directory, setup).await;
        stand.sagemaker.answer_all(OK);
        for _ in 0..3 {
            stand.ask(&Ask::invoke(&stand.token()), 200).await;
        }
        let (app, (_sagemaker, _issuer, directory)) = stand.apart();
        assert_eq!(app.drain().await, Drained::Clean);
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ending(&self, extension: &str) -> PathBuf {
        let files = fs::read_dir(self.path("journal")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == extension)).max().unwrap()
    }

    /// `verify` of the directory under the public key, and whatever else is said.
    fn verify(&self, more: &[&Path]) -> (Option<i32>, String, String) {
        let (journal, key) = (self.path("journal"), self.path("audit.pub"));
        let all = ["verify".as_ref(), journal.as_path(), "--public-key".as_ref(), key.as_path()];
        audit(all.into_iter().chain(more.iter().copied()))
    }
}

#[tokio::test]
async fn a_whole_journal_is_ok_and_exits_0_and_a_touched_one_names_the_line_and_exits_3() {
    let journal = Journal::written().await;
    let (code, told, complaint) = journal.verify(&[]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{told}");
    let (lead, rest) = told.split_once(": ok: records 1 to ").expect(&told);
    assert!(lead.starts_with("chain ") && rest.ends_with(" in 1 files, 2 heads, 2 signed\n"));

    let file = journal.ending("jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line.contains("corp/alice")).unwrap();
    fs::write(&file, text.replacen("corp/alice", "corp/alicd", 1)).unwrap();
    let (code, told, _) = journal.verify(&[]);
    let words = "edited: the record is not what its fingerprint was made of";
    assert_eq!(told, format!("{}:{}: {words}\n", file.display(), line + 1));
    assert_eq!(code, Some(3));
}

#[tokio::test]
async fn heads_kept_elsewhere_show_the_tail_that_was_cut_with_those_beside_it() {
    let journal = Journal::written().await;
    let (file, heads) = (journal.ending("jsonl"), journal.ending("heads"));
    let kept = journal.path("kept-elsewhere");
    fs::rename(&heads, &kept).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    fs::write(&file, lines[..lines.len() - 2].concat()).unwrap();

    let (code, told, _) = journal.verify(&[]);
    assert_eq!(code, Some(0), "nothing beside it can tell: {told}");
    assert!(told.contains("note: no head ends it"), "{told}");
    let (code, told, _) = journal.verify(&["--heads".as_ref(), &kept]);
    let words = format!(
        "{}:{}: cut tail: the chain goes on to record {}, as head 2 says\n",
        file.display(),
        lines.len() - 2,
        lines.len() - 1,
    );
    assert!(told.starts_with(&words) && code == Some(3), "{code:?} {told}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_from_what_was_touched() {
    let journal = Journal::written().await;
    let empty = TempDir::new().unwrap();
    let (code, _, complaint) = audit(["verify".as_ref(), empty.path()]);
    assert_eq!(code, Some(3));
    assert!(complaint.contains("no journal is here"), "{complaint}");
    let (code, _, complaint) = journal.verify(&["--heads".as_ref(), &journal.path("audit.pub")]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("holds no head"), "{complaint}");
    assert_eq!(audit(["verify", "/none"]).0, Some(1));
}

#[tokio::test]
async fn the_public_key_is_printed_from_the_configuration_and_from_a_key_of_its_own() {
    let journal = Journal::written().await;
    let config = journal.path("sagegate.yaml");
    let printed = (Some(0), PUBLIC.to_owned(), String::new());
    assert_eq!(audit(["key".as_ref(), "--config".as_ref(), config.as_path()]), printed);
    assert_eq!(audit(["key".as_ref(), journal.path("audit.pem").as_path()]), printed);
    let (code, out, complaint) = audit(["key".as_ref(), journal.path("audit.pub").as_path()]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(complaint.contains("no Ed25519 private key in PKCS#8 PEM"), "{complaint}");
}
