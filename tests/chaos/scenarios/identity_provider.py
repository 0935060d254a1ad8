"""The identity provider fails: in each way, at any time, and at the gateway's start."""

import threading
import time

from harness.house import House, peak_memory
from harness.issuer import FAULTS, ChaosIssuer
from harness.story import Story, scenario
from support.gateway import Gateway
from support.issuer import AUDIENCE
from support.process import wait_for
from support.prometheus import by_label

_REFRESH, _MAX_STALE = 1, 5


def _several(house: House, names: tuple[str, ...]) -> tuple[dict[str, ChaosIssuer], dict]:
    """An issuer for each name, and a configuration that trusts them all."""
    issuers = {name: house.enter(ChaosIssuer()) for name in names}
    config = house.config()
    config["issuers"] = {
        name: {
            "issuer": issuer.url,
            "audiences": [AUDIENCE],
            "jwks_url": f"{issuer.url}/jwks",
            "jwks_refresh": f"{_REFRESH}s",
            "jwks_max_stale": f"{_MAX_STALE}s",
        }
        for name, issuer in issuers.items()
    }
    return issuers, config


def _ask_all(house: House, gateway: Gateway, tokens: dict[str, str]) -> dict[str, int]:
    return {name: house.ask(gateway, token).status for name, token in tokens.items()}


@scenario(
    "six identity providers fail at once, each in its own way: " + ", ".join(FAULTS),
    short=True,
    takes=(12, 12),
)
def identity_provider_fails(story: Story, house: House) -> None:
    issuers, config = _several(house, (*FAULTS, "sound"))
    gateway = house.gateway(config)
    old = {name: issuer.token("callers") for name, issuer in issuers.items()}
    assert set(_ask_all(house, gateway, old).values()) == {200}
    memory = peak_memory(gateway)
    for name in FAULTS:
        issuers[name].mode = name
    story.fault("each provider fails in its own way; one stays sound")
    failed, since = {name: len(issuers[name].fetches) for name in issuers}, time.monotonic()
    asked = {name for name in FAULTS if name != "down"}
    wait_for("a fetch of each", lambda: all(len(issuers[n].fetches) > failed[n] for n in asked))

    new = {name: issuer.token("callers") for name, issuer in issuers.items()}
    story.sent("a cached and a new token of each issuer")
    cached, fresh = _ask_all(house, gateway, old), _ask_all(house, gateway, new)
    story.answered(fresh)
    elapsed = time.monotonic() - since
    story.promise(
        "the last good keys go on, for cached and for new tokens",
        set(cached.values()) | set(fresh.values()) == {200} and elapsed < _MAX_STALE,
        f"all 200 after {elapsed:.1f} s",
    )

    def refused() -> bool:
        return set(_ask_all(house, gateway, {name: new[name] for name in FAULTS}).values()) == {503}

    wait_for("jwks_max_stale to pass", refused)
    elapsed, answer = time.monotonic() - since, house.ask(gateway, new["html"])
    story.sent("the same once jwks_max_stale has passed")
    story.answered(f"{answer.status} {answer.code}, Retry-After {answer.headers['retry-after']}")
    story.promise(
        f"after jwks_max_stale ({_MAX_STALE} s) their tokens get a 503 that says when to return",
        answer.code == "ServiceUnavailable" and answer.headers["retry-after"] is not None,
        f"after {elapsed:.1f} s",
    )
    sound = house.ask(gateway, issuers["sound"].token("callers")).status
    story.promise("a sound provider's tokens are not concerned", sound == 200, sound)
    ages = by_label(gateway.metrics(), "sagegate_jwks_age_seconds", "issuer")
    story.promise(
        "sagegate_jwks_age_seconds shows it, and readiness fails",
        ages["html"] > _MAX_STALE - 1 > ages["sound"] and not gateway.ready(),
        f"html {ages['html']:.0f} s, sound {ages['sound']:.0f} s",
    )
    growth = (peak_memory(gateway) - memory) / 1e6
    story.promise("50 MB of keys take no memory", growth < 20, f"{growth:.1f} MB more at the peak")

    for issuer in issuers.values():
        issuer.mode = "good"
    story.fault("healed")
    since = time.monotonic()
    wait_for("recovery", lambda: set(_ask_all(house, gateway, new).values()) == {200})
    story.promise("it recovers by itself", gateway.ready(), f"{time.monotonic() - since:.1f} s")


@scenario("the identity provider is away when the gateway starts", short=True, takes=(8, 8))
def identity_provider_away_at_start(story: Story, house: House) -> None:
    house.issuer.mode = "500"
    story.fault("it answers 500 from the beginning")
    gateway, token = house.started(), house.token()
    wait_for("the process to serve", gateway.alive)
    wait_for("three fetches", lambda: len(house.issuer.fetches) >= 3)
    answer = house.ask(gateway, token)
    story.sent("a good token")
    story.answered(f"{answer.status} {answer.code}")
    story.promise(
        "alive, not ready, and good tokens get a 503, never a 401",
        gateway.alive() and not gateway.ready() and answer.status == 503,
        answer.status,
    )
    first, second, third = house.issuer.fetches[:3]
    pauses = second - first, third - second
    story.promise(
        "it asks again with backoff and jitter: 0.5 to 1 s, then 1 to 2 s",
        0.5 <= pauses[0] <= 1.3 and 1.0 <= pauses[1] <= 2.3,
        f"{pauses[0]:.2f} s, {pauses[1]:.2f} s",
    )
    house.issuer.mode = "good"
    story.fault("healed")
    since = time.monotonic()
    wait_for("readiness", gateway.ready)
    answer = house.ask(gateway, token)
    story.promise(
        "it recovers by itself", answer.status == 200, f"{time.monotonic() - since:.1f} s"
    )


@scenario("a flood of tokens with made-up key ids, the provider hanging", takes=(8, 70), short=True)
def unknown_keys_flood(story: Story, house: House) -> None:
    gateway = house.gateway()
    good, seconds = house.token(), 65 if story.long else 4
    forged = [house.issuer.token("callers", kid=f"made-up-{n}") for n in range(50)]
    with house.traffic(gateway, good) as traffic:
        wait_for("good traffic", lambda: traffic.count > 200)
        before = traffic.percentile(99)
        house.issuer.mode, fetches = "hanging", len(house.issuer.fetches)
        since = time.monotonic()
        story.fault(f"16 strangers send made-up key ids for {seconds} s; each fetch hangs")
        outcomes = _flood(house, gateway, forged, since + seconds)
        during, seen = traffic.percentile(99, since), traffic.outcomes(since)
    caused = len(house.issuer.fetches) - fetches
    story.answered(f"strangers {outcomes}, good {seen}")
    story.promise("strangers are refused with 401", set(outcomes) == {401}, outcomes)
    most = seconds // 30 + 1
    story.promise(
        "at most one fetch per 30 s, whatever they send", 1 <= caused <= most, f"{caused} fetches"
    )
    story.promise("good tokens all go through", set(seen) == {200}, seen)
    story.promise(
        "good tokens are not slowed down",
        during < max(0.25, before * 5),
        f"p99 {before * 1e3:.1f} ms before, {during * 1e3:.1f} ms during",
    )


def _flood(house: House, gateway: Gateway, tokens: list[str], until: float) -> dict[int, int]:
    counts: dict[int, int] = {}
    lock = threading.Lock()

    def stranger(offset: int) -> None:
        turn = offset
        while time.monotonic() < until:
            status = house.ask(gateway, tokens[turn % len(tokens)]).status
            turn += 1
            # Not so fast that this process's own threads slow the good calls down.
            time.sleep(0.05)
            with lock:
                counts[status] = counts.get(status, 0) + 1

    strangers = [threading.Thread(target=stranger, args=[n]) for n in range(16)]
    for thread in strangers:
        thread.start()
    for thread in strangers:
        thread.join()
    return counts
