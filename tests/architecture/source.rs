//! The sources as text: comments and literals blanked, what is compiled for tests only cut,
//! and every path that the code names written out.

use std::fs;
use std::path::{Path, PathBuf};

/// One file, as far as the checks look at it.
pub struct Source {
    pub path: String,
    /// Without comments' and literals' text and without what is compiled for tests only.
    pub code: String,
    /// Every path that the code names, `use` trees written out.
    pub names: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = without_tests(&blanked(text));
        let names = uses(&code).into_iter().chain(inline_paths(&code)).collect();
        Self { path: path.to_owned(), code, names }
    }
}

/// All of `src/` that is built into the product.
pub fn sources() -> Vec<Source> {
    let files = all_files();
    let tests: Vec<String> =
        files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let product = files.iter().filter(|(path, _)| {
        !tests
            .iter()
            .any(|test| *path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    });
    product.map(|(path, text)| Source::new(path, text)).collect()
}

pub fn words_after<'a>(code: &'a str, lead: &'a str) -> impl Iterator<Item = &'a str> {
    code.split(lead).skip(1).filter_map(|rest| rest.split(';').next())
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn all_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push((name, read(&path)));
            }
        }
    }
    assert!(files.len() > 100, "the sources were found");
    files
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Every function with a body, and its lines from `fn` to its closing brace.
pub fn functions(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = &code[at..];
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(open) = rest.find(['{', ';']) else { continue };
        if rest[open..].starts_with('{') {
            let name = rest[3..].split(|c: char| !c.is_alphanumeric() && c != '_').next();
            let lines = rest[..closing(rest, open)].lines().count();
            found.push((name.unwrap_or_default(), lines));
        }
    }
    found
}

/// The files, without `.rs`, that `#[cfg(test)] mod x;` in this one declares.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = path.trim_end_matches(".rs");
    let code = blanked(text);
    let declared = code.match_indices(CFG_TEST).filter_map(|(at, _)| {
        let item = code[at + CFG_TEST.len()..].trim_start();
        let (name, _) =
            item.strip_prefix("mod ").or(item.strip_prefix("pub mod "))?.split_once(';')?;
        (!name.contains('{')).then(|| format!("{folder}/{name}"))
    });
    declared.collect()
}

const CFG_TEST: &str = "#[cfg(test)]";

/// Cuts every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(CFG_TEST) {
        kept.push_str(&rest[..at]);
        let end = rest[at..].find(['{', ';']).map_or(rest.len(), |open| at + open);
        let is_use = rest[at..end].contains("use ");
        let is_block = rest[end..].starts_with('{') && !is_use;
        let end = if is_block {
            closing(rest, end)
        } else {
            rest[end..].find(';').map_or(rest.len(), |semicolon| end + semicolon + 1)
        };
        rest = &rest[end..];
    }
    kept + rest
}

/// The end of the block that opens at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The text with comments and the inside of literals turned to spaces; lines stay.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => until(&chars, at, |rest| rest.first() == Some(&'\n')),
            ('/', Some('*')) => until(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
            ('"', _) => string_end(&chars, at),
            ('r', Some('"' | '#')) if !continues_a_word(&chars, at) => raw_end(&chars, at),
            ('\'', Some('\\')) => until(&chars, at + 3, |rest| rest.first() == Some(&'\'')) + 1,
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            (other, _) => {
                out.push(other);
                at += 1;
                continue;
            }
        };
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn until(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| found(&chars[*at..])).unwrap_or(chars.len())
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Past `r"…"` or `r#"…"#`; past the `r` alone where it begins a raw identifier.
fn raw_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return start + 1;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    until(chars, start + hashes + 2, |rest| rest.starts_with(&close)) + close.len()
}

fn continues_a_word(chars: &[char], at: usize) -> bool {
    // `b` may stand before a raw string's `r`.
    let before = at.checked_sub(1).map(|before| chars[before]);
    before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_')
}

/// Every path of every `use`, its braces written out and its renames dropped.
fn uses(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && let Some(end) = code[at..].find(';')
        {
            let tree: String =
                code[at + 4..at + end].replace(" as ", "@").split_whitespace().collect();
            write_out("", &tree, &mut paths);
        }
    }
    paths
}

fn write_out(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split('@').next().unwrap_or_default();
        return paths.push(format!("{prefix}{path}"));
    };
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let mut depth = 0;
    let branches = inside.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for branch in branches.filter(|branch| !branch.is_empty()) {
        write_out(&format!("{prefix}{before}"), branch, paths);
    }
}

/// Every `a::b` outside of `use`s.
fn inline_paths(code: &str) -> Vec<String> {
    let statements =
        code.split(';').filter(|statement| !statement.split_whitespace().any(|word| word == "use"));
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let paths = statements.flat_map(|statement| statement.split(move |c: char| !word(c)));
    paths.filter(|path| path.contains("::")).map(str::to_owned).collect()
}
