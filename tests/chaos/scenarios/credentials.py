"""The gateway's own AWS credentials: they rotate, expire, and their source fails."""

import time

from harness.house import House
from harness.metadata import Metadata
from harness.sites import Site
from harness.story import Story, scenario
from support.process import wait_for
from support.prometheus import total


@scenario(
    "the source of AWS credentials rotates them, fails until they expire, and heals",
    short=True,
    takes=(10, 10),
)
def credentials_source_fails(story: Story, house: House) -> None:
    site, source = house.enter(Site("127.0.0.1")), house.enter(Metadata(lifetime=6))
    aws = {"runtime_url": site.url}
    gateway = house.gateway(house.config(aws=aws), own=None, **source.environment)
    with house.traffic(gateway, callers=2, pause=0.05) as traffic:
        wait_for("a second set of credentials", lambda: len(set(site.signers)) >= 2)
        wait_for("more traffic", lambda n=traffic.count: traffic.count > n + 20)
        used = list(dict.fromkeys(site.signers))
        story.promise(
            "new credentials are fetched ahead of expiry and used, and no call fails",
            set(traffic.outcomes()) == {200},
            f"{' → '.join(used)}, {traffic.outcomes()}",
        )
        source.failing = True
        since, expires = time.monotonic(), source.expires_at
        story.fault("the source answers 500 from now on")
        wait_for("the credentials to expire", lambda: time.time() > expires + 0.2)
        before = [call for call in traffic.calls(since) if call.at < since + expires - _wall(since)]
        story.promise(
            "no call fails while the last set is valid",
            {call.outcome for call in before} == {200},
            f"{len(before)} calls",
        )
        answer, sent = house.ask(gateway), len(site.calls)
        story.answered(f"{answer.status} {answer.code}: {answer.body.decode()}")
        story.promise(
            "then a clear 503 with Retry-After, and nothing is sent",
            answer.status == 503
            and answer.headers["retry-after"] is not None
            and b"credentials" in answer.body
            and len(site.calls) == sent,
            answer.status,
        )
        left = total(gateway.metrics(), "sagegate_credentials_expiry_seconds")
        story.promise(
            "readiness fails and sagegate_credentials_expiry_seconds is below 0",
            not gateway.ready() and gateway.alive() and left < 0,
            f"{left:.1f} s",
        )
        source.failing = False
        since = time.monotonic()
        story.fault("healed")
        wait_for("readiness", gateway.ready, 40)
        story.promise(
            "it recovers by itself",
            house.ask(gateway).status == 200,
            f"{time.monotonic() - since:.1f} s",
        )


def _wall(monotonic: float) -> float:
    """The time of day at a moment of the monotonic clock."""
    return time.time() - (time.monotonic() - monotonic)
