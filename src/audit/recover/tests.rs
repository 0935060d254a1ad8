//! What crashes leave behind, and what a start makes of it.

use std::fs;
use std::time::Duration;

use super::*;
use crate::audit::reader::Lines;
use crate::audit::samples::{Samples, valid_kinds};
use crate::audit::{Durability, Instance, Journal, JournalConfig, Privacy};
use crate::telemetry::metrics::Metrics;

fn config(directory: &Path, durability: Durability) -> JournalConfig {
    JournalConfig {
        directory: Some(directory.to_owned()),
        durability,
        rotate_size: 1 << 20,
        rotate_age: Duration::from_secs(3600),
        signing_key: None,
        queue: 64,
        privacy: Privacy::default(),
    }
}

fn open(directory: &Path, durability: Durability) -> Journal {
    let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
    Journal::open(config(directory, durability), instance, &Metrics::new().unwrap()).unwrap()
}

/// A run with so many requests that ends as it should.
async fn run(directory: &Path, requests: usize) {
    let journal = open(directory, Durability::Write);
    for _ in 0..requests {
        journal.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    // Its thread ends a moment later, as a process would with all it holds.
    while free_chain(directory).unwrap().is_none() {
        std::thread::yield_now();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut chains = files::chains(directory).unwrap();
    assert_eq!(chains.len(), 1, "{chains:?}");
    chains.remove(0).files
}

/// The kinds of all records, which are one chain without a fault.
fn kinds(directory: &Path) -> Vec<Kind> {
    let mut last = Link::NONE;
    let mut kinds = Vec::new();
    for path in files(directory) {
        let mut lines = Lines::new(File::open(path).unwrap());
        while let Some(piece) = lines.next().unwrap() {
            let line = Line::parse(piece.text).unwrap();
            assert!(piece.whole && line.is_intact() && line.follows(last), "{line:?}");
            last = line.link();
            kinds.push(line.kind);
        }
    }
    kinds
}

#[tokio::test]
async fn a_start_goes_on_with_the_chain_in_a_file_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 1).await;
    run(root.path(), 1).await;
    use Kind::{Head, Request};
    assert_eq!(kinds(root.path()), [Head, Request, Head, Head, Request, Head]);
    assert_eq!(files(root.path()).len(), 2);
}

#[tokio::test]
async fn a_torn_end_is_set_aside_and_told_of() {
    for (torn, whole) in [(&b"{\"metadata\":{\"sequ"[..], 2), (b"\0\0\0\0\n\0\0", 2)] {
        let root = tempfile::tempdir().unwrap();
        run(root.path(), 1).await;
        let path = files(root.path()).remove(0);
        let text = fs::read(&path).unwrap();
        let cut = text.split_inclusive(|byte| *byte == b'\n').take(whole).map(<[u8]>::len).sum();
        fs::write(&path, [&text[..cut], torn].concat()).unwrap();

        run(root.path(), 1).await;
        assert_eq!(fs::read(&path).unwrap(), text[..cut]);
        assert_eq!(fs::read(path.with_extension(TORN)).unwrap(), torn);
        use Kind::{Gap, Head, Request};
        assert_eq!(kinds(root.path()), [Head, Request, Head, Gap, Request, Head]);
        let told = fs::read_to_string(&files(root.path())[1]).unwrap();
        let gap = format!(r#""offset":{cut},"bytes":{},"reason":"torn""#, torn.len());
        assert!(told.contains(&gap), "{told}");
    }
}

#[tokio::test]
async fn a_file_without_a_whole_record_is_emptied_and_the_one_before_goes_on() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 1).await;
    run(root.path(), 1).await;
    let last = files(root.path()).remove(1);
    fs::write(&last, "{\"met").unwrap();
    run(root.path(), 1).await;
    assert_eq!(fs::read(&last).unwrap(), b"");
    use Kind::{Gap, Head, Request};
    assert_eq!(kinds(root.path()), [Head, Request, Head, Head, Gap, Request, Head]);
}

#[tokio::test]
async fn a_torn_end_is_told_of_though_the_start_that_set_it_aside_ended_before() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 1).await;
    let path = files(root.path()).remove(0);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"met").unwrap();
    let recovered = recover(root.path()).unwrap();
    assert_eq!(recovered.gaps.len(), 1);
    drop(recovered);
    for told in [1, 1] {
        run(root.path(), 1).await;
        assert_eq!(kinds(root.path()).iter().filter(|k| **k == Kind::Gap).count(), told);
    }
}

#[tokio::test]
async fn an_intent_without_an_outcome_is_told_of_once_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let (done, lost) = (Samples::new(), Samples::new());
    let journal = open(root.path(), Durability::Fsync);
    for samples in [&done, &lost] {
        let intent = journal.reserve().unwrap();
        intent.declare(|| samples.intended()).await.unwrap();
        if samples.id() == done.id() {
            intent.commit(&samples.allowed()).await.unwrap();
        }
    }
    // As it stands after a crash: without the records of a good end.
    let crashed = tempfile::tempdir().unwrap();
    for path in files(root.path()) {
        fs::copy(&path, crashed.path().join(path.file_name().unwrap())).unwrap();
    }
    use Kind::{Head, Intent, OutcomeUnknown, Request};
    let before = [Head, Intent, Request, Intent];
    assert_eq!(kinds(crashed.path()), before);

    // Two, for the second one sees what the telling did to the queue.
    run(crashed.path(), 2).await;
    let after = [Head, OutcomeUnknown, Request, Request, Head];
    assert_eq!(kinds(crashed.path()), [&before[..], &after].concat());
    let told = fs::read_to_string(&files(crashed.path())[1]).unwrap();
    assert!(told.contains(&format!(r#""uid":"{}""#, lost.id())), "{told}");
    run(crashed.path(), 0).await;
    assert_eq!(kinds(crashed.path()).iter().filter(|kind| **kind == OutcomeUnknown).count(), 1);
}

#[tokio::test]
async fn what_a_start_tells_of_a_crash_is_valid_ocsf() {
    let root = tempfile::tempdir().unwrap();
    let (journal, lost) = (open(root.path(), Durability::Fsync), Samples::new());
    let intent = journal.reserve().unwrap();
    intent.declare(|| lost.intended()).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let path = files(root.path()).remove(0);
    let torn = [&fs::read(&path).unwrap()[..], b"{\"met"].concat();
    fs::write(crashed.path().join(path.file_name().unwrap()), torn).unwrap();
    run(crashed.path(), 0).await;
    use Kind::{Gap, Head, Intent, OutcomeUnknown};
    let told = [Head, Intent, Head, Gap, OutcomeUnknown, Head];
    assert_eq!(valid_kinds(crashed.path()), told);
}

#[tokio::test]
async fn intents_are_found_across_files_and_when_the_telling_was_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::open(
        JournalConfig { rotate_size: 1, ..config(root.path(), Durability::Fsync) },
        Instance { uid: "gw-1".into(), version: "0.1.0".into() },
        &Metrics::new().unwrap(),
    )
    .unwrap();
    let samples = Samples::new();
    let open_intent = journal.reserve().unwrap();
    open_intent.declare(|| samples.intended()).await.unwrap();
    for _ in 0..5 {
        journal.reserve().unwrap().commit(&Samples::new().denied()).await.unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    let left = files(root.path());
    assert!(left.len() >= 5, "{left:?}");
    for path in left {
        fs::copy(&path, crashed.path().join(path.file_name().unwrap())).unwrap();
    }
    // A start that got no further than its head.
    run(crashed.path(), 0).await;
    let newest = files(crashed.path()).pop().unwrap();
    let text = fs::read(&newest).unwrap();
    let head = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&newest, &text[..head]).unwrap();
    run(crashed.path(), 0).await;
    assert_eq!(kinds(crashed.path()).iter().filter(|k| **k == Kind::OutcomeUnknown).count(), 1);
}

#[tokio::test]
async fn a_chain_that_is_being_written_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (open(root.path(), Durability::Write), open(root.path(), Durability::Write));
    one.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    other.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    assert_eq!(files::chains(root.path()).unwrap().len(), 2);
}

#[test]
fn the_last_head_is_found_however_far_from_the_end() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.jsonl");
    let mut text = Vec::new();
    let chain = ChainUid::generate().unwrap();
    let put = |kind, text: &mut Vec<u8>| {
        let at = text.len() as u64;
        let rendered = [&br#","x":""#[..], &[b'x'; 5000], b"\""].concat();
        crate::audit::line::seal(chain, Link::NONE, &unsealed(kind, &rendered).concat(), text);
        at
    };
    put(Kind::Head, &mut text);
    let wanted = put(Kind::Head, &mut text);
    for others in [0, 1, 700, 0] {
        for _ in 0..others {
            put(Kind::Request, &mut text);
        }
        fs::write(&path, &text).unwrap();
        assert_eq!(last_head(&path).unwrap(), wanted, "{others}");
    }
}
