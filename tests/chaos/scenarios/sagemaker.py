"""SageMaker fails: its addresses, its connections, its answers."""

import collections
import time

from harness.certificates import Certificates
from harness.house import House
from harness.sites import NAME, Site
from harness.story import Story, scenario
from support import http
from support.gateway import Gateway
from support.process import wait_for
from support.prometheus import total

_REFRESH = 1


def _aws(port: int, host: str = NAME, **timeouts: str) -> dict:
    times = {"connect": "1s", "response_head": "5s", "stream_idle": "1s", "stream": "3s"}
    return {
        "runtime_url": f"http://{host}:{port}",
        "dns_refresh": f"{_REFRESH}s",
        "timeouts": times | timeouts,
    }


def _sites(house: House, count: int) -> list[Site]:
    """As many addresses of one port."""
    first = house.enter(Site("127.0.0.1"))
    rest = [house.enter(Site(f"127.0.0.{n}", first.port)) for n in range(2, count + 1)]
    return [first, *rest]


def _resolve(house: House, *sites: Site, millis: int = 0) -> None:
    house.shim.names(NAME, *(site.host for site in sites), millis=millis)


def _gateway(house: House, port: int) -> Gateway:
    config = house.config(aws=_aws(port), danger={"http_runtime_url": True})
    return house.gateway(config, **house.shim.environment)


def _closed(gateway: Gateway) -> float:
    return total(gateway.metrics(), "sagegate_upstream_addresses", state="closed")


@scenario(
    "SageMaker's name resolves to other addresses, slowly, or not at all",
    short=True,
    takes=(10, 10),
)
def sagemaker_moves(story: Story, house: House) -> None:
    one, two, three = sites = _sites(house, 3)
    _resolve(house)
    gateway = _gateway(house, one.port)
    story.fault("DNS has no answer when the gateway starts")
    answer = house.ask(gateway)
    story.answered(f"{answer.status} {answer.code}")
    _resolve(house, one, two)
    since = time.monotonic()
    wait_for("the name to be resolved", lambda: house.ask(gateway).status == 200)
    story.promise(
        "without any address calls get 502, until DNS has an answer",
        answer.status == 502,
        f"200 after {time.monotonic() - since:.1f} s",
    )
    unresolved = gateway.log().count("could not be resolved")
    with house.traffic(gateway, callers=6) as traffic:
        wait_for("traffic", lambda: traffic.count > 100)
        shares = [len(site.calls) for site in sites]
        story.promise(
            "calls spread over the addresses", min(shares[:2]) > 20 and not shares[2], shares
        )
        _resolve(house, two, three)
        since = time.monotonic()
        story.fault("DNS names the third address and no longer the first")
        wait_for("the new address to be used", lambda: len(three.calls) > 0)
        used = time.monotonic() - since
        wait_for("the old address to leave", lambda: _still(one, traffic))
        left = time.monotonic() - since
        story.promise(
            "a new address is used within dns_refresh, an old one leaves after four of them",
            used < 2 * _REFRESH and left < 6 * _REFRESH + 1,
            f"{used:.1f} s, {left:.1f} s",
        )
        _resolve(house, two, three, millis=3000)
        since = time.monotonic()
        story.fault("DNS takes 3 s, then has no answer at all")
        wait_for("slow DNS to pass", lambda: time.monotonic() > since + 1.5)
        _resolve(house)
        failed = lambda: gateway.log().count("could not be resolved") > unresolved  # noqa: E731
        wait_for("DNS to fail", failed)
        wait_for("more traffic", lambda: time.monotonic() > since + 4)
        slow = traffic.percentile(99, since)
        story.promise("nothing waits for DNS", slow < 0.5, f"p99 {slow * 1e3:.0f} ms")
    story.answered(traffic.outcomes())
    story.promise("no call fails", set(traffic.outcomes()) == {200}, traffic.outcomes())


def _still(site: Site, traffic) -> bool:
    """Whether nothing came to a site while calls went on."""
    before, count = len(site.calls), traffic.count
    wait_for("more traffic", lambda: traffic.count > count + 60)
    return len(site.calls) == before


@scenario("one of SageMaker's addresses refuses or hangs", short=True, takes=(6, 60))
def sagemaker_address_fails(story: Story, house: House) -> None:
    one, two, three = sites = _sites(house, 3)
    _resolve(house, *sites)
    gateway = _gateway(house, one.port)
    with house.traffic(gateway, callers=6) as traffic:
        wait_for("traffic", lambda: traffic.count > 60)
        for mode in ("refusing", "silent") if story.long else ("refusing",):
            since = time.monotonic()
            one.mode = mode
            story.fault(f"one address of three is {mode}")
            wait_for("the address to be left alone", lambda: _closed(gateway) == 1)
            closed = time.monotonic() - since
            wait_for("more traffic", lambda: time.monotonic() > since + (12 if story.long else 2))
            tries = total(gateway.metrics(), "sagegate_upstream_retries_total", result="allowed")
            story.promise(
                f"{mode}: it is left alone, and tried again by one call at a time",
                closed < 3 and tries < 60,
                f"after {closed:.1f} s; {tries:.0f} calls were sent elsewhere",
            )
            slowest = traffic.percentile(100, since)
            story.promise(
                f"{mode}: a call goes to another address, at the latest after `connect`",
                slowest < 2.5,
                f"slowest {slowest * 1e3:.0f} ms",
            )
            calls, since = len(one.calls), time.monotonic()
            one.mode = "good"
            story.fault("healed")
            wait_for("the address to be used again", lambda: len(one.calls) > calls, 70)
            story.promise(
                f"{mode}: it comes back by itself",
                True,
                f"{time.monotonic() - since:.1f} s after it healed",
            )
        # Connections that were open when a site went away may have carried calls that were read.
        outcomes = traffic.outcomes()
    bad = sum(count for outcome, count in outcomes.items() if outcome != 200)
    story.answered(outcomes)
    lost = 6 * (2 if story.long else 1)
    story.promise(
        "only calls that were on the wire when it broke may fail, and those are not sent twice",
        set(outcomes) <= {200, 502} and bad <= lost,
        outcomes,
    )


@scenario("every address of SageMaker refuses, under traffic", short=True, takes=(9, 25))
def sagemaker_gone(story: Story, house: House) -> None:
    sites = _sites(house, 3)
    _resolve(house, *sites)
    gateway, seconds = _gateway(house, sites[0].port), 15 if story.long else 3
    with house.traffic(gateway, callers=6, pause=0.01) as traffic:
        wait_for("traffic", lambda: traffic.count > 200)
        for site in sites:
            site.mode = "refusing"
        since = time.monotonic()
        story.fault(f"all three addresses refuse for {seconds} s")
        wait_for("the outage to last", lambda: time.monotonic() > since + seconds)
        calls, slow = len(traffic.calls(since)), traffic.percentile(99, since)
        outcomes = traffic.outcomes(since)
        retries = total(gateway.metrics(), "sagegate_upstream_retries_total", result="allowed")
        answer = house.ask(gateway)
        for site in sites:
            site.mode = "good"
        healed = time.monotonic()
        story.fault("healed")
        wait_for("recovery", lambda: house.ask(gateway).status == 200, 70)
        back = time.monotonic() - healed
    story.answered(f"{outcomes}; {answer.status} {answer.code}")
    story.promise(
        "callers get 502 at once",
        set(outcomes) <= {200, 502} and slow < 1,
        f"p99 {slow * 1e3:.0f} ms",
    )
    # What good times saved up, and three a second.
    most = 0.2 * calls + 0.2 * 200 + 100 + 3 * (seconds + 2)
    story.promise(
        "at most a fifth of calls, and three a second, are tried again",
        0 < retries <= most,
        f"{retries:.0f} retries for {calls} calls",
    )
    shown = total(gateway.metrics(), "sagegate_requests_total", outcome="unreachable")
    metric = 'sagegate_requests_total{outcome="unreachable"}'
    story.promise(f"{metric} shows it", shown > 0, f"{shown:.0f}")
    story.promise("it recovers by itself, all addresses being tried", back < 5, f"{back:.1f} s")


@scenario("SageMaker's certificate is of an authority that the platform does not know", short=True, takes=(3, 3))
def sagemaker_not_trusted(story: Story, house: House) -> None:
    known, unknown = (Certificates(house.directory / name) for name in ("known", "unknown"))
    for files, expected in ((unknown, 502), (known, 200)):
        site = house.enter(Site("127.0.0.1", tls=files.serve()))
        platform = {"SSL_CERT_FILE": str(known.authority)}
        gateway = house.gateway(house.config(aws={"runtime_url": site.url}), **platform)
        who = "the platform knows" if files is known else "nobody knows"
        story.sent(f"a call, while SageMaker shows a certificate of an authority that {who}")
        answer = house.ask(gateway)
        story.answered(f"{answer.status} {answer.code or ''}")
        story.promise(
            f"an authority that {who}: {expected}, and SageMaker hears of {int(files is known)} call",
            answer.status == expected and len(site.calls) == int(files is known),
            f"{answer.status}, {len(site.calls)} calls",
        )


# (mode, the answer's status, whether the answer breaks off, seconds within which)
_ANSWERS = [
    ("resetting", 502, False, 1),
    ("hanging", 504, False, 2.5),
    ("drip-head", 504, False, 2.5),
    ("drip-body", 200, True, 4.5),
    ("failing", 500, False, 1),
    ("throttling", 400, False, 1),
    ("closing", 200, False, 1),
]


@scenario("SageMaker resets, hangs, drips, answers 500 or throttles", short=True, takes=(12, 12))
def sagemaker_answers_badly(story: Story, house: House) -> None:
    site = house.enter(Site("127.0.0.1"))
    aws = _aws(site.port, "127.0.0.1", response_head="1500ms")
    gateway = house.gateway(house.config(aws=aws))
    for mode, expected, breaks, within in _ANSWERS:
        site.mode = mode
        marker = f"call-{mode}".encode()
        since = time.monotonic()
        story.sent(f"a call, SageMaker {mode}")
        status, code, broken = _ask(house, gateway, marker)
        seconds = time.monotonic() - since
        story.answered(f"{status} {code or ''}{', then it broke off' if broken else ''}")
        times = collections.Counter(site.calls)[marker]
        story.promise(
            f"{mode}: {expected}{' and a break' if breaks else ''} within {within} s, sent once",
            (status, broken, times) == (expected, breaks, 1) and seconds < within,
            f"{status} after {seconds:.2f} s, sent {times} times",
        )
        if mode == "throttling":
            kept = code == "ThrottlingException"
            story.promise("SageMaker's own error code is passed on", kept, code)
    # `closing` again: each call finds the connection of the one before closed.
    statuses = [house.ask(gateway, body=f"kept-{n}".encode()).status for n in range(20)]
    once = all(site.calls.count(f"kept-{n}".encode()) == 1 for n in range(20))
    story.promise(
        "a kept connection that SageMaker closed fails nobody, and nothing is sent twice",
        set(statuses) == {200} and once,
        f"{statuses.count(200)} of 20",
    )


def _ask(house: House, gateway: Gateway, body: bytes) -> tuple[int, str | None, bool]:
    """Status and code of a call, and whether its answer broke off."""
    bearer = {"authorization": f"Bearer {house.token()}"}
    path = "/endpoints/echo/invocations"
    with http.opened(gateway.address, "POST", path, body, bearer) as response:
        try:
            response.read()
            broken = False
        except (http.http.client.IncompleteRead, ConnectionError):
            broken = True
        return response.status, response.headers["x-amzn-errortype"], broken
