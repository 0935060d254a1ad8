//! What the gateway says about itself: numbers ([`metrics`]) and lines ([`log`]).
//!
//! Rank 0: every room may use it and it knows none of them. Invariant: nothing here ever
//! holds a token, a key, a signature or a body, and no label comes from a caller who was
//! not permitted.

pub mod clock;
pub mod log;
pub mod metrics;
