//! Events on their way: whole lines of one journal file, and what became of each.

use std::ops::Range;

use serde::Deserialize;

/// What a sink takes at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events: usize,
    /// Of all events together, each with its `overhead`.
    pub(super) bytes: usize,
    pub(super) overhead: usize,
    /// Of one event without its overhead; a longer one is set aside.
    pub(super) event: usize,
    /// How long events may gather before an unfilled batch goes out.
    pub(super) linger: std::time::Duration,
}

/// Lines that stand one after the other in a file.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) chain: String,
    pub(super) file: String,
    /// Of the first byte in the file.
    pub(super) offset: u64,
    bytes: Vec<u8>,
    /// Without their newlines.
    lines: Vec<Range<usize>>,
    /// The lines that are neither accepted nor set aside yet.
    left: Vec<usize>,
    /// Whether a limit, and not the file's end, was where it stopped.
    full: bool,
}

/// What a sink did with one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    /// The sink will never take it, for this reason.
    Rejected(String),
    /// It may take it later; not now, for this reason.
    Failed(String),
    /// It was not sent yet, through no fault of anybody's.
    Unsent,
}

/// What is handed to a sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel<'a> {
    /// The lines in the journal's order, without their newlines.
    pub(super) events: &'a [&'a [u8]],
    pub(super) file: &'a str,
    pub(super) offset: u64,
}

/// What was read of a file: whole lines, and whether there was more than was asked for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) more: bool,
}

impl Batch {
    /// As many of the lines as the limits let in, and at least one.
    pub(super) fn new(
        chain: String,
        (file, offset): (String, u64),
        Lines { mut bytes, more }: Lines,
        limits: &Limits,
    ) -> Self {
        let (mut lines, mut start, mut sum) = (Vec::new(), 0, 0);
        let read = bytes.len();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            let text = line.strip_suffix(b"\n").map_or(end, |text| start + text.len());
            sum += text - start + limits.overhead;
            if !lines.is_empty() && (sum > limits.bytes || lines.len() == limits.events) {
                break;
            }
            lines.push(start..text);
            start = end;
        }
        bytes.truncate(start);
        // An empty line is no event, and some sinks take none.
        let left = (0..).zip(&lines).filter(|(_, line)| !line.is_empty()).map(|(n, _)| n).collect();
        let full = more || start < read;
        Self { chain, file, offset, bytes, lines, left, full }
    }

    /// Where in the file the next batch begins.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// The first `most` of what is left.
    pub(super) fn left(&self, most: usize) -> Vec<&[u8]> {
        self.left.iter().take(most).filter_map(|index| self.line(*index)).collect()
    }

    /// Takes from what is left the lines whose fate, in the order of [`left`](Self::left), is
    /// settled. Returns how many were accepted, and those that were not, with the reason.
    pub(super) fn settle(&mut self, fates: Vec<Fate>) -> (u64, Vec<(String, &[u8])>) {
        let (mut accepted, mut rejected, mut kept) = (0, Vec::new(), Vec::new());
        let mut fates = fates.into_iter();
        for index in std::mem::take(&mut self.left) {
            match fates.next() {
                Some(Fate::Accepted) => accepted += 1,
                Some(Fate::Rejected(reason)) => rejected.push((reason, index)),
                Some(Fate::Failed(_) | Fate::Unsent) | None => kept.push(index),
            }
        }
        self.left = kept;
        let line = |(reason, index)| Some((reason, self.line(index)?));
        (accepted, rejected.into_iter().filter_map(line).collect())
    }

    pub(super) fn first(&self) -> &[u8] {
        self.line(0).unwrap_or_default()
    }

    pub(super) fn last(&self) -> &[u8] {
        self.line(self.lines.len().saturating_sub(1)).unwrap_or_default()
    }

    fn line(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(self.lines.get(index)?.clone())
    }
}

/// What of an event a sink may want to know besides its text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Glance<'a> {
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
    /// Milliseconds since the epoch.
    pub(super) time: Option<u64>,
    pub(super) severity_id: u8,
    #[serde(borrow)]
    pub(super) severity: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) uid: Option<&'a str>,
}

impl<'a> Glance<'a> {
    /// A line that is no event, as after a flipped bit, is shipped all the same; nothing is
    /// known of it.
    pub(super) fn of(line: &'a [u8]) -> Self {
        serde_json::from_slice(line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Limits = Limits {
        events: 100,
        bytes: 1000,
        overhead: 0,
        event: 100,
        linger: std::time::Duration::ZERO,
    };

    fn batch(text: &str, limits: &Limits) -> Batch {
        let lines = Lines { bytes: text.into(), more: false };
        Batch::new("aa".into(), ("f".into(), 5), lines, limits)
    }

    #[test]
    fn a_batch_ends_before_the_line_that_breaks_a_limit_but_has_one_line_at_least() {
        let text = "one\ntwo\nthree\n";
        let ends = |limits: Limits| batch(text, &limits).end();
        assert_eq!(ends(WIDE), 5 + 14);
        assert_eq!(ends(Limits { events: 2, ..WIDE }), 5 + 8);
        assert_eq!(ends(Limits { bytes: 6, ..WIDE }), 5 + 8);
        assert_eq!(ends(Limits { bytes: 6, overhead: 1, ..WIDE }), 5 + 4);
        assert_eq!(ends(Limits { bytes: 0, ..WIDE }), 5 + 4);
        let first = batch(text, &Limits { events: 1, ..WIDE });
        assert_eq!((first.first(), first.last()), (&b"one"[..], &b"one"[..]));
    }

    #[test]
    fn what_failed_or_was_not_sent_is_left_in_order() {
        let mut batch = batch("a\nb\nc\nd\ne\n", &WIDE);
        let failed = || Fate::Failed("busy".into());
        let fates = vec![failed(), Fate::Accepted, Fate::Rejected("old".into()), Fate::Unsent];
        let (accepted, rejected) = batch.settle(fates);
        assert_eq!((accepted, rejected), (1, vec![("old".to_owned(), &b"c"[..])]));
        assert_eq!(batch.left(9), [b"a", b"d", b"e"]);
        assert_eq!(batch.left(1), [b"a"]);
        batch.settle(vec![Fate::Accepted; 3]);
        assert!(batch.is_done());
    }

    #[test]
    fn a_glance_sees_what_sinks_ask_for_and_survives_what_is_no_event() {
        let line = br#"{"metadata":{"sequence":7,"version":"1.8.0","uid":"u-1"},"severity_id":3,"severity":"Medium","time":1795435200123,"actor":{"user":{"uid":"x"}},"unmapped":{"time":1}}"#;
        let glance = Glance::of(line);
        assert_eq!((glance.metadata.sequence, glance.metadata.uid), (7, Some("u-1")));
        assert_eq!((glance.time, glance.severity), (Some(1_795_435_200_123), Some("Medium")));
        assert_eq!(Glance::of(b"{\"metad").time, None);
    }
}
