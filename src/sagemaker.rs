//! What of SageMaker Runtime the gateway understands: three operations, and nothing else.
//!
//! Owns the reading of a request's head into a [`Call`]. It refuses every path that is not
//! one of the three, byte for byte, and every header that the operation's table does not
//! know. Invariant: a `Call` holds only values that passed SageMaker's own patterns
//! (botocore's service model, apiVersion 2017-05-13), so later stages compare and forward
//! them without looking again. Pure: no runtime, no clock, no I/O.

mod errors;
mod parse;
mod target;

pub use errors::CallError;
pub use parse::{Call, MAX_ASYNC_INLINE_BODY};
pub use target::{HeaderText, Targets};
