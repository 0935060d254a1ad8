"""The metrics page: what was permitted is counted by name, what a stranger sent is not."""

from support import http
from support.gateway import Gateway
from support.issuer import Issuer
from support.process import wait_for
from support.prometheus import total


def requests(gateway: Gateway, **labels: str) -> float:
    return total(gateway.metrics(), "sagegate_requests_total", **labels)


def test_a_permitted_call_is_counted_by_operation_and_endpoint(
    gateway: Gateway, token: str
) -> None:
    labels = {"operation": "InvokeEndpoint", "endpoint": "echo"}
    before = requests(gateway, **labels)
    bearer = {"authorization": f"Bearer {token}"}
    assert (
        http.call(gateway.address, "POST", "/endpoints/echo/invocations", b"hi", bearer).status
        == 200
    )
    wait_for("the call to be counted", lambda: requests(gateway, **labels) == before + 1)


def test_no_label_comes_from_a_caller_without_permission(gateway: Gateway, issuer: Issuer) -> None:
    stranger = {"authorization": f"Bearer {issuer.token('made-up-group', user='made-up-user')}"}
    forged = {"authorization": "Bearer made.up.token"}
    before = requests(gateway)
    for headers in ({}, forged, stranger):
        answer = http.call(
            gateway.address, "POST", "/endpoints/made-up-name/invocations", b"hi", headers
        )
        assert answer.status in (401, 403)
    http.call(gateway.address, "POST", "/made-up-path", b"hi")
    wait_for("the calls to be counted", lambda: requests(gateway) == before + 4)
    assert "made-up" not in gateway.metrics()


def test_every_promised_metric_is_there(gateway: Gateway, token: str) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    assert (
        http.call(gateway.address, "POST", "/endpoints/echo/invocations", b"hi", bearer).status
        == 200
    )
    page = gateway.metrics()
    promised = [
        "sagegate_requests_total",
        "sagegate_request_duration_seconds_bucket",
        "sagegate_upstream_duration_seconds_bucket",
        "sagegate_overhead_seconds_bucket",
        "sagegate_in_flight_requests",
        "sagegate_decisions_total",
        "sagegate_tokens_total",
        "sagegate_jwks_age_seconds",
        "sagegate_credentials_expiry_seconds",
        "sagegate_upstream_addresses",
        "sagegate_upstream_retries_total",
        "sagegate_audit_events_total",
        "sagegate_limit_mode",
        "sagegate_build_info",
    ]
    assert [name for name in promised if f"\n{name}" not in page] == []
