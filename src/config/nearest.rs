//! "Did you mean": the known name that a wrong one was probably meant to be.

/// The nearest of `known`, if it is near enough to be a slip rather than another word.
pub(super) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = plain(wrong);
    let slips = plain.chars().count() / 3;
    let distance = |name: &str| strsim::damerau_levenshtein(&plain, &self::plain(name));
    let rated = known.into_iter().map(|name| (distance(name), name));
    let (distance, name) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= slips.max(1)).then_some(name)
}

/// "did you mean …?", or every known name if none is near and they are few.
pub(super) fn hint<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(name) = nearest(wrong, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<_> = known.into_iter().collect();
    (1..=20).contains(&names.len()).then(|| format!("known here: {}", names.join(", ")))
}

/// Case and the kind of dash are no difference to a person.
fn plain(name: &str) -> String {
    // A long value is no slip of a name; a bound keeps the comparison cheap.
    name.chars().take(80).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["audiences", "algorithms", "max_body"];
        for (wrong, want) in [
            ("audience", Some("audiences")),
            ("Audiences", Some("audiences")),
            ("max-body", Some("max_body")),
            ("maxbody", Some("max_body")),
            ("algoritms", Some("algorithms")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), want, "{wrong}");
        }
        assert_eq!(hint("x", known).unwrap(), "known here: audiences, algorithms, max_body");
    }
}
