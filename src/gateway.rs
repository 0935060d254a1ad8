//! The corridor: one request, all stages, one answer, one record.
//!
//! [`handle`] shows the stages in order; [`refusal`] is the one table from cause to answer;
//! [`record`] ends every request in the same three places: the journal, the access log and
//! the metrics. Invariants: every request gets exactly one answer and one event, whatever
//! happened to it; nothing is answered as a success that could not be recorded.

mod body;
mod ending;
mod handle;
mod leftover;
mod record;
mod refusal;
mod tally;

pub use body::GatewayBody;
pub use handle::Gateway;
