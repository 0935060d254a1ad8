//! Whether a call went out, also where nobody is left to be told.
//!
//! A caller who leaves while there is no connection yet has used nothing of SageMaker, and
//! its limits are given back. From the connection on, what was written is not known.

use std::time::Instant;

use http::Request;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

use crate::limits::Admitted;

/// A call that is being sent. Once this is dropped, its admission knows whether it was.
pub(super) struct Sending<'a> {
    admitted: &'a Admitted,
    since: Instant,
    /// Told of the connection that the call goes out on.
    connection: CaptureConnection,
    unsent: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn watch<B>(admitted: &'a Admitted, request: &mut Request<B>) -> Self {
        let connection = capture_connection(request);
        Self { admitted, since: Instant::now(), connection, unsent: false }
    }

    /// It is certain that nothing of it went out.
    pub(super) fn unsent(mut self) {
        self.unsent = true;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.unsent && self.connection.connection_metadata().is_some() {
            self.admitted.sent(self.since);
        }
    }
}
