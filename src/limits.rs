//! Each team's share: a permit → [`Admitted`], or [`OverLimit`] with when to come back.
//!
//! Owns how much a team may send (request rates, concurrent requests) and how many bytes of
//! request bodies may be in memory at once. It refuses what is over a limit and never
//! queues: a caller that must wait is told for how long.
//!
//! Invariants: a request takes from all its limits or from none; within any time t a rate
//! admits at most its burst plus t times its rate; what a request holds is released when its
//! [`Admitted`] is dropped, however the request ended.
//!
//! Rates and concurrency are kept in this process. A caller without a team has no limits.

mod admitted;
mod bucket;
mod bytes;
mod concurrency;
mod headers;
mod local;

pub use admitted::{Admitted, OverLimit};
pub use bytes::{BodyGuard, BodyMemory};
pub use concurrency::{Concurrency, Slot};
pub use local::{Limit, Limits, TeamLimits};

#[cfg(test)]
mod tests;
