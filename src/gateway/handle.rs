//! Every stage of a request, in order.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::{Body, Incoming};

use super::body::GatewayBody;
use super::leftover::discard;
use super::record::{Desk, Exchange};
use super::refusal::Refusal;
use crate::audit::Journal;
use crate::limits::Admitted;
use crate::sagemaker::{Call, CallError};
use crate::server::{Handler, Malformed, Peer};
use crate::snapshot::Snapshot;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Answer, BodyLimits, Payload};

/// Answers callers. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Gateway {
    snapshot: Arc<ArcSwap<Snapshot>>,
    desk: Arc<Desk>,
}

impl Gateway {
    /// A gateway that serves whatever `snapshot` holds when a request arrives.
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        journal: Journal,
        clock: Clock,
        metrics: &Metrics,
    ) -> Self {
        Self { snapshot, desk: Arc::new(Desk::new(journal, clock, metrics)) }
    }
}

impl Handler for Gateway {
    type Body = GatewayBody;

    /// Always one answer and one event. Dropping the future aborts the upstream call and
    /// records that the caller is gone.
    async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<GatewayBody> {
        let snapshot = self.snapshot.load_full();
        let (head, mut body) = request.into_parts();
        let intent = match self.desk.reserve() {
            Ok(intent) => intent,
            Err(unavailable) => {
                discard(&head, body);
                return self.desk.refuse_unrecorded(&unavailable.into());
            }
        };
        let mut exchange = Exchange::open(&self.desk, &snapshot, intent, &head, peer);
        let ended = AssertUnwindSafe(corridor(&snapshot, &head, &mut body, &mut exchange));
        match ended.catch_unwind().await.unwrap_or(Err(Refusal::Panic)) {
            Ok(answer) => exchange.relay(answer).await,
            Err(refusal) => {
                discard(&head, body);
                exchange.refuse(&refusal).await
            }
        }
    }

    fn malformed(&self, peer: Peer, fault: Malformed) {
        self.desk.record_malformed(&self.snapshot.load(), peer, fault);
    }
}

/// The stages. Each takes what the one before it proved; none can be left out.
/// `exchange` is told what is known so far, for the record.
async fn corridor(
    snapshot: &Snapshot,
    head: &Parts,
    body: &mut Incoming,
    exchange: &mut Exchange,
) -> Result<Answer, Refusal> {
    // Nobody waits here: who cannot be served is told so at once, at the cost of its head.
    exchange.hold(snapshot.requests.acquire().ok_or(Refusal::Busy)?);

    // Over HTTP/1.0 a stream ends where its connection does, so a break would look complete.
    if head.version < Version::HTTP_11 {
        return Err(Refusal::Version);
    }
    let call = Call::parse(&head.method, &head.uri, &head.headers)?;
    exchange.parsed(&call);
    let team = team_named(&head.headers)?;

    let principal = snapshot.identity.authenticate(&head.headers).await?;
    exchange.authenticated(&principal);

    let (source, now) = (exchange.source(), exchange.arrived());
    let permit = snapshot.policy.authorize(principal, call, team, source, now);
    exchange.decided(&permit);

    let declared = body.size_hint().exact();
    let mut admitted = snapshot.limits.admit(permit?, declared, exchange.moment()).await?;

    let payload = payload(&admitted, body, &snapshot.bodies).await?;
    exchange.read(&payload);
    admitted.read(payload.len() as u64, exchange.moment())?;

    let recorded = exchange.declare().await?;

    let now = exchange.now();
    let signed = snapshot.upstream.sign(admitted, payload, recorded, exchange.id(), now)?;

    exchange.sending();
    Ok(snapshot.upstream.send(signed).await?)
}

/// Which of its teams a caller of several wants charged. It is for the gateway alone, and so
/// is in no operation's table of headers that go on.
fn team_named(headers: &HeaderMap) -> Result<Option<&str>, CallError> {
    let mut named = headers.get_all(TEAM).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => str::from_utf8(name.as_bytes())
            .map(Some)
            .map_err(|_| CallError::Header { header: TEAM, rule: "the name of a team" }),
        (Some(_), Some(_)) => Err(CallError::Doubled(TEAM)),
    }
}

const TEAM: &str = "x-sagegate-team";

/// Reads the body only now that the call is admitted.
async fn payload(
    admitted: &Admitted,
    body: &mut Incoming,
    limits: &BodyLimits,
) -> Result<Payload, Refusal> {
    let payload = Payload::read(body, limits).await?;
    admitted.permit().call().check_body(payload.len())?;
    Ok(payload)
}
