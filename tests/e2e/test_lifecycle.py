"""Streams, draining and reloading: what lasts longer than one answer."""

import threading
from collections.abc import Callable

from support import http
from support.gateway import Gateway
from support.process import stays, wait_for
from support.prometheus import by_label
from support.standin import StandIn

INVOKE = "/endpoints/echo/invocations"
DRIP = "/endpoints/drip/invocations-response-stream"
BODY = b"a stream of several parts"


def status(gateway: Gateway, token: str) -> int:
    bearer = {"authorization": f"Bearer {token}"}
    return http.call(gateway.address, "POST", INVOKE, b"hi", bearer).status


def reloads(gateway: Gateway) -> dict[str, float]:
    return by_label(gateway.metrics(), "sagegate_reloads_total", "result")


def test_a_stream_that_is_open_at_sigterm_is_finished_first(
    start_gateway: Callable[[], Gateway], held: threading.Event, token: str
) -> None:
    gateway = start_gateway()
    bearer = {"authorization": f"Bearer {token}"}
    with http.opened(gateway.address, "POST", DRIP, BODY, bearer) as response:
        first = response.read1()
        gateway.drain()
        wait_for("readiness to fail", lambda: not gateway.ready())
        stays("the gateway with a stream open", lambda: gateway.running)
        held.set()
        rest = response.read()
    assert BODY[:8] in first
    assert rest.count(b"PayloadPart") == 3
    assert gateway.exit_code() == 0
    (event,) = gateway.record()
    assert (event["status"], event["api"]["request"]["uid"]) == (
        "Success",
        response.headers["x-sagegate-request-id"],
    )


def test_the_first_part_of_a_stream_arrives_before_the_last_is_made(
    gateway: Gateway, held: threading.Event, token: str
) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    with http.opened(gateway.address, "POST", DRIP, BODY, bearer) as response:
        assert BODY[:8] in response.read1()
        assert not held.is_set()
        held.set()
        response.read()


def test_a_caller_who_leaves_takes_the_upstream_call_along(
    gateway: Gateway, standin: StandIn, held: threading.Event, token: str
) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    with http.opened(gateway.address, "POST", DRIP, BODY, bearer) as response:
        request_id = response.headers["x-sagegate-request-id"]
        assert BODY[:8] in response.read1()
        upstream = standin.seen[-1].request_id
        assert upstream not in standin.abandoned
    wait_for("the upstream call to be let go", lambda: upstream in standin.abandoned)
    assert not held.is_set()
    wait_for("the event of the call", lambda: gateway.events(request_id) != [])
    (event,) = gateway.events(request_id)
    assert event["status"] == "Failure"


def test_a_reload_takes_a_role_away(
    start_gateway: Callable[[], Gateway], access: dict, token: str
) -> None:
    gateway = start_gateway()
    assert status(gateway, token) == 200
    access["bindings"] = [one for one in access["bindings"] if one["roles"] != ["caller"]]
    gateway.write_access(access)
    gateway.reload()
    wait_for("the role to be gone", lambda: status(gateway, token) == 403)


def test_a_broken_file_changes_nothing_and_is_counted(
    start_gateway: Callable[[], Gateway], access: dict, token: str
) -> None:
    gateway = start_gateway()
    access["roles"]["caller"]["description"] = "The same rules in other words."
    good = _result_of_reload(gateway, access)
    assert status(gateway, token) == 200
    _result_of_reload(gateway, "roles: {caller: {permitt: []}}\nbindings: [}", other_than=good)
    assert status(gateway, token) == 200
    assert "access.yaml" in gateway.log()


def _result_of_reload(gateway: Gateway, access: dict | str, other_than: str = "") -> str:
    """Reloads, and says under which result it was counted.

    The signal and the changed file may each cause a reload, and the second be counted late:
    so a caller says which result it has seen before.
    """
    before = reloads(gateway)

    def grown() -> list[str]:
        counts = reloads(gateway).items()
        return [name for name, n in counts if name != other_than and n > before.get(name, 0)]

    gateway.write_access(access)
    gateway.reload()
    wait_for("the reload to be counted", lambda: grown() != [])
    (result,) = grown()
    return result
