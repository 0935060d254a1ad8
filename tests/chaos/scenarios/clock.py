"""The clock of the machine is set an hour forward and back."""

import datetime
import time

from harness.house import House
from harness.metadata import Metadata
from harness.sites import Site
from harness.record import verifies
from harness.story import Story, scenario
from support.process import wait_for

_HOUR = 3600


@scenario(
    "the time of day jumps an hour forward, then an hour back, under traffic",
    short=True,
    takes=(14, 14),
)
def clock_jumps(story: Story, house: House) -> None:
    site, source = house.enter(Site("127.0.0.1")), house.enter(Metadata(lifetime=3 * _HOUR))
    config = house.config(
        aws={"runtime_url": site.url},
        corp={"jwks_refresh": "5m", "jwks_max_stale": "30m", "max_token_age": "24h"},
        audit={"rotate_size": "64KiB"},
    )
    access = {
        "roles": {"caller": {"permit": [{"actions": ["InvokeEndpoint"], "endpoints": ["*"]}]}},
        "bindings": [{"groups": ["corp/callers", "corp/metered"], "roles": ["caller"]}],
        "teams": {
            "metered": {
                "groups": ["corp/metered"],
                "limits": [{"requests": "1/h", "burst": 2}],
            }
        },
    }
    environment = source.environment | house.shim.environment
    gateway = house.gateway(config, access, own=None, **environment)
    now = int(time.time())
    long_lived = house.token(iat=now - 2 * _HOUR, nbf=now - 2 * _HOUR, exp=now + 4 * _HOUR)
    short_lived, metered = house.token(), house.token("metered", exp=now + 4 * _HOUR)
    assert house.ask(gateway, short_lived).status == 200
    taken = [house.ask(gateway, metered).status for _ in range(3)]
    assert taken == [200, 200, 429], taken
    for jump, label in ((_HOUR, "forward"), (-_HOUR, "back"), (0, "right again")):
        with house.traffic(gateway, long_lived) as traffic:
            wait_for("traffic", lambda: traffic.count > 20)
            house.shim.clock(jump)
            since, sets = time.monotonic(), source.handed_out
            story.fault(f"the clock is {label}: {jump:+d} s")
            settled = lambda: traffic.calls(since)[-20:]  # noqa: E731
            wait_for(
                "good calls go through",
                lambda: len(settled()) == 20 and {call.outcome for call in settled()} == {200},
                30,
            )
            took, outcomes = time.monotonic() - since, traffic.outcomes(since)
        story.answered(outcomes)
        bound = 11 if jump > 0 else 2
        story.promise(
            f"{label}: a token that is valid by both clocks goes through"
            + (" once keys that look old were fetched anew, within 10 s" if jump > 0 else ""),
            took < bound and set(outcomes) <= ({200, 503} if jump > 0 else {200}),
            f"{took:.1f} s, {outcomes}",
        )
        signed = datetime.datetime.strptime(site.dates[-1], "%Y%m%dT%H%M%SZ")
        signed = signed.replace(tzinfo=datetime.UTC).timestamp()
        off = abs(signed - (time.time() + jump))
        signed_right = f"{label}: calls are signed with the clock's time"
        story.promise(signed_right, off < 5, f"off {off:.0f} s")
        expected = {_HOUR: 401, -_HOUR: 401, 0: 200}[jump]
        status = house.ask(gateway, short_lived).status
        story.promise(
            f"{label}: a token of ten minutes is judged by the clock as it is, cached or not",
            status == expected,
            status,
        )
        status = house.ask(gateway, metered).status
        story.promise(f"{label}: rates know no clock: nothing is given away", status == 429, status)
        story.promise(
            f"{label}: credentials are not asked for in a rush",
            source.handed_out - sets <= 2,
            f"{source.handed_out - sets} sets",
        )
    files = [file.name for file in gateway.journal.glob("*.jsonl")]
    story.promise("files were begun by every clock", len(files) > 3, f"{len(files)} files")
    verifies(story, gateway, "by three clocks", gaps=0)
