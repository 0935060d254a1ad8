//! SigV4 and the credentials behind it.
//!
//! Owns the only secret of the gateway that opens anything: its AWS credentials.
//! [`sigv4`] is pure (time and credentials are parameters); [`Credentials`] keeps a valid
//! set at hand, refreshed ahead of need by a background task. Invariant: the request path
//! never waits for a credential source, and a failed refresh costs nothing while the last
//! set is still valid.

mod credentials;
pub mod sigv4;

pub use credentials::{Credentials, Source, default_region};
