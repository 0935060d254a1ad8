//! What the policies are allowed to see of a request: the decision cache's key and Cedar's
//! input in one value.
//!
//! Invariant: whatever the footprint does not list is left out *here*, before both the cache
//! and the evaluation. Equal [`Asked`]s therefore get equal decisions, whatever else differed
//! in the requests; were the footprint ever too small, a policy would miss an attribute and
//! the error would deny, rather than another caller's decision be served.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::SystemTime;

use moka::Equivalent;

use super::footprint::{Footprint, Input};
use super::verdict::{Query, TargetNames};
use crate::names::Action;

/// A request with the caller reduced to a standing and all unread parts gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Of this compiled policy; see [`Standing`](super::standing::Standing).
    pub(super) standing: u64,
    pub(super) action: Action,
    /// In lower case.
    pub(super) endpoint: Cow<'a, str>,
    pub(super) user: Option<Cow<'a, str>>,
    /// Which of the standing's teams is charged; 0 if no policy reads it.
    pub(super) team: usize,
    /// An IPv4 address that came as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
    pub(super) source: Option<IpAddr>,
    /// The targets that the request names and the policies read, in the order of [`TARGETS`].
    pub(super) targets: [Option<Cow<'a, str>>; 6],
    /// Set if a policy reads the time, and then this is not a key.
    pub(super) now: Option<SystemTime>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        standing: u64,
        team: usize,
        query: &Query<'a>,
        footprint: &Footprint,
    ) -> Self {
        Self {
            standing,
            action: query.action,
            endpoint: Cow::Borrowed(query.endpoint.folded()),
            user: footprint.reads(Input::User).then(|| Cow::Borrowed(query.user.as_str())),
            team: if footprint.reads(Input::Team) { team } else { 0 },
            source: footprint.reads(Input::SourceIp).then(|| query.source.to_canonical()),
            targets: seen(&query.targets, footprint),
            now: footprint.reads(Input::Now).then_some(query.now),
        }
    }
}

impl Asked<'_> {
    /// The owned key, or `None` when the decision depends on the time.
    pub(super) fn key(&self) -> Option<Key> {
        if self.now.is_some() {
            return None;
        }
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.as_ref().to_owned());
        Some(Key(Asked {
            standing: self.standing,
            action: self.action,
            endpoint: owned(&self.endpoint),
            user: self.user.as_ref().map(owned),
            team: self.team,
            source: self.source,
            targets: self.targets.each_ref().map(|target| target.as_ref().map(owned)),
            now: None,
        }))
    }
}

/// Absent targets are left out: each part that is there says which it is.
impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.standing.hash(state);
        self.action.hash(state);
        self.endpoint.hash(state);
        if let Some(user) = &self.user {
            (b'u', user).hash(state);
        }
        if self.team > 0 {
            (b't', self.team).hash(state);
        }
        if let Some(source) = &self.source {
            (b's', source).hash(state);
        }
        for (n, target) in self.targets.iter().enumerate() {
            if let Some(target) = target {
                (n, target).hash(state);
            }
        }
    }
}

/// An [`Asked`] that the decision cache keeps; a borrowed one finds it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Asked<'static>);

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.0
    }
}

type Target = for<'a> fn(&TargetNames<'a>) -> Option<&'a str>;

/// Each target with whether it compares without case (SageMaker's own names do; models and
/// S3 paths do not).
pub(super) const TARGETS: [(Input, bool, Target); 6] = [
    (Input::Variant, true, |names| names.variant),
    (Input::Model, false, |names| names.model),
    (Input::InferenceComponent, true, |names| names.inference_component),
    (Input::ContainerHostname, true, |names| names.container_hostname),
    (Input::InputLocation, false, |names| names.input_location),
    (Input::OutputExtension, false, |names| names.output_extension),
];

fn seen<'a>(names: &TargetNames<'a>, footprint: &Footprint) -> [Option<Cow<'a, str>>; 6] {
    TARGETS.map(|(input, folds, target)| {
        let text = target(names).filter(|_| footprint.reads(input))?;
        Some(if folds { folded(text) } else { Cow::Borrowed(text) })
    })
}

fn folded(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
