//! Any document → `KeySet::parse`: a key that a token can be verified with stands in the
//! document once, under its id, and is there for verifying.

use sagegate::identity::Algorithm;
use sagegate::identity::keys::KeySet;
use serde_json::Value;

/// Whether it is a key set.
pub(crate) fn check(document: &[u8]) -> bool {
    let Ok(set) = KeySet::parse(document) else { return false };
    let document: Value = serde_json::from_slice(document).expect("a key set is JSON");
    let entries = document["keys"].as_array().expect("a key set has `keys`");
    assert!(!set.is_empty() && set.len() <= entries.len());
    let kids: Vec<_> = entries.iter().filter_map(|entry| entry["kid"].as_str()).collect();
    for (alg, kid) in Algorithm::ALL.into_iter().flat_map(|alg| kids.iter().map(move |k| (alg, k)))
    {
        if let Ok(key) = set.find(alg, Some(kid)) {
            assert_eq!(key.kid(), Some(*kid));
            stands_once(entries, alg, kid);
        }
    }
    assert!(set.find(Algorithm::Rs256, Some("no key of this name")).is_err());
    true
}

fn stands_once(entries: &[Value], alg: Algorithm, kid: &str) {
    let named: Vec<_> = entries.iter().filter(|entry| entry["kid"] == kid).collect();
    let [entry] = named[..] else { panic!("an id of {} keys is used", named.len()) };
    let kty = match alg.as_str() {
        "EdDSA" => "OKP",
        name if name.starts_with("ES") => "EC",
        _ => "RSA",
    };
    assert_eq!(entry["kty"], kty);
    assert!(entry.get("use").is_none_or(|used| used == "sig"));
    assert!(entry.get("alg").is_none_or(|its| its == alg.as_str()));
    assert!(entry.get("d").is_none(), "a private key is used");
}
