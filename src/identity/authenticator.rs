//! In work.

use std::sync::Arc;

use super::error::{AuthError, IdentityError};
use super::{IssuerConfig, Principal};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

#[derive(Debug)]
pub struct Authenticator;

impl Authenticator {
    pub fn new(
        _issuers: Vec<IssuerConfig>,
        _previous: Option<&Self>,
        _clock: Clock,
        _metrics: &Metrics,
    ) -> Result<Self, IdentityError> {
        Err(IdentityError::NoSystemRoots)
    }
    pub fn start(&self) {}
    pub async fn authenticate(
        &self,
        _headers: &http::HeaderMap,
    ) -> Result<Arc<Principal>, AuthError> {
        Err(AuthError::KeysUnavailable)
    }
    pub fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
