//! A finger on a place in a file: compiling walks the typed value and the tree side by side,
//! so that every fault of meaning has its line.

use std::cell::RefCell;
use std::path::Path;

use super::fault::{Fault, Faults, Position};
use super::file::Named;
use super::nearest;
use super::sources::Sources;
use super::yaml::{Node, child_path};
use crate::policy::PolicyFault;

/// A place, and where its faults go. A key that the file leaves to its default points at
/// what would hold it.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    file: &'a Path,
    faults: &'a RefCell<Faults>,
    node: &'a Node,
    position: Position,
    path: String,
    spelled: bool,
    damaged: bool,
}

impl<'a> At<'a> {
    pub(super) fn top(file: &'a Path, node: &'a Node, faults: &'a RefCell<Faults>) -> Self {
        Self {
            file,
            faults,
            node,
            position: node.at,
            path: String::new(),
            spelled: true,
            damaged: node.damaged,
        }
    }

    /// The value under `key`.
    pub(super) fn key(&self, key: &str) -> Self {
        match self.node.get(key).filter(|_| self.spelled) {
            Some(node) => self.on(node),
            None => {
                let path = child_path(&self.path, key);
                let damaged = self.node.lost.iter().any(|lost| lost == key);
                Self { path, spelled: false, damaged, ..self.clone() }
            }
        }
    }

    /// The item `index` of a list.
    pub(super) fn item(&self, index: usize) -> Self {
        self.node.items().get(index).map_or_else(|| self.clone(), |node| self.on(node))
    }

    /// Walks a map of named things with its tree: the place of the name, that of the value,
    /// and both. Both are in the order of the file, so that nothing is looked up.
    pub(super) fn named<T>(
        &self,
        values: &'a Named<T>,
    ) -> impl Iterator<Item = (Self, Self, &'a str, &'a T)> {
        self.node.entries().iter().zip(values.iter()).map(|(entry, (name, value))| {
            let here = self.on(&entry.node);
            (Self { position: entry.key_at, ..here.clone() }, here, name, value)
        })
    }

    /// Pairs a list's values with their places.
    pub(super) fn items<T>(&self, values: &'a [T]) -> impl Iterator<Item = (Self, &'a T)> {
        values.iter().enumerate().map(|(index, value)| (self.item(index), value))
    }

    /// The file and the line.
    pub(super) fn origin(&self) -> (&'a Path, usize) {
        (self.file, self.position.line)
    }

    /// Whether the file has this key, so that its value is the user's.
    pub(super) fn spelled(&self) -> bool {
        self.spelled
    }

    /// Whether something in here was faulty already, so that a lack is no new fault.
    pub(super) fn damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn reject(&self, message: impl Into<String>) {
        self.push(Fault::at(self.file, self.position, &self.path, message));
    }

    pub(super) fn reject_with(&self, message: impl Into<String>, hint: Option<impl Into<String>>) {
        let fault = Fault::at(self.file, self.position, &self.path, message);
        self.push(Fault { hint: hint.map(Into::into), ..fault });
    }

    /// Faults of policies: of Cedar files, each with its line, and of what the roles in
    /// `access` compiled to, which have none. The latter follow from other faults, if there
    /// are any.
    pub(super) fn extend_of_policies(
        &self,
        access: &Path,
        sources: &Sources,
        faults: Vec<PolicyFault>,
    ) {
        let alone = self.faults.borrow().is_empty();
        for PolicyFault { file, line, column, message, hint } in faults {
            let from_file = line > 0;
            let file = match from_file {
                true => sources.resolve(Path::new(&file)),
                false => access.to_owned(),
            };
            let fault = Fault::at(&file, Position { line, column }, "", message);
            if from_file || alone {
                self.push(Fault { hint, ..fault });
            }
        }
    }

    /// Rejects a name that is none of `known`. The search for a near one is not worth its
    /// time when there are hundreds of faults: then it is one mistake, made everywhere.
    pub(super) fn reject_name<'k>(
        &self,
        message: String,
        wrong: &str,
        known: impl IntoIterator<Item = &'k str> + Clone,
    ) {
        let few = self.faults.borrow().len() < 100;
        self.reject_with(message, few.then(|| nearest::hint(wrong, known)).flatten());
    }

    fn push(&self, fault: Fault) {
        if !(self.spelled && self.node.unknown()) {
            self.faults.borrow_mut().push(fault);
        }
    }

    fn on(&self, node: &'a Node) -> Self {
        Self {
            node,
            position: node.at,
            path: node.path.clone(),
            damaged: node.damaged,
            ..self.clone()
        }
    }
}
