//! How many requests of a key are open.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::count::{Count, Now, Place, Standing};

/// Requests in flight.
#[derive(Debug)]
pub(super) struct Open(u32);

/// Nobody knows when a slot is freed; a second is short for a model's answer and long
/// enough not to make the waiting itself a load.
const WAIT: u64 = 1_000_000_000;

impl Count for Open {
    type Terms = NonZeroU32;

    fn fresh(_: &NonZeroU32, _: Option<&Arc<str>>) -> Self {
        Self(0)
    }

    fn check(&self, most: &NonZeroU32, _: u64, _: Now) -> Result<(), u64> {
        if self.0 < most.get() { Ok(()) } else { Err(WAIT) }
    }

    fn take(&mut self, _: &NonZeroU32, _: u64, _: Now) -> Place {
        self.0 = self.0.saturating_add(1);
        Place::Slot
    }

    fn give_back(&mut self, _: &NonZeroU32, _: Place, _: Now) {
        self.0 = self.0.saturating_sub(1);
    }

    fn standing(&self, most: &NonZeroU32, _: Now) -> Standing {
        let of = most.get().into();
        Standing { remaining: most.get().saturating_sub(self.0).into(), of, reset: None }
    }

    fn is_idle(&self, _: &NonZeroU32, _: Now) -> bool {
        self.0 == 0
    }

    fn carry_over(&mut self, _: &NonZeroU32, _: &NonZeroU32, _: Now) {}
}
