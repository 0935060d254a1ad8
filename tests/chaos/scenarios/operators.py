"""What operators do to a gateway under load: end it, and give it other files."""

import contextlib
import socket
import time

from harness.callers import Http1, Http2, connect
from harness.certificates import Certificates
from harness.frames import Peer
from harness.house import House
from harness.lake import Lake
from harness.story import Story, scenario
from support.gateway import Gateway
from support.process import wait_for
from support.prometheus import total

_STREAM = "/endpoints/held/invocations-response-stream"


@scenario("SIGTERM while calls and streams are open", short=True, takes=(5, 12))
def sigterm_under_load(story: Story, house: House) -> None:
    rounds = 6 if story.long else 1
    tally: dict[str, int] = {}
    for _ in range(rounds):
        lake = house.enter(Lake())
        gateway = house.build(house.config(aws={"runtime_url": lake.url}, log={"level": "warn"}))
        gateway.start()
        house.callback(gateway.end)
        wait_for("readiness", gateway.ready)
        token = house.token()
        callers = [Http1(gateway, token) for _ in range(12)]
        callers += [Http2(gateway, token) for _ in range(4)]
        streams = [_stream(gateway, token) for _ in range(20)]
        multiplexed = _streams(connect(gateway), token, 20)
        wait_for("traffic", lambda: sum(caller.answered for caller in callers) > 200)
        gateway.drain()
        time.sleep(0.3)
        unready = not gateway.ready()
        wait_for("the end of every caller", lambda: all(caller.done for caller in callers))
        lake.release()
        whole = sum(_rest(stream).endswith(b"1\r\nb\r\n0\r\n\r\n") for stream in streams)
        whole += _whole(multiplexed)
        code = gateway.exit_code()
        for key, count in {
            "calls answered": sum(caller.answered for caller in callers),
            "over HTTP/2": sum(caller.answered for caller in callers if isinstance(caller, Http2)),
            "calls lost": sum(caller.lost for caller in callers),
            "streams whole": whole,
            "not ready while it drains": unready,
            "exit code 0": code == 0,
        }.items():
            tally[key] = tally.get(key, 0) + int(count)
        recorded = len(gateway.record())
        expected = sum(caller.answered for caller in callers) + 2 * len(streams)
        tally["events missing"] = tally.get("events missing", 0) + expected - recorded
    kinds = "12 callers who keep HTTP/1 connections and 4 of HTTP/2, and 20 streams over each"
    story.fault(f"{rounds} × SIGTERM under {kinds}")
    story.answered(tally)
    story.promise("no call in flight is lost", tally["calls lost"] == 0, tally["calls answered"])
    story.promise("every stream ends whole", tally["streams whole"] == 40 * rounds, tally)
    story.promise("readiness fails at once", tally["not ready while it drains"] == rounds)
    story.promise("it ends with exit code 0", tally["exit code 0"] == rounds)
    story.promise("nothing is missing from the record", tally["events missing"] == 0)


@scenario("the configuration is reloaded, again and again, and once broken", short=True, takes=(5, 20))
def reload_under_load(story: Story, house: House) -> None:
    lake = house.enter(Lake())
    gateway = house.gateway(house.config(aws={"runtime_url": lake.url}, log={"level": "warn"}))
    rule = {"permit": [{"actions": ["InvokeEndpoint"], "endpoints": ["*"]}]}
    bindings = [{"groups": ["corp/callers"], "roles": ["caller"]}]
    times = 100 if story.long else 15
    with house.traffic(gateway, callers=8, pause=0.001) as good:
        since = time.monotonic()
        for number in range(times):
            roles = {"caller": rule, f"other-{number}": rule}
            gateway.write_access({"roles": roles, "bindings": bindings})
            _reload(gateway, "ok")
        story.fault(f"{times} other access.yaml files, each with a SIGHUP")
        gateway.write_access("roles: [nonsense")
        _reload(gateway, "failed")
        story.fault("one that is no YAML")
        time.sleep(0.5)
        outcomes = good.outcomes(since)
    story.answered(outcomes)
    story.promise("nothing fails", set(outcomes) == {200}, outcomes)
    story.promise("what is broken is not used", house.ask(gateway).status == 200)


@scenario(
    "the certificate is renewed, again and again, and what is put in its place is broken",
    short=True,
    takes=(8, 30),
)
def certificate_renewed_under_load(story: Story, house: House) -> None:
    lake, files = house.enter(Lake()), Certificates(house.directory / "tls")
    server = {"tls": files.files()}
    config = house.config(aws={"runtime_url": lake.url}, log={"level": "error"}, server=server)
    gateway, times = house.gateway(config), 50 if story.long else 8
    good = {"callers": 4, "pause": 0.005, "tls": files.trust()}
    host = gateway.address.partition(":")[0]
    over_tls = files.trust("h2").wrap_socket(connect(gateway), server_hostname=host)
    held = _streams(over_tls, house.token(), 10)
    with house.traffic(gateway, **good) as kept, house.traffic(gateway, anew=True, **good) as anew:
        wait_for("traffic", lambda: min(kept.count, anew.count) > 50)
        stale = 0
        for _ in range(times):
            renewed = files.renew()
            _reload(gateway, "ok")
            stale += files.shown(gateway.address) != renewed
        story.fault(f"{times} certificates, one after the other, each with a SIGHUP")
        whole = files.certificate.read_bytes()
        broken = {"garbage": b"garbage", "none": b"", "half of one": whole[: len(whole) // 2]}
        for content in broken.values():
            files.spoil(content)
            _reload(gateway, "failed")
            stale += files.shown(gateway.address) != renewed
        files.spoil(whole)
        files.new_key()
        _reload(gateway, "failed")
        stale += files.shown(gateway.address) != renewed
        story.fault(f"in its place {', '.join(broken)}; then a key that is not the certificate's")
        renewed = files.renew()
        _reload(gateway, "ok")
        stale += files.shown(gateway.address) != renewed
        story.fault("a certificate of the new key")
        calls = min(kept.count, anew.count)
        wait_for("more traffic", lambda: min(kept.count, anew.count) > calls + 50)
    lake.release()
    whole = _whole(held)
    story.answered(f"kept connections {kept.outcomes()}, new ones {anew.outcomes()}")
    story.promise("no call on a kept connection fails", set(kept.outcomes()) == {200}, kept.count)
    story.promise("nor one on a new connection", set(anew.outcomes()) == {200}, anew.count)
    story.promise("an HTTP/2 connection and its streams outlive all of it", whole == 10, whole)
    shown = "each renewal is shown at once, and never what is broken"
    story.promise(shown, stale == 0, f"{times + 5} handshakes, {stale} wrong")


def _reload(gateway: Gateway, result: str) -> None:
    before = _reloads(gateway, result)
    gateway.reload()
    wait_for(f"a reload: {result}", lambda: _reloads(gateway, result) > before)


def _reloads(gateway: Gateway, result: str) -> float:
    return total(gateway.metrics(), "sagegate_reloads_total", result=result)


def _stream(gateway: Gateway, token: str) -> socket.socket:
    peer = connect(gateway)
    head = f"POST {_STREAM} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
    peer.sendall((head + "content-length: 2\r\n\r\nhi").encode())
    assert peer.recv(1 << 16).startswith(b"HTTP/1.1 200")
    return peer


def _rest(peer: socket.socket) -> bytes:
    read = b""
    with contextlib.suppress(OSError), peer:
        while more := peer.recv(1 << 16):
            read += more
    return read


def _streams(connected: socket.socket, token: str, count: int) -> Peer:
    """So many over one HTTP/2 connection, each with its first chunk read."""
    peer = Peer(connected)
    for _ in range(count):
        peer.ask(_STREAM, token)
    while set(peer.open.values()) != {b"a"}:
        peer.take()
        assert len(peer.open) == count
    return peer


def _whole(peer: Peer) -> int:
    with peer:
        while peer.open:
            peer.take()
    return peer.whole.count(b"ab")
