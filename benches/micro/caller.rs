//! A caller with a token, and the authenticator that knows its issuer: made once.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use sagegate::identity::{Algorithm, Authenticator, IssuerConfig, Principal};
use sagegate::names::Issuer as IssuerName;
use sagegate::telemetry::clock::Clock;
use sagegate::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;

use crate::issuer::{AUDIENCE, GROUP, Issuer};
use crate::serve::runtime;

pub(crate) const ISSUER: &str = "corp";

/// An issuer on loopback and an authenticator that has its keys.
pub(crate) struct Desk {
    pub issuer: Issuer,
    pub authenticator: Authenticator,
    _runtime: Runtime,
}

pub(crate) static DESK: LazyLock<Desk> = LazyLock::new(Desk::open);
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new().unwrap());

impl Desk {
    fn open() -> Self {
        let runtime = runtime().unwrap();
        let issuer = runtime.block_on(Issuer::start()).unwrap();
        let config = vec![config(&issuer)];
        let authenticator = Authenticator::new(config, None, Clock::System, &METRICS).unwrap();
        let guard = runtime.enter();
        authenticator.start();
        drop(guard);
        while authenticator.ready().is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Self { issuer, authenticator, _runtime: runtime }
    }

    /// The usual head with the token of `user` in it.
    pub(crate) fn head(&self, user: &str) -> HeaderMap {
        let mut headers = crate::head();
        let token = self.issuer.token(user, GROUP).unwrap();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert(AUTHORIZATION, value);
        headers
    }

    pub(crate) fn principal(&self, user: &str) -> Arc<Principal> {
        at_once(self.authenticator.authenticate(&self.head(user))).unwrap()
    }
}

fn config(issuer: &Issuer) -> IssuerConfig {
    IssuerConfig {
        name: IssuerName::new(ISSUER),
        url: issuer.url(),
        audiences: vec![AUDIENCE.to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: vec![Algorithm::Rs256],
        token_types: vec!["jwt".to_owned()],
        groups_claim: vec!["groups".to_owned()],
        user_claim: vec!["sub".to_owned()],
        required_claims: BTreeMap::new(),
        leeway: Duration::from_secs(30),
        max_token_age: Duration::from_secs(86_400),
        jwks_url: None,
        jwks_refresh: Duration::from_secs(300),
        jwks_max_stale: Duration::from_secs(86_400),
        ca: None,
    }
}

/// The result of a future that has nothing to wait for. An executor would add its own cost.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the keys are there, so nothing is waited for"),
    }
}
