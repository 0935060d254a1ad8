//! Changes on record: start, stop, reloads and refused reloads, key sets, credentials and
//! the limit store, in the same chain as the calls that they bear on.
//!
//! What changes by itself (keys and credentials) is looked at every second rather than told by
//! the rooms it happens in, which need not know of the record. Invariant: a change that an
//! operator makes is queued for the record before the first call that it bears on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::changes::{Difference, InForce};
use super::running::Drained;
use crate::audit::line::Kind;
use crate::audit::{Activity, Journal, Note, Severity};
use crate::limits::Mode;
use crate::snapshot::Snapshot;
use crate::telemetry::clock::{Clock, unix_millis};

/// How soon a change that nobody made is on record.
const LOOK: Duration = Duration::from_secs(1);
/// Differences in one record; a reload of more is told in several. Some 20 KiB.
const PART: usize = 200;
/// Of a refusal's reason; the log has all of it.
const REASON: usize = 2048;

#[derive(Clone, Debug)]
pub(super) struct Trail {
    journal: Journal,
    clock: Clock,
}

/// One change, before it is rendered.
struct Told<'a> {
    kind: Kind,
    operation: &'a str,
    activity: Activity,
    severity: Severity,
    failure: Option<&'a str>,
    message: &'a str,
}

impl Trail {
    pub(super) fn new(journal: Journal, clock: Clock) -> Self {
        Self { journal, clock }
    }

    pub(super) fn started(&self, state: &InForce, policy: &str, dangers: &[&str]) {
        let message = "the gateway started";
        let told = Told { message, ..Told::of(Kind::Start, "Start", Activity::Other) };
        self.parts(&told, &state.files(), |part| {
            json!({"start": {"policy_version": policy, "dangers": dangers, "changes": part}})
        });
    }

    pub(super) fn stopping(&self, drained: Drained) {
        let how = match drained {
            Drained::Clean => "clean",
            Drained::CutOff | Drained::Unflushed => "cut_off",
        };
        let message = "the gateway stopped";
        let told = Told { message, ..Told::of(Kind::Stop, "Stop", Activity::Other) };
        self.note(&told, &json!({"stop": {"drain": how}}));
    }

    pub(super) fn reloaded(&self, before: &InForce, after: &InForce, policy: &str) {
        let changes = before.differences(after, self.journal.privacy());
        let message = "a new configuration is in force";
        let told = Told { message, ..Told::of(Kind::Reload, "Reload", Activity::Update) };
        self.parts(
            &told,
            &changes,
            |part| json!({"reload": {"policy_version": policy, "changes": part}}),
        );
    }

    /// `reason` may quote names out of the files, so a record without names has none of it.
    pub(super) fn refused(&self, reason: &str) {
        let reason = match self.journal.privacy().hides_users() {
            true => "see the log: the record names no users",
            false => reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default(),
        };
        let told = Told {
            severity: Severity::Medium,
            failure: Some(reason),
            message: "a new configuration was refused; the old one stays",
            ..Told::of(Kind::Reload, "Reload", Activity::Update)
        };
        self.note(&told, &json!({"reload": {"refused": true}}));
    }

    fn keys_changed(&self, issuer: &str, url: &str, added: &[&String], removed: &[&String]) {
        let message = format!("the keys of {issuer} changed");
        let message = message.as_str();
        let told = Told { message, ..Told::of(Kind::Keys, "KeySetChange", Activity::Update) };
        let members = json!({"keys": {
            "issuer": issuer, "url": url, "added": added, "removed": removed,
        }});
        self.note(&told, &members);
    }

    /// The id is no secret: AWS's own trail names it, and is joined with this one by it.
    fn credentials_changed(&self, id: &str, expires: Option<SystemTime>) {
        let message = "the AWS credentials changed";
        let told =
            Told { message, ..Told::of(Kind::Credentials, "CredentialsChange", Activity::Update) };
        let expires = expires.map(unix_millis);
        self.note(&told, &json!({"credentials": {"access_key_id": id, "expires": expires}}));
    }

    fn limits_kept(&self, mode: Mode) {
        let failing = matches!(mode, Mode::Failing(_));
        let told = Told {
            severity: if failing { Severity::Medium } else { Severity::Informational },
            message: "the limits are kept otherwise",
            ..Told::of(Kind::LimitStore, "LimitStoreChange", Activity::Update)
        };
        self.note(&told, &json!({"limit_store": {"mode": mode.as_str()}}));
    }

    /// As many records as there are parts, each saying which it is.
    fn parts(
        &self,
        told: &Told<'_>,
        all: &[Difference],
        members: impl Fn(&[Difference]) -> serde_json::Value,
    ) {
        let count = all.len().div_ceil(PART).max(1);
        for index in 0..count {
            let rest = all.get(index * PART..).unwrap_or_default();
            let mut members = members(rest.get(..PART).unwrap_or(rest));
            if let Some(members) = members.as_object_mut() {
                members.insert("part".into(), json!({"number": index + 1, "of": count}));
            }
            self.note(told, &members);
        }
    }

    fn note(&self, told: &Told<'_>, members: &impl Serialize) {
        let members = serde_json::to_string(members).unwrap_or_default();
        let members = members.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let note = Note {
            time: self.clock.now(),
            operation: told.operation,
            activity: told.activity,
            severity: told.severity,
            failure: told.failure,
            message: told.message,
            members: members.unwrap_or_default().as_bytes(),
        };
        // Nobody waits for it: the journal writes it in its turn, and before what follows.
        drop(self.journal.note(told.kind, &note));
    }
}

impl Told<'_> {
    fn of(kind: Kind, operation: &'static str, activity: Activity) -> Self {
        let severity = Severity::Informational;
        Self { kind, operation, activity, severity, failure: None, message: "" }
    }
}

/// What was last on record of what changes by itself.
#[derive(Debug, Default)]
struct Known {
    /// The ids of each issuer's keys, by its name.
    keys: BTreeMap<String, BTreeSet<String>>,
    access_key: Option<String>,
}

impl Known {
    fn look(&mut self, snapshot: &Snapshot, trail: &Trail) {
        let none = BTreeSet::new();
        for (issuer, url, keys) in snapshot.identity.keys() {
            let before = self.keys.get(issuer).unwrap_or(&none);
            if *before != keys {
                let (added, removed): (Vec<_>, Vec<_>) =
                    (keys.difference(before).collect(), before.difference(&keys).collect());
                trail.keys_changed(issuer, url, &added, &removed);
                self.keys.insert(issuer.to_owned(), keys);
            }
        }
        let current = snapshot.upstream.credentials().access_key();
        if let Some((id, expires)) = current.filter(|(id, _)| self.access_key.as_ref() != Some(id))
        {
            trail.credentials_changed(&id, expires);
            self.access_key = Some(id);
        }
    }
}

/// Ends with the gateway.
pub(super) async fn follow(
    current: Weak<ArcSwap<Snapshot>>,
    mut modes: Option<watch::Receiver<Mode>>,
    trail: Trail,
) {
    let mut known = Known::default();
    while let Some(current) = current.upgrade() {
        known.look(&current.load(), &trail);
        drop::<Arc<_>>(current);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            mode = changed(&mut modes) => trail.limits_kept(mode),
        }
    }
}

/// The limit store's next mode; never, where there is no store.
async fn changed(modes: &mut Option<watch::Receiver<Mode>>) -> Mode {
    if let Some(modes) = modes
        && modes.changed().await.is_ok()
    {
        return *modes.borrow_and_update();
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples::valid_kinds;
    use crate::audit::{Durability, Instance, JournalConfig, Privacy};
    use crate::limits::OnFailure;
    use crate::telemetry::metrics::Metrics;

    #[tokio::test]
    async fn how_limits_are_kept_is_on_record_as_valid_ocsf() {
        let root = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            directory: Some(root.path().to_owned()),
            durability: Durability::Write,
            rotate_size: 1 << 20,
            rotate_age: Duration::from_hours(1),
            signing_key: None,
            queue: 64,
            privacy: Privacy::default(),
        };
        let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
        let journal = Journal::open(config, instance, &Metrics::new().unwrap()).unwrap();
        let trail = Trail::new(journal.clone(), Clock::System);
        trail.limits_kept(Mode::Failing(OnFailure::Local));
        trail.limits_kept(Mode::Shared);
        journal.close().await;
        let kinds = valid_kinds(root.path());
        assert_eq!(kinds, [Kind::Head, Kind::LimitStore, Kind::LimitStore, Kind::Head]);
        let file = std::fs::read_dir(root.path()).unwrap().map(|file| file.unwrap().path());
        let text: String = file.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let at = |mode: &str| text.find(&format!(r#""limit_store":{{"mode":"{mode}"}}"#));
        assert!(at("local").is_some() && at("local") < at("shared"), "{text}");
    }
}
