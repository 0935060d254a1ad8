"""What operators do to a gateway under load: end it, and give it other files."""

import contextlib
import socket
import threading
import time

from harness.house import INVOKE, House
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
        callers = [_Caller(gateway, house.token()) for _ in range(16)]
        streams = [_stream(gateway, house.token()) for _ in range(20)]
        wait_for("traffic", lambda: sum(caller.answered for caller in callers) > 200)
        gateway.drain()
        time.sleep(0.3)
        unready = not gateway.ready()
        wait_for("the end of every caller", lambda: all(caller.done for caller in callers))
        lake.release()
        whole = sum(_rest(stream).endswith(b"1\r\nb\r\n0\r\n\r\n") for stream in streams)
        code = gateway.exit_code()
        for key, count in {
            "calls answered": sum(caller.answered for caller in callers),
            "calls lost": sum(caller.lost for caller in callers),
            "streams whole": whole,
            "not ready while it drains": unready,
            "exit code 0": code == 0,
        }.items():
            tally[key] = tally.get(key, 0) + int(count)
        recorded = len(gateway.record())
        expected = sum(caller.answered for caller in callers) + len(streams)
        tally["events missing"] = tally.get("events missing", 0) + expected - recorded
    story.fault(f"{rounds} × SIGTERM under 16 callers who keep their connections, and 20 streams")
    story.answered(tally)
    story.promise("no call in flight is lost", tally["calls lost"] == 0, tally["calls answered"])
    story.promise("every stream ends whole", tally["streams whole"] == 20 * rounds, tally)
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
            gateway.reload()
            wait_for("the reload", lambda n=number: _reloads(gateway, "ok") > n)
        story.fault(f"{times} other access.yaml files, each with a SIGHUP")
        before = _reloads(gateway, "failed")
        gateway.write_access("roles: [nonsense")
        gateway.reload()
        wait_for("the failed reload", lambda: _reloads(gateway, "failed") > before)
        story.fault("one that is no YAML")
        time.sleep(0.5)
        outcomes = good.outcomes(since)
    story.answered(outcomes)
    story.promise("nothing fails", set(outcomes) == {200}, outcomes)
    story.promise("what is broken is not used", house.ask(gateway).status == 200)


def _reloads(gateway: Gateway, result: str) -> float:
    return total(gateway.metrics(), "sagegate_reloads_total", result=result)


class _Caller(threading.Thread):
    """Calls on one connection until it is told to leave, as a pool of a client does."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__(daemon=True)
        host, _, port = gateway.address.rpartition(":")
        self._address = (host, int(port))
        head = f"POST {INVOKE} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
        self._call = (head + "content-length: 2\r\n\r\nhi").replace("echo", "wait-5").encode()
        self.answered = self.lost = 0
        self.done = False
        self.start()

    def run(self) -> None:
        while not self.done:
            try:
                peer = socket.create_connection(self._address, timeout=20)
            except OSError:
                # Nobody listens any more: nothing was in flight.
                self.done = True
                return
            with peer:
                self._until_told(peer)

    def _until_told(self, peer: socket.socket) -> None:
        while True:
            try:
                peer.sendall(self._call)
                answer = peer.recv(1 << 16).lower()
            except OSError:
                answer = b""
            if not answer.startswith(b"http/1.1 200"):
                self.lost += 1
                return
            self.answered += 1
            if b"connection: close" in answer:
                return


def _stream(gateway: Gateway, token: str) -> socket.socket:
    host, _, port = gateway.address.rpartition(":")
    peer = socket.create_connection((host, int(port)), timeout=20)
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
