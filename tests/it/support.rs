//! The stand-ins, and what a test says to them in one line.
//!
//! Everything is on loopback sockets of the system's choice. Nothing here sleeps to be right:
//! whatever is waited for has a condition and a deadline.

pub mod caller;
pub mod request;
pub mod sagemaker;
pub mod stand;
pub mod tls;

use std::time::Duration;

pub use caller::{Caller, Response};
pub use request::Ask;
pub use sagemaker::SageMaker;
pub use stand::{Setup, Stand, records};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The outcome of `future`, or a failed test that says what did not happen.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let at = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, future).await;
        waited.unwrap_or_else(|_| panic!("{at}: {what} did not happen in time"))
    }
}

/// Waits until `holds`.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(what, async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// SageMaker's answer to most calls here.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    x-amzn-requestid: sm-1\r\ncontent-length: 10\r\n\r\n{\"y\": 0.5}";
