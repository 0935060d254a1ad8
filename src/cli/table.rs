//! Columns for people, written as the rows come.
//!
//! A column is as wide as its widest cell so far, for the rest is not known yet. Invariant:
//! no cell can move the cursor or begin a line: names in the record are a stranger's words.

use std::io::{self, Write};

pub(super) enum Align {
    Left,
    Right,
}

pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    widths: [usize; N],
    headed: bool,
}

impl<const N: usize> Table<N> {
    /// The heads of the columns with the widths they begin with.
    pub(super) fn new(columns: [(&'static str, Align, usize); N]) -> Self {
        let widths = columns.each_ref().map(|(head, _, width)| head.len().max(*width));
        Self { columns: columns.map(|(head, align, _)| (head, align)), widths, headed: false }
    }

    /// A row, after the heads if it is the first.
    pub(super) fn row(&mut self, to: &mut impl Write, cells: &[String; N]) -> io::Result<()> {
        if !std::mem::replace(&mut self.headed, true) {
            let heads = self.columns.each_ref().map(|(head, _)| (*head).to_owned());
            self.line(to, &heads)?;
        }
        self.line(to, cells)
    }

    fn line(&mut self, to: &mut impl Write, cells: &[String; N]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, (_, align)), width) in cells.iter().zip(&self.columns).zip(&mut self.widths) {
            let cell = tame(cell);
            *width = cell.chars().count().max(*width);
            let width = *width;
            line.push_str(&match align {
                Align::Left => format!("{cell:<width$}  "),
                Align::Right => format!("{cell:>width$}  "),
            });
        }
        writeln!(to, "{}", line.trim_end())
    }
}

/// Control and format characters, among them those that turn the writing direction, as they
/// are spelled in Rust.
fn tame(text: &str) -> String {
    let wild = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        if wild(c) { tamed.extend(c.escape_unicode()) } else { tamed.push(c) }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_grow_and_stay_and_no_cell_speaks_to_the_terminal() {
        let mut table = Table::new([("USER", Align::Left, 6), ("CALLS", Align::Right, 0)]);
        let mut out = Vec::new();
        for (user, calls) in [("corp/alice", "3"), ("x\x1b[2J\n\u{202e}y", "10"), ("é", "")] {
            table.row(&mut out, &[user.to_owned(), calls.to_owned()]).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "USER    CALLS\n\
             corp/alice      3\n\
             x\\u{1b}[2J\\u{a}\\u{202e}y     10\n\
             é\n"
        );
    }
}
