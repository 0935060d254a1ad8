//! What can be wrong with a journal, in words for an auditor.

use std::fmt;
use std::path::PathBuf;

/// The first bad position of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub path: PathBuf,
    /// From 1.
    pub line: u64,
    pub what: What,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("edited: the record is not what its fingerprint was made of")]
    Edited,
    #[error("edited: the next record was written behind another one than this")]
    Replaced,
    #[error("removed: {} missing before this line", records(*.from, *.to))]
    Removed { from: u64, to: u64 },
    #[error("reordered: record {found} stands where record {expected} belongs")]
    Reordered { found: u64, expected: u64 },
    #[error("inserted: the line is no record of this chain")]
    Foreign,
    #[error("inserted: record {0} stands here again")]
    Repeated(u64),
    #[error("inserted: the file holds no record of any chain")]
    Stray,
    #[error("cut tail: the file ends in the middle of a record")]
    Torn,
    #[error("cut tail: the chain goes on to record {count}, as head {head} says")]
    CutTail { count: u64, head: u64 },
    #[error("cut tail: {} missing at the end of this file", records(*.from, *.to))]
    CutFile { from: u64, to: u64 },
    #[error("missing file: {} missing before this file, the last of them in `{file}`", records(*.from, *.to))]
    MissingFile { from: u64, to: u64, file: String },
    #[error("missing file: {} not here, and no record that a head counts says that retention removed them", records(*.from, *.to))]
    MissingBeginning { from: u64, to: u64 },
    #[error(
        "missing file: no file is here of a chain that has {count} records, as head {head} says"
    )]
    MissingChain { count: u64, head: u64 },
    #[error("bad head: head {0} has no good signature by this key")]
    BadSignature(u64),
    #[error("bad head: there is none, so that nothing shows who wrote this chain")]
    NoHead,
    #[error("bad head: it cannot be read")]
    Unreadable,
    #[error("bad head: head {0} does not fit the record before it")]
    Unfit(u64),
    #[error("bad head: head {found} stands where head {expected} belongs")]
    HeadOutOfOrder { found: u64, expected: u64 },
    #[error(
        "bad head: record {record} is not the one that head {head} states: the chain was made anew, or the head is of another"
    )]
    OtherChain { record: u64, head: u64 },
}

fn records(from: u64, to: u64) -> String {
    if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") }
}
