//! Several gateways and a model of the store, on one injected clock: what they admit together.
//!
//! The model is the script's arithmetic in Rust. Gateways have clocks of their own that run
//! fast or slow and start anywhere, calls take time, and a gateway may die at any moment.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a model in floating point, as the script is; its numbers are small"
)]

mod model;
mod slots;
mod units;

use super::terms::SECOND;

const MILLI: u64 = SECOND / 1_000;
/// How often the lender looks by itself.
const TICK: u64 = 50 * MILLI;
