//! Files that rotate, break and vanish.

use std::os::unix::fs::PermissionsExt as _;
use std::time::UNIX_EPOCH;

use super::*;

const BIG: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(3600);

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn noon() -> Clock {
    Clock::manual(UNIX_EPOCH + Duration::from_millis(1_795_435_200_123))
}

fn sink(directory: &Path, size: u64, age: Duration, clock: Clock) -> FileSink {
    let chain = ChainUid::parse(b"9f2c41d07ab35e18").unwrap();
    FileSink::open(directory, chain, 0, Rotation { size, age }, true, clock).unwrap()
}

/// One page; says whether it began a file.
fn page(sink: &mut FileSink, text: &str) -> bool {
    let new = sink.prepare().unwrap().is_some();
    assert_eq!(sink.write(text.as_bytes()).unwrap(), text.len());
    sink.sync().unwrap();
    sink.kept(b"");
    new
}

#[test]
fn the_directory_and_its_files_are_for_the_owner_alone() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("var/audit");
    let mut sink = sink(&directory, 1, LONG, noon());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    sink.kept(b"{}\n");
    let found = names(&directory);
    assert_eq!(
        found,
        [
            "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.heads",
            "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl"
        ]
    );
    for name in found {
        assert_eq!(mode(&directory.join(name)), 0o600);
    }
}

#[test]
fn files_sort_in_the_order_they_were_begun_whatever_the_clock_does() {
    let root = tempfile::tempdir().unwrap();
    let clock = noon();
    let mut sink = sink(root.path(), 4, LONG, clock.clone());
    let hour = Duration::from_secs(3600);
    for line in 0..12 {
        match line {
            4 => clock.set(clock.now() - hour),
            8 => clock.set(clock.now() + 2 * hour),
            _ => {}
        }
        assert!(page(&mut sink, &format!("{line:03}\n")));
    }
    let names = names(root.path());
    let read = |name: &String| std::fs::read_to_string(root.path().join(name)).unwrap();
    let lines: String = names.iter().map(read).collect();
    let wanted: String = (0..12).map(|line| format!("{line:03}\n")).collect();
    assert_eq!((names.len(), lines), (12, wanted));
}

#[test]
fn a_file_below_size_and_age_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = sink(root.path(), 9, LONG, noon());
    assert_eq!([(); 2].map(|()| page(&mut sink, "{1}\n")), [true, false]);
    assert_eq!(names(root.path()).len(), 1);
}

#[test]
fn a_file_of_age_is_followed_by_another_unless_it_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = sink(root.path(), BIG, Duration::ZERO, noon());
    assert!(sink.prepare().unwrap().is_some());
    assert_eq!(names(root.path()).len(), 1);
    assert_eq!([(); 2].map(|()| page(&mut sink, "{1}\n")), [true, true]);
    assert_eq!(names(root.path()).len(), 2);
}

#[test]
fn a_removed_directory_is_made_again_before_the_next_page() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("audit");
    let mut sink = sink(&directory, BIG, LONG, noon());
    page(&mut sink, "{1}\n");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(page(&mut sink, "{2}\n"));
    let name = names(&directory).remove(0);
    assert_eq!(std::fs::read(directory.join(name)).unwrap(), b"{2}\n");
}

#[test]
fn a_full_disk_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = sink(root.path(), BIG, LONG, noon());
    let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    sink.current.as_mut().unwrap().file = file;
    let full = Trouble::Write(sink.write(b"{1}\n").unwrap_err());
    assert_eq!(sink.recover(&full), Resume::NextByte);
    assert_eq!(names(root.path()).len(), 1);
}

#[test]
fn a_file_that_fails_keeps_its_whole_pages_and_gives_the_rest_to_another() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = sink(root.path(), BIG, LONG, noon());
    page(&mut sink, "{1}\n");
    let name = names(root.path()).remove(0);
    sink.write(b"{2}\n{3").unwrap();
    let failed = Trouble::Sync(io::ErrorKind::Other.into());
    assert_eq!(sink.recover(&failed), Resume::Page(None));
    assert!(page(&mut sink, "{2}\n{3}\n"));
    let files = names(root.path());
    assert_eq!((files.len(), &files[0]), (2, &name));
    assert_eq!(std::fs::read(root.path().join(name)).unwrap(), b"{1}\n");
}

#[test]
fn what_cannot_be_taken_back_is_a_gap() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = sink(root.path(), BIG, LONG, noon());
    page(&mut sink, "{1}\n");
    sink.write(b"{2}\n").unwrap();
    let current = sink.current.as_mut().unwrap();
    // A descriptor that cannot be written stands for a file system that fails.
    current.file = File::open(&current.path).unwrap();
    let failed = Trouble::Write(io::ErrorKind::Other.into());
    let Resume::Page(Some(gap)) = sink.recover(&failed) else { panic!("no gap") };
    assert_eq!((gap.offset, gap.bytes, gap.cause), (4, 4, Cause::Unsynced));
    assert_eq!(gap.file, names(root.path())[0]);
}

#[test]
fn the_file_that_is_written_is_locked() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path(), BIG, LONG, noon());
    let path = root.path().join(names(root.path()).remove(0));
    assert!(File::open(&path).unwrap().try_lock().is_err());
    drop(sink);
    assert!(File::open(&path).unwrap().try_lock().is_ok());
}
