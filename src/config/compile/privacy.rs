//! `audit.pseudonymize`, `audit.pseudonym_key` and `audit.omit`.

use super::gateway::read;
use crate::audit::{BadKey, Omit, Privacy, PseudonymKey, Pseudonyms};
use crate::config::at::At;
use crate::config::file::gateway as file;
use crate::config::file::privacy::{self, Pseudonymized};
use crate::config::sources::Sources;

pub(super) fn privacy(at: &At<'_>, file: &file::Audit, sources: &mut Sources) -> Privacy {
    let asked = |field| file.pseudonymize.contains(&field);
    let key = file.pseudonym_key.as_ref().and_then(|key| {
        if file.pseudonymize.is_empty() && !at.key("pseudonymize").damaged() {
            at.key("pseudonym_key").reject("is for nothing without `pseudonymize`");
        }
        pseudonym_key(&at.key("pseudonym_key"), key, sources)
    });
    if file.pseudonym_key.is_none() && !file.pseudonymize.is_empty() && !at.damaged() {
        at.key("pseudonymize").reject_with(
            "needs a key",
            Some("give `pseudonym_key: { name: 2026-11, file: pseudonym.key }`"),
        );
    }
    Privacy {
        pseudonyms: key.map(|key| Pseudonyms {
            key,
            user: asked(Pseudonymized::User),
            source: asked(Pseudonymized::SrcEndpoint),
        }),
        omit: file.omit.iter().copied().map(omit).collect(),
    }
}

fn pseudonym_key(
    at: &At<'_>,
    file: &privacy::PseudonymKey,
    sources: &mut Sources,
) -> Option<PseudonymKey> {
    let here = at.key("file");
    let secret = read(&here, &file.file, sources)?;
    let key = PseudonymKey::new(&file.name, &secret);
    key.inspect_err(|bad| match bad {
        BadKey::Name if at.key("name").spelled() => at.key("name").reject(bad.to_string()),
        BadKey::Name => {}
        BadKey::Short => here.reject(format!("the file is too short: {bad}")),
    })
    .ok()
}

fn omit(file: privacy::Omit) -> Omit {
    match file {
        privacy::Omit::UserAgent => Omit::UserAgent,
        privacy::Omit::Path => Omit::Path,
        privacy::Omit::Groups => Omit::Groups,
        privacy::Omit::TokenId => Omit::TokenId,
        privacy::Omit::Client => Omit::Client,
        privacy::Omit::InferenceId => Omit::InferenceId,
        privacy::Omit::InputLocation => Omit::InputLocation,
    }
}
