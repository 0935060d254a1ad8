"""Peers who use HTTP/2 to make the gateway work for nothing."""

import socket
import time

from harness.floods import FLOODS, flood
from harness.frames import PING, PREFACE, SETTINGS, frame
from harness.house import House, memory, peak_memory
from harness.lake import Lake
from harness.story import Story, scenario
from support import http
from support.process import wait_for
from support.prometheus import total

_ROOM = 50 << 20


@scenario(
    "rapid reset, endless CONTINUATION, DATA, SETTINGS, PING and PRIORITY, HPACK bombs",
    short=True,
    alone=True,
    takes=(14, 60),
)
def http2_floods(story: Story, house: House) -> None:
    lake = house.enter(Lake())
    gateway = house.gateway(house.config(aws={"runtime_url": lake.url}, log={"level": "error"}))
    seconds = 4.0 if story.long else 1.0
    # What anybody's requests make it hold is not the flood's.
    with house.traffic(gateway, callers=4, pause=0.005):
        time.sleep(1)
    before = memory(gateway)
    for name in FLOODS:
        with house.traffic(gateway, callers=4, pause=0.005) as good:
            since = time.monotonic()
            with flood(gateway.address, name) as (sent, opened):
                time.sleep(seconds)
            outcomes, slowest = good.outcomes(since), good.percentile(99, since)
        told = f"{sum(sent) / 2**20:.0f} MiB over {sum(opened)} connections"
        story.fault(f"{name}: {told}")
        story.answered(f"good calls {outcomes}, 99 % within {slowest * 1000:.0f} ms")
        share = outcomes.get(200, 0) / max(1, sum(outcomes.values()))
        story.promise(f"{name}: ≥ 95 % of good calls", share >= 0.95, f"{share:.1%}")
    grown = peak_memory(gateway) - before
    story.promise("all of it grows memory by less than 50 MiB", grown < _ROOM, f"{grown >> 20} MiB")
    wait_for("the floods' connections are gone", lambda: _open(gateway) == 0)
    assert house.ask(gateway).status == 200


def _open(gateway) -> float:
    return total(gateway.metrics(), "sagegate_connections", listener="calls")


@scenario("a flood of PINGs on one connection", short=True, takes=(3, 3))
def http2_flood_is_ended(story: Story, house: House) -> None:
    gateway = house.gateway()
    host, _, port = gateway.address.rpartition(":")
    with socket.create_connection((host, int(port))) as peer:
        peer.settimeout(5)
        story.sent("100,000 PING frames, and nothing is read meanwhile")
        ended = "kept"
        try:
            peer.sendall(PREFACE + frame(SETTINGS, 0, 0))
            for _ in range(100):
                peer.sendall(frame(PING, 0, 0, b"12345678") * 1_000)
                time.sleep(0.01)
        except TimeoutError:
            ended = "not read any further"
        except OSError:
            ended = "ended"
    story.answered(ended)
    story.promise("the connection is ended", ended == "ended", ended)
    wait_for("the record of it", lambda: gateway.record())
    event = gateway.record()[0]
    detail = event["status_detail"]
    story.promise("it is on record", "frames without end" in detail, detail)
    assert http.call(gateway.address, "POST", "/", b"").status == 404
