//! Any file → its records: the pieces are the file, what parses has one text, and a head says
//! the same when it is read again.

use sagegate::audit::head::{Head, Statement};
use sagegate::audit::line::{Kind, Line, Link};
use sagegate::audit::reader::Lines;

/// Whether it is a chain from its beginning, every record whole.
pub(crate) fn check(file: &[u8]) -> bool {
    let mut lines = Lines::new(file);
    let (mut last, mut chain, mut whole) = (Link::NONE, None, true);
    let mut end = 0;
    while let Some(piece) = lines.next().expect("memory can be read") {
        assert_eq!(piece.offset, end);
        end = piece.end();
        let line = Line::parse(piece.text);
        if let Some(line) = &line {
            stands_as_it_reads(line, piece.text);
        }
        if let Some(head) = Head::parse(piece.text) {
            let text = [b"{\"head\":", &*head.statement.text(), b",\"signature\":null}"].concat();
            let again: Statement = Head::parse(&text).expect("a head's own text").statement;
            assert_eq!(again, head.statement);
        }
        match line.filter(|line| piece.whole && line.is_intact() && line.follows(last)) {
            Some(line) if *chain.get_or_insert(line.chain) == line.chain => last = line.link(),
            _ => whole = false,
        }
    }
    assert_eq!(end, file.len() as u64);
    whole && last != Link::NONE
}

/// The parts of the frame are in the text as they were read from it.
fn stands_as_it_reads(line: &Line<'_>, text: &[u8]) {
    let lead = format!(
        r#"{{"metadata":{{"sequence":{},"event_code":"{}""#,
        line.sequence,
        line.kind.as_str()
    );
    assert!(text.starts_with(lead.as_bytes()));
    assert!(Kind::ALL.contains(&line.kind) && line.sequence > 0);
    let tail = format!(
        r#","attestation_list":[{{"chain_uid":"{}","prev_event":{{"fingerprint":{{"algorithm_id":3,"value":"{}"}}}},"fingerprint":{{"algorithm_id":3,"value":"{}"}}}}]}}}}"#,
        line.chain, line.previous, line.fingerprint
    );
    assert!(text.ends_with(tail.as_bytes()));
}
