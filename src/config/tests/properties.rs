//! What holds for every text and every typed file.

use std::path::Path;

use proptest::prelude::*;

use super::{GOOD, load_texts, typed};
use crate::config::{Faults, schema, shape, yaml};

/// Pieces of both files, of YAML and of nonsense, so that a random text gets deep.
fn scraps() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "server:",
        "issuers:",
        "corp:",
        "issuer:",
        "audiences:",
        "roles:",
        "permit:",
        "when:",
        "tags:",
        "teams:",
        "limits:",
        "requests:",
        "5/s",
        "listen:",
        "tls:",
        "bindings:",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "${IDP}",
        "${",
        "$$",
        "&a ",
        "*a",
        "!!str ",
        "<<",
        "null",
        "true",
        "1e999",
        "-1",
        "0x",
        "\"",
        "'",
        "#",
        "|",
        ">",
        "~",
        "a/b",
        "---",
        "%",
        "\t",
        "\u{0}",
        "\u{feff}",
        "é",
        "danger:",
        "revoked:",
        "endpoints:",
        "/",
        "~1",
    ]);
    prop_oneof![
        3 => prop::collection::vec(words, 0..40).prop_map(|words| words.concat()),
        1 => any::<String>(),
    ]
}

/// A typed file → YAML → the typed file.
fn round<T: serde::Serialize + for<'de> serde::Deserialize<'de>>(
    file: &T,
    schema: &serde_json::Value,
) -> T {
    let text = serde_saphyr::to_string(file).unwrap();
    let (path, mut faults) = (Path::new("f.yaml"), Faults::default());
    let node = yaml::parse(path, &text, &mut faults).unwrap();
    let node = shape::check(path, node, schema, &mut faults);
    assert!(faults.is_empty(), "{faults}\n{text}");
    T::deserialize(&node.unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_loading_panic(gateway in scraps(), access in scraps()) {
        let _ = load_texts(&gateway, &access);
        let _ = load_texts(&format!("{GOOD}{gateway}"), &access);
    }

    #[test]
    fn access_files_read_back_as_they_were_written(file in typed::access()) {
        prop_assert_eq!(round(&file, &schema::ACCESS), file);
    }

    #[test]
    fn gateway_files_read_back_as_they_were_written(file in typed::gateway()) {
        prop_assert_eq!(round(&file, &schema::GATEWAY), file);
    }
}
