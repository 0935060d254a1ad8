//! Which calls are asked for, and what their lines must hold.

use regex::bytes::{Regex, RegexBuilder};

use super::entry::{Decision, Entry};
use crate::names::Action;

/// What is asked for: each part that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub users: Option<Names>,
    pub endpoints: Option<Names>,
    pub teams: Option<Names>,
    /// Any of these; none is every one.
    pub operations: Vec<Action>,
    /// Any of these; none is every one.
    pub decisions: Vec<Decision>,
    /// Milliseconds since the epoch; this one still counts.
    pub since: Option<u64>,
    /// Milliseconds since the epoch; this one counts no more.
    pub until: Option<u64>,
}

impl Filter {
    /// All but the decision, which an intent does not know yet.
    pub(super) fn concerns(&self, entry: &Entry<'_>) -> bool {
        let named = |names: &Option<Names>, name: Option<&str>| {
            names.as_ref().is_none_or(|names| name.is_some_and(|name| names.hold(name)))
        };
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && named(&self.users, Some(&entry.user))
            && named(&self.endpoints, entry.endpoint.as_deref())
            && named(&self.teams, entry.team.as_deref())
            && (self.operations.is_empty()
                || self.operations.iter().any(|asked| asked.as_str() == entry.operation))
    }

    pub(super) fn takes(&self, decision: Decision) -> bool {
        self.decisions.is_empty() || self.decisions.contains(&decision)
    }

    /// What the line of every call that is asked for holds, the rarest first.
    pub(super) fn needles(&self) -> Vec<Regex> {
        let names = [&self.users, &self.endpoints, &self.teams];
        let mut needles: Vec<_> =
            names.into_iter().flatten().filter_map(|names| names.needle.clone()).collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.as_str().len()));
        needles.extend(any(self.operations.iter().map(|operation| operation.as_str())));
        // An intent has no disposition yet, so it would not be seen.
        let captions: Option<Vec<_>> = self.decisions.iter().map(|asked| asked.caption()).collect();
        needles.extend(captions.and_then(|captions| any(captions.into_iter())));
        needles
    }
}

fn any<'a>(words: impl Iterator<Item = &'a str>) -> Option<Regex> {
    let quoted: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    if quoted.is_empty() { None } else { Regex::new(&quoted.join("|")).ok() }
}

/// Names that may hold `*` for any characters.
#[derive(Clone, Debug)]
pub struct Names {
    whole: Regex,
    needle: Option<Regex>,
}

impl Names {
    /// Any of `patterns`; endpoints are compared without case, users and teams with it.
    ///
    /// # Errors
    /// When they are too large together to be compiled.
    pub fn new(patterns: &[String], ignore_case: bool) -> Result<Self, regex::Error> {
        let whole: Vec<_> = patterns.iter().map(|pattern| expression(pattern)).collect();
        let needles: Option<Vec<_>> = patterns.iter().map(|pattern| plain(pattern)).collect();
        let build = |text: &str| {
            RegexBuilder::new(text).unicode(false).case_insensitive(ignore_case).build()
        };
        Ok(Self {
            whole: build(&format!("(?s)^(?:{})$", whole.join("|")))?,
            needle: needles.map(|needles| build(&needles.join("|"))).transpose()?,
        })
    }

    pub(super) fn hold(&self, name: &str) -> bool {
        self.whole.is_match(name.as_bytes())
    }
}

fn expression(pattern: &str) -> String {
    pattern.split('*').map(regex::escape).collect::<Vec<_>>().join(".*")
}

/// The longest part of the pattern that stands in a line as it is, whoever wrote its JSON:
/// letters and digits are never escaped. A shorter one than this would be everywhere.
fn plain(pattern: &str) -> Option<String> {
    const SHORTEST: usize = 3;
    let parts =
        pattern.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    parts.max_by_key(|part| part.len()).filter(|part| part.len() >= SHORTEST).map(regex::escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str], ignore_case: bool) -> Names {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Names::new(&patterns, ignore_case).unwrap()
    }

    #[test]
    fn a_name_is_held_whole_and_a_star_is_any_text() {
        let some = names(&["corp/alice", "corp/b*"], false);
        for (name, held) in [
            ("corp/alice", true),
            ("corp/alice2", false),
            ("xcorp/alice", false),
            ("corp/Alice", false),
            ("corp/b", true),
            ("corp/bob/é\n", true),
        ] {
            assert_eq!(some.hold(name), held, "{name}");
        }
        assert!(names(&["Fraud-V1"], true).hold("fraud-v1"));
        assert!(!names(&["a.b"], false).hold("axb"));
    }

    #[test]
    fn what_must_stand_in_a_line_is_the_longest_text_that_no_json_escapes() {
        for (pattern, needle) in [
            ("corp/alice", Some("alice")),
            ("corp/é\"scorer", Some("scorer")),
            ("corp/*", Some("corp")),
            ("a/b*", None),
        ] {
            let needle = needle.map(str::to_owned);
            assert_eq!(names(&[pattern], false).needle.map(|n| n.as_str().to_owned()), needle);
        }
        assert!(names(&["corp/alice", "*"], false).needle.is_none());
    }
}
