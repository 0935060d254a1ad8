//! The events that a sink will never take, kept in a file beside the journal.
//!
//! One JSON object a line: which sink, why, when, and the event itself. They are on disk
//! before the sink's position moves past them. The file is the operator's to look at and to
//! remove; until then it counts as unshipped.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) fn path(directory: &Path, sink: &str) -> PathBuf {
    directory.join(format!("ship-{sink}.rejected"))
}

/// How many bytes are set aside for `sink`.
pub(super) fn bytes(directory: &Path, sink: &str) -> u64 {
    std::fs::metadata(path(directory, sink)).map_or(0, |metadata| metadata.len())
}

/// Appends the events, each with its reason; they survive the machine when this returns.
pub(super) fn set_aside(
    directory: &Path,
    sink: &str,
    now_millis: u64,
    events: &[(String, &[u8])],
) -> io::Result<()> {
    let mut lines = Vec::new();
    for (reason, event) in events {
        let about = json!({"sink": sink, "reason": reason, "time": now_millis});
        serde_json::to_writer(&mut lines, &Line { rejected: about, event: Event::of(event) })?;
        lines.push(b'\n');
    }
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(path(directory, sink))?;
    file.write_all(&lines)?;
    file.sync_data()
}

#[derive(serde::Serialize)]
struct Line<'a> {
    rejected: Value,
    event: Event<'a>,
}

/// The event as it is, or, if that is no JSON, as a text.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Json(&'a RawValue),
    Text(std::borrow::Cow<'a, str>),
}

impl<'a> Event<'a> {
    fn of(line: &'a [u8]) -> Self {
        match serde_json::from_slice(line) {
            Ok(raw) => Self::Json(raw),
            Err(_) => Self::Text(String::from_utf8_lossy(line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_kept_whole_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let events = [("too old".to_owned(), &b"{\"a\": 1}"[..]), ("odd".to_owned(), b"{\"b\xff")];
        set_aside(root.path(), "s3", 5, &events[..1]).unwrap();
        set_aside(root.path(), "s3", 6, &events[1..]).unwrap();
        let text = std::fs::read_to_string(path(root.path(), "s3")).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let about = |reason, time| json!({"sink": "s3", "reason": reason, "time": time});
        assert_eq!(lines[0], json!({"rejected": about("too old", 5), "event": {"a": 1}}));
        assert_eq!(lines[1], json!({"rejected": about("odd", 6), "event": "{\"b\u{fffd}"}));
        assert_eq!(bytes(root.path(), "s3"), text.len() as u64);
    }
}
