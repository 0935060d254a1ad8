//! One request's record in the making, and the three places it ends in: the journal, the
//! access log, the metrics.
//!
//! An [`Exchange`] gathers what each stage found out. Whatever happens (an answer, a
//! refusal, a caller who hangs up) it is closed exactly once; dropping it open means that
//! the caller is gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, Version};

use super::body::GatewayBody;
use super::ending::{Closing, End};
use super::refusal::Refusal;
use super::tally::{Ended, Tally};
use crate::audit::{
    self, Cloud, Committed, Decision, Ending, Event, Intent, Journal, OnRecord, Unavailable,
};
use crate::identity::Principal;
use crate::limits::{Moment, Slot};
use crate::names::RequestId;
use crate::policy::{Denial, Permit, Verdict};
use crate::sagemaker::{Call, HeaderText, Targets};
use crate::server::{Malformed, Peer};
use crate::snapshot::Snapshot;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Answer, Payload};

/// On every answer, so that whoever holds one can find its record. (`x-amzn-requestid` is
/// SageMaker's own where SageMaker answered.)
const REQUEST_ID: HeaderName = HeaderName::from_static("x-sagegate-request-id");
const TRACEPARENT: &str = "traceparent";

/// Where exchanges are opened and their ends are noted.
#[derive(Debug)]
pub(super) struct Desk {
    journal: Journal,
    tally: Tally,
    clock: Clock,
}

impl Desk {
    pub(super) fn new(journal: Journal, clock: Clock, metrics: &Metrics) -> Self {
        Self { journal, tally: Tally::new(metrics), clock }
    }

    pub(super) fn reserve(&self) -> Result<Intent, Unavailable> {
        self.journal.reserve()
    }

    /// The one refusal without an event, because the journal is why; it is in the log and
    /// the metrics.
    pub(super) fn refuse_unrecorded(&self, refusal: &Refusal) -> Response<GatewayBody> {
        let (id, row) = (RequestId::generate(), refusal.row());
        tracing::warn!(request_id = %id, reason = refusal.operator(), "refused, and not on record");
        self.tally.ended(Ended {
            operation: None,
            permitted: None,
            outcome: row.outcome,
            answered: false,
            total: Duration::ZERO,
            upstream: None,
        });
        response(refusal, id)
    }

    /// What was no request is on record too, if there is a place for it.
    pub(super) fn record_malformed(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        peer: Peer,
        fault: Malformed,
    ) {
        let Ok(intent) = self.reserve() else { return };
        let mut exchange = Exchange::new(self, snapshot, intent, Head::default(), peer);
        // Nobody waits for it.
        let _ = exchange.close(End::Refused(&Refusal::Malformed(fault)));
    }
}

/// One request from its arrival to its end.
#[derive(Debug)]
pub(super) struct Exchange {
    desk: Arc<Desk>,
    snapshot: Arc<Snapshot>,
    /// `None` once closed.
    intent: Option<Intent>,
    /// Its place among the requests in flight.
    place: Option<Slot>,
    id: RequestId,
    /// The same as text, which the answer, the log and the record all want.
    id_text: HeaderValue,
    arrived: SystemTime,
    started: Instant,
    peer: Peer,
    head: Head,
    call: Option<Call>,
    principal: Option<Arc<Principal>>,
    verdict: Option<Arc<Verdict>>,
    body_length: u64,
    sent: Option<Instant>,
    answered: Option<Answered>,
}

/// What HTTP said, as far as the record wants it.
#[derive(Debug, Default)]
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    user_agent: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
}

/// What SageMaker said.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    request_id: Option<HeaderValue>,
    invoked_variant: Option<HeaderValue>,
}

impl Exchange {
    pub(super) fn open(
        desk: &Arc<Desk>,
        snapshot: &Arc<Snapshot>,
        intent: Intent,
        parts: &Parts,
        peer: Peer,
    ) -> Self {
        let head = Head {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            traceparent: parts.headers.get(TRACEPARENT).cloned(),
        };
        Self::new(desk, snapshot, intent, head, peer)
    }

    fn new(
        desk: &Arc<Desk>,
        snapshot: &Arc<Snapshot>,
        intent: Intent,
        head: Head,
        peer: Peer,
    ) -> Self {
        desk.tally.arrived();
        let id = RequestId::generate();
        Self {
            desk: Arc::clone(desk),
            snapshot: Arc::clone(snapshot),
            intent: Some(intent),
            place: None,
            id,
            id_text: header(id),
            arrived: desk.clock.now(),
            started: Instant::now(),
            peer,
            head,
            call: None,
            principal: None,
            verdict: None,
            body_length: 0,
            sent: None,
            answered: None,
        }
    }

    pub(super) fn id(&self) -> RequestId {
        self.id
    }

    pub(super) fn source(&self) -> IpAddr {
        self.peer.address.ip()
    }

    pub(super) fn arrived(&self) -> SystemTime {
        self.arrived
    }

    pub(super) fn now(&self) -> SystemTime {
        self.desk.clock.now()
    }

    pub(super) fn hold(&mut self, place: Slot) {
        self.place = Some(place);
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { instant: Instant::now(), wall: self.now() }
    }

    pub(super) fn parsed(&mut self, call: &Call) {
        self.call = Some(call.clone());
    }

    pub(super) fn authenticated(&mut self, principal: &Arc<Principal>) {
        self.principal = Some(Arc::clone(principal));
    }

    pub(super) fn decided(&mut self, decision: &Result<Permit, Denial>) {
        let verdict = match decision {
            Ok(permit) => permit.verdict(),
            Err(denial) => denial.verdict(),
        };
        self.verdict = Some(Arc::clone(verdict));
    }

    pub(super) fn read(&mut self, payload: &Payload) {
        self.body_length = payload.len() as u64;
    }

    /// Has on record what is about to happen, as far as the durability asks for it.
    ///
    /// Cancel-safe: the intent may be on record then, and the end of this exchange follows it.
    pub(super) async fn declare(&self) -> Result<OnRecord, Unavailable> {
        let Some(intent) = &self.intent else { return Err(Unavailable::Closed) };
        intent.declare(|| self.event(None, self.started.elapsed(), None)).await
    }

    pub(super) fn sending(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// The answer on its way. One that is here whole goes out in one piece once it is on
    /// record; else the exchange goes with the body and is closed at its end.
    pub(super) async fn relay(mut self, mut answer: Answer) -> Response<GatewayBody> {
        self.answered = Some(Answered {
            status: answer.status,
            request_id: answer.request_id().cloned(),
            invoked_variant: answer.invoked_variant().cloned(),
        });
        let mut response = Response::new(GatewayBody::default());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        if let Some(limits) = answer.admitted.rate_limit_headers() {
            response.headers_mut().extend(limits);
        }
        response.headers_mut().insert(REQUEST_ID, self.id_text.clone());
        if let Some(whole) = answer.body.arrived() {
            answer.admitted.ended(self.moment());
            let end = End::Relayed { bytes: whole.len() as u64, ending: Ending::Complete };
            *response.body_mut() = GatewayBody::whole(whole);
            return self.recorded(end, response).await;
        }
        *response.body_mut() = GatewayBody::relaying(answer.body, answer.admitted, self);
        response
    }

    /// The refusal, once it is on record.
    pub(super) async fn refuse(self, refusal: &Refusal) -> Response<GatewayBody> {
        let response = response(refusal, self.id);
        self.recorded(End::Refused(refusal), response).await
    }

    async fn recorded(
        mut self,
        end: End<'_>,
        response: Response<GatewayBody>,
    ) -> Response<GatewayBody> {
        let id = self.id;
        let Some(committed) = self.close(end) else { return response };
        match committed.await {
            Ok(()) => response,
            Err(unavailable) => self::response(&unavailable.into(), id),
        }
    }

    /// Notes the end. `None` when it was noted before.
    pub(super) fn close(&mut self, end: End<'_>) -> Option<Committed> {
        let intent = self.intent.take()?;
        let total = self.started.elapsed();
        let upstream = self.sent.map(|sent| sent.elapsed());
        let ending = Closing::new(end, self.answered.as_ref().map(|answered| answered.status));
        self.tally(&ending, total, upstream);
        self.log(&ending, total, upstream);
        Some(intent.commit(&self.event(Some(&ending), total, upstream)))
    }

    fn tally(&self, closing: &Closing, total: Duration, upstream: Option<Duration>) {
        let permit = self.verdict.as_ref().filter(|verdict| verdict.is_permit());
        self.desk.tally.ended(Ended {
            operation: self.call.as_ref().map(Call::action),
            permitted: self
                .call
                .as_ref()
                .zip(permit)
                .map(|(call, verdict)| (call.endpoint(), verdict.team.as_ref())),
            outcome: closing.outcome,
            answered: self.answered.as_ref().is_some_and(|a| a.status.is_success()),
            total,
            upstream,
        });
    }

    /// The access log line.
    fn log(&self, closing: &Closing, total: Duration, upstream: Option<Duration>) {
        let privacy = self.desk.journal.privacy();
        let pseudonym = privacy.source(self.peer.address.ip());
        let address = tracing::field::display(self.peer.address);
        let peer: &dyn tracing::Value = match &pseudonym {
            Some(pseudonym) => pseudonym,
            None => &address,
        };
        let user = self.principal.as_ref().map(|principal| privacy.user(principal.user()));
        // A reason may name a user; the record has it with the name hidden.
        let detail = closing.detail.as_deref().filter(|_| !privacy.hides_users());
        tracing::info!(
            target: "sagegate::access",
            request_id = %self.id,
            peer,
            operation = self.call.as_ref().map(|call| call.action().as_str()),
            endpoint = self.call.as_ref().map(|call| call.endpoint().given()),
            user = user.as_ref().map(|user| user.as_str()),
            status = closing.status,
            outcome = closing.outcome,
            detail,
            bytes = closing.bytes,
            duration_ms = millis(total),
            upstream_ms = upstream.map(millis),
            "request"
        );
    }

    fn event<'a>(
        &'a self,
        closing: Option<&'a Closing>,
        duration: Duration,
        upstream: Option<Duration>,
    ) -> Event<'a> {
        let config = self.snapshot.upstream.config();
        Event {
            request_id: self.id,
            time: self.arrived,
            correlation: self.head.traceparent.as_ref().and_then(trace_id),
            source: self.peer.address,
            http: self.http(),
            call: self.call.as_ref().map(|call| audit::Call {
                operation: call.action(),
                endpoint: Some(call.endpoint()),
                targets: targets(call.targets()),
                inference_id: self.inference_id(call),
            }),
            caller: self.principal.as_ref().map(|principal| self.caller(principal)),
            decision: self.verdict.as_ref().map(|verdict| decision(verdict)),
            cloud: Cloud { partition: config.partition(), region: &config.region, account: None },
            upstream: upstream.map(|latency| audit::Upstream {
                host: self.snapshot.upstream.route().host(),
                latency,
                request_id: self.answered.as_ref().and_then(|a| text(a.request_id.as_ref())),
                invoked_variant: self
                    .answered
                    .as_ref()
                    .and_then(|a| text(a.invoked_variant.as_ref())),
            }),
            outcome: closing.map(|closing| audit::Outcome {
                disposition: closing.disposition,
                ending: closing.ending,
                status: closing.status,
                error: closing.error,
                detail: closing.detail.as_deref(),
                bytes_out: closing.bytes,
                duration,
            }),
        }
    }

    /// The caller's, or the one that was made for it when the call went out.
    fn inference_id<'a>(&'a self, call: &'a Call) -> Option<&'a str> {
        let made = self.sent.and_then(|_| text(Some(&self.id_text)));
        call.inference_id().or(made)
    }

    fn http(&self) -> audit::Http<'_> {
        audit::Http {
            method: self.head.method.as_str(),
            path: Some(self.head.uri.path()),
            version: match self.head.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            user_agent: text(self.head.user_agent.as_ref()),
            body_length: self.body_length,
        }
    }

    fn caller<'a>(&'a self, principal: &'a Principal) -> audit::Caller<'a> {
        audit::Caller {
            issuer: principal.issuer(),
            issuer_url: principal.issuer_url(),
            user: principal.user(),
            groups: principal.groups(),
            team: self.verdict.as_ref().and_then(|verdict| verdict.team.as_ref()),
            token_id: principal.token_id(),
            client: principal.client(),
            issued_at: principal.issued_at(),
            expires_at: principal.expires_at(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Still open: the future was dropped, so nobody is there to be told.
        let _ = self.close(End::CallerGone);
        self.desk.tally.left();
    }
}

fn response(refusal: &Refusal, id: RequestId) -> Response<GatewayBody> {
    let mut response = Response::new(GatewayBody::whole(refusal.body(id)));
    *response.status_mut() = refusal.row().status;
    *response.headers_mut() = refusal.headers(id);
    response.headers_mut().insert(REQUEST_ID, header(id));
    response
}

/// A UUID is always text; were it not, an empty value would be the lesser evil.
fn header(id: RequestId) -> HeaderValue {
    HeaderValue::from_str(&id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn decision(verdict: &Verdict) -> Decision<'_> {
    Decision {
        verdict: if verdict.is_permit() { audit::Verdict::Permit } else { audit::Verdict::Deny },
        policies: &verdict.grounds.policies,
        errors: &verdict.grounds.errors,
        roles: &verdict.grounds.roles,
        policy_version: &verdict.grounds.policy_version,
    }
}

fn targets(targets: &Targets) -> audit::Targets<'_> {
    fn text(target: &Option<HeaderText>) -> Option<&str> {
        target.as_ref().map(HeaderText::as_str)
    }
    audit::Targets {
        variant: text(&targets.variant),
        model: text(&targets.model),
        inference_component: text(&targets.inference_component),
        container_hostname: text(&targets.container_hostname),
        input_location: text(&targets.input_location),
        output_extension: text(&targets.output_extension),
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, not all zeros.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let mut fields = value.to_str().ok()?.split('-');
    let (_, id) = (fields.next()?, fields.next()?);
    let hex = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (hex && id.bytes().any(|b| b != b'0')).then_some(id)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
