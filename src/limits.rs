//! Each team's share: a permit → [`Admitted`], or [`OverLimit`] with when to come back.
//!
//! Owns how much teams, users, roles and endpoints may use (requests, bytes of bodies, time
//! of inference, concurrent requests) and how many bytes of request bodies may be in memory
//! at once. It refuses what is over a limit and never queues: a caller that must wait is
//! told for how long.
//!
//! Invariants: a request takes from all its limits or from none; within any time t a rate
//! admits at most its burst plus t times its rate, and a day its quota; what a request holds
//! is released when its [`Admitted`] is dropped, however the request ended.
//!
//! # Where counts are kept
//!
//! A limit has a `Counter`: its counts by key, under one lock. What a single count can do is
//! the trait `Count` (`count.rs`); here they are a `Bucket` (rates), `Used` (days) and `Open`
//! (concurrency), in this process. With a store that gateways share it is `Leased`: a slice of
//! what the store granted, spent here without waiting, and filled by a task of `shared`. [`Limits::admit`] is where a first slice may be waited for.

mod admit;
mod admitted;
mod bucket;
mod bytes;
mod concurrency;
mod count;
mod counter;
mod day;
mod headers;
mod leased;
mod limit;
mod open;
mod returns;
mod share;
mod shared;
mod table;
mod usage;

pub use admit::{Limits, Moment};
pub use admitted::{Admitted, OverLimit};
pub use bytes::{BodyGuard, BodyMemory};
pub use concurrency::{Concurrency, Slot};
pub use limit::{Filter, Limit, LimitsConfig, MICROS, Measure, Origin, Per, Period, Scope, Unit};
pub use shared::{Lender, Mode, OnFailure, RedisConfig, RedisTls, StoreError};
pub use usage::{Unasked, used_now};

#[cfg(test)]
mod tests;
