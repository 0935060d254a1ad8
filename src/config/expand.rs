//! `${NAME}` in a value becomes the environment's NAME; `$$` is one `$`.
//!
//! Only values are expanded, never keys and never comments, and only after the YAML was
//! read: what a variable holds can never become structure. What expands is always a text.

use std::path::Path;

use super::fault::{Fault, Faults};
use super::yaml::{Node, Value};

/// Looks a variable up; the process's environment, or a test's table.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands every text of the tree in place. A text that cannot be expanded stays as it is
/// and leaves a fault.
pub(super) fn expand(file: &Path, node: &mut Node, env: &Environment<'_>, faults: &mut Faults) {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => match expanded(text, env) {
            Ok(new) => *text = new,
            Err(message) => {
                faults.push(fault(file, node, message));
                node.damaged = true;
            }
        },
        Value::List(items) => items.iter_mut().for_each(|item| expand(file, item, env, faults)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|entry| expand(file, &mut entry.node, env, faults));
        }
        Value::Text(_) | Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
    }
}

fn fault(file: &Path, node: &Node, message: String) -> Fault {
    Fault::at(file, node.at, &node.path, message).hint("set it, or write `$$` for a plain `$`")
}

fn expanded(text: &str, env: &Environment<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (name, after) = after.split_once('}').ok_or("`${` without `}`")?;
            out.push_str(&value(name, env)?);
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn value(name: &str, env: &Environment<'_>) -> Result<String, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word)
    {
        return Err(format!("`${{{name}}}` does not name a variable"));
    }
    env(name).ok_or_else(|| format!("the environment has no variable `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("idp".to_owned()),
            "_E1" => Some(String::new()),
            "ODD" => Some("${HOST} $$ {a: b}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_expand_once_and_dollars_escape() {
        for (text, want) in [
            ("https://${HOST}/${HOST}", "https://idp/idp"),
            ("a${_E1}b", "ab"),
            ("$$", "$"),
            ("$${HOST}", "${HOST}"),
            ("$1 and $", "$1 and $"),
            ("${ODD}", "${HOST} $$ {a: b}"),
        ] {
            assert_eq!(expanded(text, &env).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_cannot_expand_says_why() {
        for (text, why) in [
            ("${NOPE}", "the environment has no variable `NOPE`"),
            ("${HOST", "`${` without `}`"),
            ("${}", "`${}` does not name a variable"),
            ("${HOST:-x}", "`${HOST:-x}` does not name a variable"),
            ("${1A}", "`${1A}` does not name a variable"),
        ] {
            assert_eq!(expanded(text, &env), Err(why.to_owned()), "{text}");
        }
    }
}
