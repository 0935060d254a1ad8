"""Callers who hold what they do not use, who are slow, and who are too many."""

import collections
import contextlib
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Iterator

from harness.house import INVOKE, House, memory
from harness.lake import Lake
from harness.load import Load
from harness.sites import Site
from harness.story import Story, scenario
from support.gateway import Gateway
from support.process import wait_for
from support.prometheus import by_label, total

_SPARE = 1_000


@scenario("5,000 connections that ask nothing", short=True, alone=True, takes=(5, 20))
def idle_callers(story: Story, house: House) -> None:
    lake, count = house.enter(Lake()), 5_000 if story.long else 1_000
    gateway = _quiet(house, lake)
    with house.traffic(gateway, pause=0.01) as good:
        time.sleep(2 if story.long else 1)
        alone, before = good.percentile(99), memory(gateway)
        with _connections(gateway, count) as idle:
            story.fault(f"{count} connections to the gateway, and nothing is sent on them")
            wait_for("all are open", lambda: _open(gateway) >= count)
            since = time.monotonic()
            time.sleep(10 if story.long else 2)
            outcomes, slowest = good.outcomes(since), good.percentile(99, since)
            each = (memory(gateway) - before) / len(idle)
    story.answered(f"{outcomes}, 99 % within {slowest * 1000:.0f} ms (alone {alone * 1000:.0f} ms)")
    story.promise("good traffic is unaffected", set(outcomes) == {200}, outcomes)
    story.promise("and not held up", slowest < alone * 3 + 0.05, f"{slowest * 1000:.0f} ms")
    story.promise("each costs ≤ 64 KiB", each <= 64 << 10, f"{each / 1024:.0f} KiB")
    wait_for("their places come back", lambda: _open(gateway) < 50)


@scenario(
    "1,000 callers who send their heads or bodies, or read their answers, a byte at a time",
    short=True,
    alone=True,
    takes=(8, 40),
)
def slow_callers(story: Story, house: House) -> None:
    lake, each = house.enter(Lake()), 334 if story.long else 60
    gateway = _quiet(house, lake, timeouts={"head": "3s", "body": "4s"})
    token = house.token()
    start = f"POST {INVOKE} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
    large = start.replace("echo", "bytes-4000000") + "content-length: 2\r\n\r\nhi"
    kinds = {"heads": start, "bodies": start + "content-length: 1000\r\n\r\n", "readers": large}
    with house.traffic(gateway, pause=0.01) as good, contextlib.ExitStack() as open_:
        time.sleep(1)
        alone, before = good.percentile(99), memory(gateway)
        slow = {
            kind: open_.enter_context(_connections(gateway, each, small=kind == "readers"))
            for kind in kinds
        }
        for kind, bytes_ in kinds.items():
            for peer in slow[kind]:
                peer.sendall(bytes_.encode())
        story.fault(f"{each} each of slow heads, slow bodies and slow readers")
        since = time.monotonic()
        for _ in range(20 if story.long else 5):
            for peer in slow["heads"] + slow["bodies"]:
                with contextlib.suppress(OSError):
                    peer.send(b"x")
            for peer in slow["readers"]:
                with contextlib.suppress(OSError):
                    peer.recv(1, socket.MSG_DONTWAIT)
            time.sleep(1)
        outcomes, slowest = good.outcomes(since), good.percentile(99, since)
        grown = memory(gateway) - before
        ended = {kind: _ended(slow[kind]) for kind in ("heads", "bodies")}
    story.answered(f"{outcomes}, 99 % within {slowest * 1000:.0f} ms (alone {alone * 1000:.0f} ms)")
    story.promise("good traffic is unaffected", set(outcomes) == {200}, outcomes)
    story.promise("and not held up", slowest < alone * 3 + 0.05, f"{slowest * 1000:.0f} ms")
    story.promise("slow heads and bodies are given up", ended == dict.fromkeys(ended, each), ended)
    bound = each * 3 * (128 << 10) + (8 << 20)
    story.promise("memory stays within 128 KiB each", grown <= bound, f"{grown >> 20} MiB")
    late = sum(event["status_code"] == "408" for event in gateway.record())
    story.promise("each that was given up is on record", late == 2 * each, late)


@scenario("500 streams are open at once", short=True, alone=True, takes=(6, 30))
def open_streams(story: Story, house: House) -> None:
    lake, count = house.enter(Lake()), 500 if story.long else 200
    gateway = _quiet(house, lake)
    path = "/endpoints/held/invocations-response-stream"
    call = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {house.token()}\r\n"
    call += "content-length: 2\r\n\r\nhi"
    before = memory(gateway)
    with _connections(gateway, count) as streams:
        for peer in streams:
            peer.sendall(call.encode())
        for peer in streams:
            assert peer.recv(1 << 16).startswith(b"HTTP/1.1 200")
        opened = memory(gateway)
        story.fault(f"{count} streams are open, each with its first chunk read")
        with house.traffic(gateway, pause=0.01) as good:
            since = time.monotonic()
            time.sleep(20 if story.long else 2)
            outcomes, later = good.outcomes(since), memory(gateway)
        lake.release()
        story.sent("the end of every stream")
        whole = sum(_rest(peer).endswith(b"1\r\nb\r\n0\r\n\r\n") for peer in streams)
    each = (opened - before) / count
    story.answered(f"{whole} streams end whole; beside them {outcomes}")
    story.promise("every stream ends whole", whole == count, whole)
    story.promise("each costs ≤ 64 KiB", each <= 64 << 10, f"{each / 1024:.0f} KiB")
    story.promise("memory stays flat", later - opened < 4 << 20, f"{(later - opened) >> 10} KiB")
    story.promise("good traffic is unaffected", set(outcomes) == {200}, outcomes)


@scenario("256 file descriptors (`ulimit -n 256`), and 300 connections", short=True, takes=(5, 10))
def few_descriptors(story: Story, house: House) -> None:
    lake = house.enter(Lake())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    build = house.build(_config(house, lake))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    with contextlib.ExitStack() as raised:
        raised.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        build.start()
        house.callback(build.end)
    resource.prlimit(build.pid, resource.RLIMIT_NOFILE, (256, 256))
    wait_for("readiness", build.ready)
    with house.traffic(build, pause=0.01, callers=2) as good:
        wait_for("traffic", lambda: good.count > 10)
        used = _cpu(build)
        with _connections(build, 300) as peers:
            story.fault("300 connections, kept open")
            since = time.monotonic()
            time.sleep(2)
            closed, busy = _ended(peers), (_cpu(build) - used) / 2
            outcomes, ready = good.outcomes(since), build.ready()
        story.answered(f"{closed} of them closed at once; beside them {outcomes}")
    refused = by_label(build.metrics(), "sagegate_connections_refused_total", "reason")
    story.promise("callers who were there first go on", set(outcomes) == {200}, outcomes)
    story.promise("connections over the bound are closed at once", closed >= 150, closed)
    story.promise("and counted", sum(refused.values()) >= closed, refused)
    story.promise("probes are answered", ready)
    story.promise("the accept loop does not spin", busy < 0.5, f"{busy:.0%} of a core")
    wait_for("new callers are served", lambda: house.ask(build).status == 200)


@scenario("three times as many calls as the gateway has places for", alone=True, takes=(20, 110))
def overload(story: Story, house: House) -> None:
    lake, places, wait = house.enter(Lake()), 20, 100
    gateway = _quiet(house, lake, bounds={"requests": places})
    path, token = f"/endpoints/wait-{wait}/invocations", house.token()
    capacity, seconds = places * 1000 / wait, 60 if story.long else 8
    load = lambda share, span: Load(gateway.address, path, token, share * capacity, span)  # noqa: E731

    cpu = _cpu(gateway)
    calm = load(0.8, 10).join()
    cost = (_cpu(gateway) - cpu) / max(1, calm.outcomes.get("200", 0))
    story.sent(f"{0.8 * capacity:.0f} calls a second: {calm.outcomes}")
    peak = max(load(1.0, 10).join().good_by_second)

    cpu = _cpu(gateway)
    story.fault(f"{3 * capacity:.0f} calls a second for {seconds} s; there is room for {capacity:.0f}")
    flood = load(3.0, seconds).join()
    good, refused = flood.outcomes.get("200", 0), flood.outcomes.get("503", 0)
    extra = (_cpu(gateway) - cpu - good * cost) / max(1, refused)
    story.answered(f"{flood.outcomes}, good ones within {flood.percentile(99) * 1000:.0f} ms")
    goodput = sum(flood.good_by_second[1:]) / (len(flood.good_by_second) - 1)
    story.promise("goodput ≥ 90 % of the peak", goodput >= 0.9 * peak, f"{goodput:.0f} of {peak}/s")
    told = set(flood.outcomes) <= {"200", "503"}
    story.promise("the others are told at once, with 503", told, flood.outcomes)
    slow = flood.percentile(99)
    story.promise("nobody waits in a queue", slow < wait / 1000 * 3, f"99 % in {slow * 1000:.0f} ms")
    cheap = f"{extra * 1e6:.0f} µs of CPU, a served call {cost * 1e6:.0f} µs"
    story.promise("a refusal is cheaper than a call", extra < cost, cheap)
    after = load(0.8, 5).join()
    story.promise("it is over at once", after.outcomes.get("503", 0) <= 5, after.outcomes)
    shed = total(gateway.metrics(), "sagegate_requests_total", outcome="shed")
    story.promise("every refusal is counted", shed >= refused, int(shed))


@scenario("the gateway stands still for 3 s, and most callers give up meanwhile", short=True, takes=(8, 8))
def callers_gave_up(story: Story, house: House) -> None:
    site = house.enter(Site("127.0.0.1"))
    gateway = _quiet(house, site)
    head = f"POST {INVOKE} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {house.token()}\r\n"
    head += "content-length: 8\r\n\r\n"
    with _connections(gateway, 50) as here, _connections(gateway, 200) as gone:
        wait_for("all are open", lambda: _open(gateway) >= 250)
        os.kill(gateway.pid, signal.SIGSTOP)
        try:
            # Whoever leaves asks before those who stay.
            for number, peer in enumerate(gone):
                peer.sendall(f"{head}gone-{number:03}".encode())
                peer.close()
            for number, peer in enumerate(here):
                peer.sendall(f"{head}here-{number:03}".encode())
            story.fault("it gets no CPU; 200 callers ask and leave, 50 ask after them and stay")
            time.sleep(3)
        finally:
            os.kill(gateway.pid, signal.SIGCONT)
        since = time.monotonic()
        answers = [peer.recv(1 << 16).split(b" ", 2)[1].decode() for peer in here]
        took = time.monotonic() - since
    story.answered(f"{collections.Counter(answers)} within {took:.2f} s")
    story.promise("who waits is answered", set(answers) == {"200"}, len(answers))
    served = sum(body.startswith(b"gone") for body in site.calls)
    story.promise("who has given up is not served", served == 0, f"{served} of 200")


def _config(house: House, sagemaker: Lake | Site, **server: dict) -> dict:
    aws = {"runtime_url": sagemaker.url}
    return house.config(aws=aws, log={"level": "warn"}, server=server, audit={"stdout": False})


def _quiet(house: House, sagemaker: Lake | Site, **server: dict) -> Gateway:
    return house.gateway(_config(house, sagemaker, **server))


def _open(gateway: Gateway) -> float:
    return total(gateway.metrics(), "sagegate_connections", listener="calls")


@contextlib.contextmanager
def _connections(
    gateway: Gateway, count: int, small: bool = False
) -> Iterator[list[socket.socket]]:
    """`small`: with room for little that was not read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, max(soft, count + _SPARE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    host, _, port = gateway.address.rpartition(":")
    with contextlib.ExitStack() as peers:
        opened = []
        for _ in range(count):
            peer = peers.enter_context(socket.socket())
            if small:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(10)
            peer.connect((host, int(port)))
            opened.append(peer)
        yield opened


def _ended(peers: list[socket.socket]) -> int:
    """How many the gateway has closed."""
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer, selectors.EVENT_READ)
        readable = [key.fileobj for key, _ in selector.select(0)]
    return sum(_at_end(peer) for peer in readable)


def _at_end(peer: socket.socket) -> bool:
    try:
        while peer.recv(1 << 16, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _rest(peer: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"0\r\n\r\n"):
        more = peer.recv(1 << 16)
        if not more:
            break
        read += more
    return read


def _cpu(gateway: Gateway) -> float:
    """Seconds of CPU that the process has used."""
    with open(f"/proc/{gateway.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
