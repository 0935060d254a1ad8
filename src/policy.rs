//! What a principal may do.

mod permit;

pub use permit::{Denial, DenialReason, Grounds, Permit};
