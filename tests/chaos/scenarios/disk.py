"""The disk that the record is kept on: full, read-only, failing, slow."""

import contextlib
import errno
import http.client
import subprocess
import time
from pathlib import Path

from harness.house import House
from harness.record import verifies
from harness.story import Story, scenario
from support.gateway import Gateway
from support.process import wait_for
from support.prometheus import total

_FAULTS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing (EIO)": errno.EIO}


def _through(story: Story, house: House, gateway: Gateway, what: str, fail, heal) -> None:
    """A fault of the disk under traffic: from the first refusal to the first good call."""
    with house.traffic(gateway, callers=4) as traffic:
        wait_for("traffic", lambda: traffic.count > 40)
        since = time.monotonic()
        fail()
        story.fault(f"the disk is {what}")
        wait_for("refusals", lambda: _status(house, gateway) == 503)
        answer, ready = house.ask(gateway), gateway.ready()
        sent = len(house.standin.seen)
        held = time.monotonic() + (8 if story.long else 0.5)
        wait_for("more refusals", lambda: time.monotonic() > held)
        reached = len(house.standin.seen) - sent
        refused = total(gateway.metrics(), "sagegate_requests_total", outcome="unrecordable")
        heal()
        healed = time.monotonic()
        story.fault("healed")
        wait_for("recovery", lambda: gateway.ready() and _status(house, gateway) == 200)
        back = time.monotonic() - healed
        outcomes = traffic.outcomes(since)
    story.answered(f"{answer.status} {answer.code}; {outcomes}")
    story.promise(
        f"{what}: 503 with Retry-After, and readiness fails",
        answer.code == "ServiceUnavailable" and answer.headers["retry-after"] and not ready,
        answer.status,
    )
    story.promise(f"{what}: nothing more goes to SageMaker", reached == 0, f"{reached} calls")
    story.promise(
        f"{what}: sagegate_requests_total{{outcome=\"unrecordable\"}} shows it",
        refused > 0,
        f"{refused:.0f} so far",
    )
    story.promise(f"{what}: it recovers by itself", back < 10, f"{back:.1f} s")


def _status(house: House, gateway: Gateway) -> int | str:
    """An answer whose record cannot be written any more breaks off, if its head is out."""
    try:
        return house.ask(gateway).status
    except http.client.IncompleteRead:
        return "broken off"


def _account(story: Story, house: House, gateway: Gateway, begun: int = 0) -> None:
    """Every call that reached SageMaker is on record, each once."""
    ids = [event["unmapped"].get("sagemaker_request_id") for event in gateway.record()]
    seen = [seen.request_id for seen in house.standin.seen[begun:]]
    lost = [one for one in seen if ids.count(one) != 1]
    whole = len(seen) - len(lost)
    promise = "no unrecorded success: each call that SageMaker saw is on record"
    story.promise(promise, not lost, f"{whole} of {len(seen)}")
    verifies(story, gateway, "after all that")


@scenario("the journal's disk is full, read-only, or answers EIO", short=True, takes=(8, 75))
def disk_fails(story: Story, house: House) -> None:
    for durability in ("write", "fsync"):
        config = house.config(audit={"durability": durability})
        gateway = house.gateway(config, **house.shim.environment)
        begun = len(house.standin.seen)
        for what, error in _FAULTS.items():
            fail = lambda error=error: house.shim.disk(gateway.journal, error)  # noqa: E731
            heal = lambda: house.shim.disk(gateway.journal)  # noqa: E731
            _through(story, house, gateway, f"{durability}, {what}", fail, heal)
        _account(story, house, gateway, begun)


@scenario("the journal's disk takes half a second for each write", short=True, takes=(5, 8))
def disk_slow(story: Story, house: House) -> None:
    gateway = house.gateway(**house.shim.environment)
    with house.traffic(gateway, callers=8) as traffic:
        wait_for("traffic", lambda: traffic.count > 40)
        house.shim.disk(gateway.journal, millis=500)
        since = time.monotonic()
        story.fault("each write takes 500 ms")
        wait_for("calls", lambda: len(traffic.calls(since)) > 40)
        slowest, outcomes = traffic.percentile(99, since), traffic.outcomes(since)
        house.shim.disk(gateway.journal)
    story.answered(outcomes)
    story.promise("calls wait for their record and succeed", set(outcomes) == {200}, outcomes)
    story.promise(
        "many events share a write: a call waits for two at most",
        0.4 < slowest < 1.6,
        f"p99 {slowest:.2f} s",
    )
    _account(story, house, gateway)


@scenario(
    "the journal is on a real file system of 1 MiB, which is filled", short=True, takes=(6, 14)
)
def disk_full_for_real(story: Story, house: House) -> None:
    gateway = house.build()
    if not _mount(gateway.journal, "-t", "tmpfs", "-o", "size=1m", "none"):
        story.promise("mounting needs root: `disk_fails` stands for it here", True, "not permitted")
        return
    house.callback(lambda: subprocess.run(["umount", str(gateway.journal)], check=True))
    house.enter(gateway)
    filler = gateway.journal / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    _through(story, house, gateway, "full", fill, filler.unlink)
    _account(story, house, gateway)


def _mount(at: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, str(at)], capture_output=True).returncode == 0
