//! A journal that was touched, in every way there is, and what the verifier says of it.

use std::ffi::OsStr;
use std::fs;
use std::time::Duration;

use super::*;
use crate::audit::line::{Kind, Link, seal, unsealed};
use crate::audit::samples::Samples;
use crate::audit::signing::tests::{PRIVATE, PUBLIC};
use crate::audit::signing::{Signer, SigningKey};
use crate::audit::{Activity, Durability, Instance, Journal, JournalConfig, Note, Severity};
use crate::telemetry::metrics::Metrics;

/// A directory with a journal of one run: files of about three requests each.
struct Written(tempfile::TempDir);

impl Written {
    async fn with(requests: usize) -> Self {
        let written = Self(tempfile::tempdir().unwrap());
        written.run(requests).await;
        written
    }

    async fn run(&self, requests: usize) {
        let journal = self.open();
        for _ in 0..requests {
            journal.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
        }
        journal.close().await;
        drop(journal);
        let newest = || self.files().pop().map(|path| File::open(path).unwrap());
        while newest().is_none_or(|file| file.try_lock().is_err()) {
            std::thread::yield_now();
        }
    }

    fn open(&self) -> Journal {
        let config = JournalConfig {
            privacy: crate::audit::Privacy::default(),
            directory: Some(self.0.path().to_owned()),
            durability: Durability::Write,
            rotate_size: 8 * 1024,
            rotate_age: Duration::from_secs(3600),
            signing_key: None,
            queue: 64,
        };
        let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
        let signer: Box<dyn Signer> = Box::new(SigningKey::from_pem(PRIVATE.as_bytes()).unwrap());
        let metrics = Metrics::new().unwrap();
        Journal::open_signed(&config, &instance, &metrics, Some(signer)).unwrap()
    }

    fn ending(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            entries.filter(|path| path.extension() == Some(OsStr::new(extension))).collect();
        paths.sort();
        paths
    }

    fn files(&self) -> Vec<PathBuf> {
        self.ending(RECORDS)
    }

    /// The lines of the file with this index, each with its newline, rearranged.
    fn edit(&self, file: usize, edit: impl FnOnce(&mut Vec<String>)) {
        let path = &self.files()[file];
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        edit(&mut lines);
        fs::write(path, lines.concat()).unwrap();
    }

    fn reports(&self) -> Vec<Report> {
        let key = PublicKey::from_pem(PUBLIC.as_bytes()).unwrap();
        let evidence = Evidence::default().with_key(Some(key));
        verify(&[self.0.path().to_owned()], evidence).unwrap()
    }

    fn report(&self) -> Report {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.remove(0)
    }

    /// `FILE:LINE: WORDS` of the fault, with the file's index for its name.
    fn fault(&self) -> String {
        let fault = self.report().fault.expect("a fault");
        let index = self.files().iter().position(|path| *path == fault.path);
        let index = index.map_or_else(|| "heads".to_owned(), |index| index.to_string());
        format!("{index}:{}: {}", fault.line, fault.what)
    }
}

fn sequence(line: &str) -> u64 {
    Line::parse(line.trim_end().as_bytes()).unwrap().sequence
}

#[tokio::test]
async fn an_untouched_journal_of_several_files_and_runs_is_whole() {
    let written = Written::with(7).await;
    written.run(2).await;
    let report = written.report();
    assert_eq!((report.fault, report.notes), (None, Vec::<String>::new()));
    assert_eq!((report.first, report.files), (1, written.files().len()));
    assert!(report.files >= 3 && report.heads > report.files as u64, "{}", report.heads);
    assert_eq!(report.heads, report.signed);
    assert_eq!(report.last, 9 + report.heads);
}

#[tokio::test]
async fn a_flipped_bit_is_an_edit() {
    let written = Written::with(7).await;
    written.edit(1, |lines| lines[2] = lines[2].replacen("alice", "alicd", 1));
    assert_eq!(written.fault(), "1:3: edited: the record is not what its fingerprint was made of");
}

#[tokio::test]
async fn an_edit_with_a_new_fingerprint_shows_in_the_record_behind_it() {
    let written = Written::with(7).await;
    written.edit(1, |lines| {
        let (covered, _) = lines[2].rsplit_once(r#","fingerprint":"#).unwrap();
        let covered = covered.replace("alice", "mallo");
        let print = crate::audit::digest::Fingerprint::of(covered.as_bytes());
        let own = format!(r#","fingerprint":{{"algorithm_id":3,"value":"{print}"}}}}]}}}}"#);
        lines[2] = format!("{covered}{own}\n");
    });
    let words = "edited: the next record was written behind another one than this";
    assert_eq!(written.fault(), format!("1:3: {words}"));
}

#[tokio::test]
async fn a_deleted_record_is_missing() {
    let written = Written::with(7).await;
    let mut gone = 0;
    written.edit(1, |lines| gone = sequence(&lines.remove(1)));
    assert_eq!(written.fault(), format!("1:2: removed: record {gone} is missing before this line"));
    written.edit(1, |lines| drop(lines.remove(1)));
    let words = format!("removed: records {gone} to {} are missing before this line", gone + 1);
    assert_eq!(written.fault(), format!("1:2: {words}"));
}

#[tokio::test]
async fn an_inserted_line_is_no_record_and_a_copy_is_one_too_many() {
    let written = Written::with(7).await;
    let good = fs::read_to_string(&written.files()[1]).unwrap();
    for foreign in [&good.lines().nth(1).unwrap().replace("alice", "bobby"), "{}", ""] {
        written.edit(1, |lines| lines.insert(2, format!("{foreign}\n")));
        assert_eq!(written.fault(), "1:3: inserted: the line is no record of this chain");
        fs::write(&written.files()[1], &good).unwrap();
    }
    for at in [1, 3] {
        let mut copied = 0;
        written.edit(1, |lines| {
            copied = sequence(&lines[2]);
            lines.insert(at, lines[2].clone());
        });
        assert_eq!(
            written.fault(),
            format!("1:{}: inserted: record {copied} stands here again", at + 1)
        );
        fs::write(&written.files()[1], &good).unwrap();
    }
}

#[tokio::test]
async fn records_that_changed_places_are_reordered() {
    let written = Written::with(7).await;
    let mut first = 0;
    written.edit(1, |lines| {
        first = sequence(&lines[1]);
        lines.swap(1, 2);
    });
    let words = format!("reordered: record {} stands where record {first} belongs", first + 1);
    assert_eq!(written.fault(), format!("1:2: {words}"));
}

#[tokio::test]
async fn a_tail_that_was_cut_shows_in_the_heads() {
    let written = Written::with(7).await;
    let last = written.files().len() - 1;
    let (mut line, mut left) = (0, 0);
    written.edit(last, |lines| {
        // The last head, and the record before it.
        lines.truncate(lines.len() - 2);
        line = lines.len();
        left = sequence(lines.last().unwrap());
    });
    let words = format!("cut tail: the chain goes on to record {}, as head", left + 1);
    assert!(written.fault().starts_with(&format!("{last}:{line}: {words}")), "{}", written.fault());
    // Without any head from elsewhere nobody can tell: the chain that is left is whole.
    written.ending(HEADS).iter().for_each(|path| fs::remove_file(path).unwrap());
    let report = written.report();
    assert_eq!(report.fault, None);
    let note = "no head ends it: it is being written, or a run crashed";
    assert!(report.notes.len() == 1 && report.notes[0].starts_with(note), "{:?}", report.notes);
}

#[tokio::test]
async fn a_tail_that_was_cut_within_a_record_is_torn() {
    let written = Written::with(1).await;
    written.edit(0, |lines| {
        let cut = lines[1].len() / 2;
        lines[1].truncate(cut);
        lines.truncate(2);
    });
    assert_eq!(written.fault(), "0:2: cut tail: the file ends in the middle of a record");
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_told_from_a_file_that_is_gone() {
    let written = Written::with(7).await;
    let (mut line, mut gone) = (0, 0);
    let good = fs::read(&written.files()[0]).unwrap();
    written.edit(0, |lines| {
        gone = sequence(&lines.pop().unwrap());
        line = lines.len();
    });
    let words = format!("cut tail: record {gone} is missing at the end of this file");
    assert_eq!(written.fault(), format!("0:{line}: {words}"));

    fs::write(&written.files()[0], good).unwrap();
    let removed = written.files().remove(1);
    fs::remove_file(&removed).unwrap();
    let name = removed.file_name().unwrap().to_string_lossy().into_owned();
    let fault = written.fault();
    assert!(fault.starts_with("1:1: missing file: records "), "{fault}");
    assert!(fault.ends_with(&format!("the last of them in `{name}`")), "{fault}");
}

#[tokio::test]
async fn files_at_the_beginning_or_the_end_or_all_of_them_are_missed_too() {
    let written = Written::with(7).await;
    let files = written.files();
    let (newest, texts): (_, Vec<_>) =
        (files.last().unwrap(), files.iter().map(|path| fs::read(path).unwrap()).collect());
    fs::remove_file(newest).unwrap();
    assert!(
        written.fault().contains("cut tail: the chain goes on to record"),
        "{}",
        written.fault()
    );

    fs::write(newest, texts.last().unwrap()).unwrap();
    fs::remove_file(&files[0]).unwrap();
    let fault = written.fault();
    assert!(fault.contains("missing file: records 1 to "), "{fault}");
    assert!(fault.ends_with(
        "are not here, and no record that a head counts says that retention removed them"
    ));

    files.iter().skip(1).for_each(|path| fs::remove_file(path).unwrap());
    let fault = written.fault();
    assert!(fault.contains("missing file: no file is here of a chain that has"), "{fault}");
}

/// Has `journal` say that retention removed a file, which it then does.
async fn retire(journal: &Journal, path: &Path) -> usize {
    let count = fs::read_to_string(path).unwrap().lines().count();
    let file = path.file_name().unwrap().to_str().unwrap();
    let members = format!(r#""retired":{{"file":"{file}","count":{count}}}"#);
    let note = Note {
        failure: None,
        time: std::time::SystemTime::now(),
        operation: "RetireFile",
        activity: Activity::Delete,
        severity: Severity::Informational,
        message: "retention removed a file",
        members: members.as_bytes(),
    };
    journal.note(Kind::Retired, &note).await.unwrap();
    fs::remove_file(path).unwrap();
    count
}

#[tokio::test]
async fn what_retention_removed_and_said_so_is_not_missed() {
    let written = Written::with(7).await;
    let first = written.files().remove(0);
    let journal = written.open();
    let count = retire(&journal, &first).await;
    journal.close().await;
    let report = written.report();
    assert_eq!(report.fault, None);
    assert_eq!(report.notes, [format!("begins behind record {count}")]);
}

/// Of the processes that share a directory one removes files for all.
#[tokio::test]
async fn a_word_of_retention_is_of_the_chain_whose_file_it_names_wherever_it_stands() {
    let written = Written::with(7).await;
    let (files, of_another) = (written.files(), written.open());
    let removing = written.open();
    for _ in 0..7 {
        removing.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    }
    let count = retire(&removing, &files[0]).await;
    removing.close().await;
    of_another.close().await;
    let said = files::FileName::parse(&files[0]).unwrap().chain;
    let faults = |written: &Written| {
        let (said, other): (Vec<_>, Vec<_>) =
            written.reports().into_iter().partition(|report| report.chain == said);
        assert_eq!((said.len(), other.len()), (1, 1));
        assert_eq!(said[0].notes, [format!("begins behind record {count}")]);
        (said[0].fault.clone(), other[0].fault.clone())
    };
    assert_eq!(faults(&written), (None, None));

    let theirs = |path: &PathBuf| files::FileName::parse(path).unwrap().chain != said;
    fs::remove_file(written.files().into_iter().find(theirs).unwrap()).unwrap();
    let (none, fault) = faults(&written);
    let missing =
        |what| matches!(what, What::MissingBeginning { from: 1, to } if to <= count as u64);
    assert_eq!(none, None);
    assert!(missing(fault.expect("nobody said so").what));
}

#[tokio::test]
async fn a_word_of_retention_that_no_head_counts_excuses_nothing() {
    let written = Written::with(7).await;
    let first = written.files().remove(0);
    let count = fs::read_to_string(&first).unwrap().lines().count();
    let file = first.file_name().unwrap().to_str().unwrap().to_owned();
    written.edit(written.files().len() - 1, |lines| {
        let end = Line::parse(lines.last().unwrap().trim_end().as_bytes()).unwrap();
        let said = format!(r#"}},"unmapped":{{"retired":{{"file":"{file}","count":{count}}}"#);
        let record = unsealed(Kind::Retired, said.as_bytes()).concat();
        let mut forged = Vec::new();
        seal(end.chain, end.link(), &record, &mut forged);
        lines.push(String::from_utf8(forged).unwrap());
    });
    assert_eq!(written.report().fault, None, "the control: the line is of the chain");
    fs::remove_file(first).unwrap();
    let fault = written.fault();
    let words = "are not here, and no record that a head counts says that retention removed them";
    assert!(fault.contains("missing file: records 1 to ") && fault.ends_with(words), "{fault}");
}

#[tokio::test]
async fn heads_kept_elsewhere_unmask_a_chain_that_was_made_anew() {
    let (kept, forged) = (Written::with(3).await, Written::with(3).await);
    // The same chain's name, other records: what one who can write the disk would leave.
    let heads = kept.ending(HEADS).pop().unwrap();
    let (ours, theirs) = (kept.report().chain.to_string(), forged.report().chain.to_string());
    let text = fs::read_to_string(&heads).unwrap();
    let elsewhere = forged.0.path().join("elsewhere");
    fs::write(&elsewhere, text.replace(&ours, &theirs)).unwrap();
    let words = |key: Option<&str>| {
        let key = key.map(|pem| PublicKey::from_pem(pem.as_bytes()).unwrap());
        let mut evidence = Evidence::default().with_key(key);
        evidence.add_heads(&elsewhere).unwrap();
        let report = verify(&[forged.0.path().to_owned()], evidence).unwrap().remove(0);
        report.fault.unwrap().what
    };
    assert!(matches!(words(None), What::OtherChain { .. }), "{}", words(None));
    // Nor can the head be bent to fit.
    assert!(matches!(words(Some(PUBLIC)), What::BadSignature(_)), "{}", words(Some(PUBLIC)));
}

/// The chain made anew with these records, in its first file alone, and no heads.
fn forge(written: &Written, keep: impl Fn(&Line<'_>) -> bool) {
    let (mut last, mut text) = (Link::NONE, Vec::new());
    for path in written.files() {
        let old = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for line in old.split(|byte| *byte == b'\n').filter_map(Line::parse).filter(&keep) {
            let record = unsealed(line.kind, line.rendered()).concat();
            last = seal(line.chain, last, &record, &mut text);
        }
    }
    let chain = Line::parse(text.split(|byte| *byte == b'\n').next().unwrap()).unwrap().chain;
    let name = files::FileName { stamp: 1_795_435_200_123, chain }.to_string();
    fs::write(written.0.path().join(name), text).unwrap();
    written.ending(HEADS).iter().for_each(|path| fs::remove_file(path).unwrap());
}

#[tokio::test]
async fn a_chain_that_was_made_anew_without_heads_does_not_pass_for_a_signed_one() {
    let written = Written::with(3).await;
    assert_eq!(written.report().fault, None, "the control");
    forge(&written, |line| line.kind == Kind::Request);
    let fault = written.report().fault.expect("a fault").what;
    assert_eq!(fault, What::NoHead);
}

#[tokio::test]
async fn what_no_head_speaks_for_is_counted() {
    let written = Written::with(0).await;
    let journal = written.open();
    for _ in 0..2 {
        journal.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    }
    let report = written.report();
    let told = |note: &String| note.ends_with("no head speaks for the last 2 records");
    assert!(report.fault.is_none() && report.notes.iter().any(told), "{:?}", report.notes);
}

#[tokio::test]
async fn a_line_of_no_chain_voids_no_file() {
    let written = Written::with(1).await;
    let chain = written.report().chain;
    let (real, later) = (written.files().remove(0), u64::MAX >> 24);
    let name = files::FileName { stamp: later, chain }.to_string();
    // Records that were put behind the chain's end, and a file that voids them and itself.
    let mut text = fs::read(&real).unwrap();
    let end = text.len();
    text.extend_from_slice(b"{\"anything\":true}\n");
    fs::write(&real, text).unwrap();
    let real = real.file_name().unwrap().to_str().unwrap();
    let mut forged = Vec::new();
    for (file, offset) in [(real, end), (name.as_str(), 0)] {
        let gap = format!(
            r#"}},"unmapped":{{"gap":{{"file":"{file}","offset":{offset},"bytes":1,"reason":"torn"}}"#
        );
        let record = unsealed(Kind::Gap, gap.as_bytes()).concat();
        seal(chain, Link::NONE, &record, &mut forged);
    }
    fs::write(written.0.path().join(&name), forged).unwrap();
    assert_eq!(written.report().fault.expect("a fault").what, What::Foreign);
}

#[tokio::test]
async fn a_head_by_another_key_is_bad() {
    let written = Written::with(1).await;
    let mut other = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
    assert!(other.sign(b"").is_ok());
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = PublicKey::from_pem(pair.public_key_pem().as_bytes()).unwrap();
    let evidence = Evidence::default().with_key(Some(key));
    let fault = verify(&[written.0.path().to_owned()], evidence).unwrap().remove(0).fault.unwrap();
    assert_eq!(fault.what.to_string(), "bad head: head 1 has no good signature by this key");
}

#[tokio::test]
async fn a_file_of_no_chain_does_not_pass_for_one() {
    let written = Written::with(1).await;
    fs::write(written.0.path().join("zz.jsonl"), "{}\n").unwrap();
    let reports = written.reports();
    assert!(reports[0].fault.is_none());
    let fault = reports[1].fault.clone().unwrap();
    assert_eq!(fault.what.to_string(), "inserted: the file holds no record of any chain");
}

#[tokio::test]
async fn a_few_files_by_name_need_not_begin_at_the_beginning() {
    let written = Written::with(7).await;
    let some = &written.files()[1..3];
    let report = verify(some, Evidence::default()).unwrap().remove(0);
    assert_eq!(report.fault, None);
    assert_eq!(report.files, 2);
}

#[tokio::test]
async fn a_journal_that_is_being_written_is_not_torn() {
    let written = Written::with(0).await;
    let journal = written.open();
    journal.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    let newest = written.files().pop().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&newest).unwrap();
    io::Write::write_all(&mut file, b"{\"metadata\":{\"seq").unwrap();
    let report = written.report();
    assert_eq!(report.fault, None);
    let name = newest.file_name().unwrap().to_string_lossy().into_owned();
    assert!(report.notes.contains(&format!("{name} is being written")), "{:?}", report.notes);
}
