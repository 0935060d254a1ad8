//! What is wrong with the files: where it stands, what it is, what to do about it.
//!
//! Faults are collected and never thrown one at a time, so that a user corrects a file once.
//! Invariant: a fault names a file, and whenever the file could be read, a line and a column.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A place in a file; lines and columns count from 1, and 0 stands for the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: PathBuf,
    #[serde(flatten)]
    pub position: Position,
    /// The key as one would spell its way to it: `issuers.corp.algorithms[0]`; may be empty.
    pub key: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of a whole file: it is missing, or is no YAML at all.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self::at(file, Position::default(), "", message)
    }

    /// A fault at a place, for other rooms' files too (a Cedar policy has no key).
    pub fn at(
        file: &Path,
        position: Position,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (key, message) = (key.into(), message.into());
        Self { file: file.to_owned(), position, key, message, hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.position.line > 0 {
            write!(f, ":{}:{}", self.position.line, self.position.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Every fault of one attempt to load, sorted by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults {
    all: Vec<Fault>,
    /// What the attempt looked at: a change there is a reason to try again.
    #[serde(skip)]
    pub(super) tried: Tried,
}

/// The files that an attempt to load looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// With the hash of what was read, or `None` for what could not be.
    pub files: BTreeMap<PathBuf, Option<String>>,
    pub policies_dir: Option<PathBuf>,
}

impl Faults {
    pub fn push(&mut self, fault: Fault) {
        // The place where it belongs, so that whoever looks finds a sorted list.
        let not_after =
            |other: &Fault| (&other.file, other.position) <= (&fault.file, fault.position);
        let place = self.all.partition_point(not_after);
        let (before, _) = self.all.split_at(place);
        let same_place = before.iter().rev().take_while(|other| other.position == fault.position);
        if !same_place.into_iter().any(|other| *other == fault) {
            self.all.insert(place, fault);
        }
    }

    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.all.iter()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { all: vec![fault], tried: Tried::default() }
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.all.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize, message: &str) -> Fault {
        Fault::at(Path::new("a.yaml"), Position { line, column: 3 }, "a.b", message)
    }

    #[test]
    fn faults_print_sorted_with_place_key_and_hint() {
        let mut faults = Faults::from(fault(9, "late"));
        faults.push(fault(2, "unknown key").hint("did you mean `c`?"));
        faults.push(Fault::of_file(Path::new("a.yaml"), "whole"));
        faults.push(fault(9, "late"));
        assert_eq!(
            faults.to_string(),
            "a.yaml: whole\n\
             a.yaml:2:3: a.b: unknown key\n  hint: did you mean `c`?\n\
             a.yaml:9:3: a.b: late"
        );
    }

    #[test]
    fn faults_are_json_for_tools() {
        let json = serde_json::to_value(Faults::from(fault(2, "m"))).unwrap();
        let want = serde_json::json!([
            {"file": "a.yaml", "line": 2, "column": 3, "key": "a.b", "message": "m"}
        ]);
        assert_eq!(json, want);
    }
}
