"""The record on its way: every sink gets every event, whatever ends or fails meanwhile."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import http
from support.clients import REGION
from support.gateway import Gateway
from support.process import stays, wait_for
from support.prometheus import by_label, total
from support.rules import ACCESS, OWN
from support.sinks import BUCKET, FIREHOSE, GROUP, PREFIX, STREAM, Collector, Door, Moto

INVOKE = "/endpoints/echo/invocations"
KEY = "Bearer collectors-own-key"
# RFC 8410 §10.3 and §10.1: a key and its public half.
SIGNING_KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto"), REGION) as moto:
        yield moto


@pytest.fixture
def door(moto: Moto) -> Iterator[Door]:
    with Door(moto.address, OWN, REGION) as door:
        yield door
    assert door.faults == []


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(KEY) as collector:
        yield collector
        collector.released.set()
    assert collector.faults == []


@pytest.fixture
def start(tmp_path: Path, config: dict) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways one after the other in one directory, with this `audit` section."""
    started: list[Gateway] = []

    def start(**audit: object) -> Gateway:
        whole = config | {"audit": audit}
        secret = {"COLLECTORS_KEY": KEY}
        started.append(Gateway(tmp_path / "gateway", whole, ACCESS, OWN, **secret).__enter__())
        return started[-1]

    yield start
    for gateway in started:
        if gateway.running:
            gateway.__exit__(None)


def aws_sinks(door: Door) -> dict:
    there = {"endpoint_url": door.url}
    return {
        "cloudwatch_logs": there | {"group": GROUP, "stream": STREAM},
        "firehose": there | {"stream": FIREHOSE},
        "s3": there | {"bucket": BUCKET, "prefix": PREFIX, "every": "1s"},
    }


def otlp_sink(collector: Collector) -> dict:
    headers = {"authorization": "${COLLECTORS_KEY}"}
    return {"otlp": {"url": f"{collector.url}/v1/logs", "headers": headers}}


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, Path]:
    """`audit.signing_key`, and the file with its public half."""
    private, public = tmp_path / "audit.pem", tmp_path / "audit.pub"
    private.write_text(SIGNING_KEY)
    public.write_text(PUBLIC_KEY)
    return str(private), public


def call(gateway: Gateway, token: str, times: int = 1) -> list[int]:
    bearer = {"authorization": f"Bearer {token}"}
    ask = lambda: http.call(gateway.address, "POST", INVOKE, b"hi", bearer).status  # noqa: E731
    return [ask() for _ in range(times)]


def journal(gateway: Gateway) -> list[str]:
    files = sorted(gateway.journal.glob("*.jsonl"))
    return [line for file in files for line in file.read_text().splitlines()]


def uid(line: str) -> str:
    return json.loads(line)["metadata"]["uid"]


def arrived(lines: list[str], got: list[str]) -> bool:
    """Whether all of `lines` are there. What is there twice is the same event, by its uid."""
    seen: dict[str, str] = {}
    assert all(seen.setdefault(uid(line), line) == line for line in got)
    return set(lines) <= set(got)


def everywhere(lines: list[str], moto: Moto, collector: Collector) -> bool:
    """Whether every sink has all of `lines`."""
    sinks = [moto.logged, moto.delivered, moto.stored, collector.collected]
    return all(arrived(lines, sink()) for sink in sinks)


def test_every_sink_gets_every_event_byte_for_byte(
    start: Callable[..., Gateway], moto: Moto, door: Door, collector: Collector, token: str
) -> None:
    gateway = start(sinks=aws_sinks(door) | otlp_sink(collector))
    assert call(gateway, token, 20) == [200] * 20
    assert call(gateway, "none") == [401]
    lines = [line for line in journal(gateway) if '"Invoke' in line or "401" in line]
    assert len(lines) >= 21
    wait_for("the events everywhere", lambda: everywhere(lines, moto, collector))
    wait_for("standard output", lambda: set(lines) <= set(gateway.log().splitlines()))
    assert len(collector.collected()) == len(set(collector.collected())), "nothing twice"
    refused = next(r for r in collector.records if '"code":401' in r["line"])
    assert refused["severity"] == 10

    sinks = {"stdout", "cloudwatch_logs", "firehose", "s3", "otlp"}
    unshipped = lambda: by_label(gateway.metrics(), "sagegate_audit_unshipped_bytes", "sink")  # noqa: E731
    wait_for("nothing to be unshipped", lambda: set(unshipped().values()) == {0.0})
    assert set(unshipped()) == sinks
    assert set(by_label(gateway.metrics(), "sagegate_audit_lag_seconds", "sink")) == sinks
    day = time.strftime("%Y/%m/%d", time.gmtime())
    keys = list(moto.objects(BUCKET))
    name = rf"{PREFIX}\d{{4}}/\d\d/\d\d/sagegate-[0-9TZ.]+-[0-9a-f]+-\d{{10}}\.jsonl\.gz"
    assert keys and all(re.fullmatch(name, key) for key in keys), keys
    assert any(key.startswith(PREFIX + day) for key in keys)
    assert KEY not in gateway.everything_written()


@pytest.mark.parametrize("ending", ["sigterm", "kill"])
def test_a_restart_in_the_middle_of_shipping_loses_nothing(
    start: Callable[..., Gateway],
    moto: Moto,
    door: Door,
    collector: Collector,
    token: str,
    ending: str,
) -> None:
    sinks = aws_sinks(door) | otlp_sink(collector)
    first = start(sinks=sinks)
    call(first, token, 5)
    wait_for("the first events", lambda: everywhere(journal(first)[:5], moto, collector))
    # The services take what they are sent, and the gateway never hears that they did.
    door.mode, collector.mode = "mute", "down"
    call(first, token, 10)
    failed = lambda: total(first.metrics(), "sagegate_audit_events_total", result="failed")  # noqa: E731
    wait_for("shipping to fail", lambda: failed() > 0)
    if ending == "kill":
        first.kill()
    else:
        first.drain()
        assert first.exit_code() == 0
    lines = journal(first)
    assert not everywhere(lines, moto, collector)

    door.mode, collector.mode = "open", "good"
    second = start(sinks=sinks)
    call(second, token, 5)
    lines = journal(second)
    wait_for("all events", lambda: everywhere(lines, moto, collector), 40)


def test_an_outage_is_waited_out_and_disturbs_no_request(
    start: Callable[..., Gateway], moto: Moto, door: Door, collector: Collector, token: str
) -> None:
    door.mode, collector.mode = "shut", "hanging"
    gateway = start(sinks=aws_sinks(door) | otlp_sink(collector))
    call(gateway, token)
    took = []
    for _ in range(60):
        before = time.monotonic()
        assert call(gateway, token) == [200]
        took.append(time.monotonic() - before)
    assert sorted(took)[len(took) // 2] < 0.1, took
    lag = lambda sink: total(gateway.metrics(), "sagegate_audit_lag_seconds", sink=sink)  # noqa: E731
    wait_for("the lag to grow", lambda: min(lag("otlp"), lag("s3"), lag("firehose")) > 1)
    stays("the readiness", gateway.ready)
    door.mode, collector.mode = "open", "good"
    collector.released.set()
    lines = journal(gateway)
    wait_for("all events", lambda: everywhere(lines, moto, collector), 60)
    assert len(collector.collected()) == len(set(map(uid, collector.collected())))


def test_a_full_spool_refuses_requests_until_it_has_room(
    start: Callable[..., Gateway], collector: Collector, token: str
) -> None:
    collector.mode = "down"
    audit = {"stdout": False, "rotate_size": "32KiB", "spool": "128KiB"}
    gateway = start(sinks=otlp_sink(collector), **audit)
    wait_for("a refusal", lambda: 503 in call(gateway, token, 20))
    wait_for("readiness to fail", lambda: not gateway.ready())
    lines = journal(gateway)
    collector.mode = "good"
    wait_for("readiness", gateway.ready, 60)
    assert call(gateway, token) == [200]
    wait_for("all events", lambda: arrived(lines, collector.collected()))
    assert set(lines) <= set(journal(gateway)), "nothing was removed"


def test_the_oldest_shipped_files_make_room_and_unshipped_ones_never(
    start: Callable[..., Gateway], collector: Collector, token: str
) -> None:
    audit = {"stdout": False, "rotate_size": "32KiB", "spool": "128KiB"}
    gateway = start(sinks=otlp_sink(collector), spool_full="drop_oldest_shipped", **audit)
    first = min(gateway.journal.glob("*.jsonl"))
    lines: list[str] = []

    def first_is_gone() -> bool:
        lines.extend(set(journal(gateway)) - set(lines))
        call(gateway, token, 10)
        return not first.exists()

    wait_for("the first file to go", first_is_gone, 60)
    wait_for("all events", lambda: arrived(lines, collector.collected()))
    collector.mode = "down"
    wait_for("a refusal", lambda: 503 in call(gateway, token, 20), 60)
    lines = journal(gateway)
    collector.mode = "good"
    wait_for("readiness", gateway.ready, 60)
    wait_for("all events", lambda: arrived(lines, collector.collected()))


def test_files_past_their_retention_go_once_they_are_shipped_and_the_rest_verifies(
    start: Callable[..., Gateway], collector: Collector, token: str, keys: tuple[str, Path]
) -> None:
    collector.mode = "down"
    private, public = keys
    audit = {"stdout": False, "rotate_size": "32KiB", "retention": "1s", "signing_key": private}
    gateway = start(sinks=otlp_sink(collector), **audit)
    call(gateway, token, 40)
    first = min(gateway.journal.glob("*.jsonl"))
    lines = journal(gateway)
    assert len(list(gateway.journal.glob("*.jsonl"))) > 1
    stays("an unshipped file", first.exists, 3)
    its_lines = first.read_text().splitlines()
    collector.mode = "good"
    wait_for("the shipped file to go", lambda: not first.exists(), 60)
    assert arrived(its_lines, collector.collected())
    wait_for("all events", lambda: arrived(lines, collector.collected()))

    gateway.drain()
    assert gateway.exit_code() == 0
    verified = gateway.verify("--public-key", public)
    assert verified.returncode == 0, verified.stdout
    assert re.search(r": ok: records (?!1 )\d+ to \d+ in ", verified.stdout), verified.stdout
    behind = re.search(r"\n  note: begins behind record (\d+)\n", verified.stdout)
    assert behind and int(behind[1]) >= len(its_lines)
    # Of the next run's files one more is gone, and nobody said so.
    audit.pop("retention")
    second = start(sinks=otlp_sink(collector), **audit)
    second.drain()
    assert second.exit_code() == 0
    assert second.verify("--public-key", public).returncode == 0
    min(second.journal.glob("*.jsonl")).unlink()
    touched = second.verify("--public-key", public)
    assert touched.returncode == 3
    words = r"missing file: records 1 to \d+ are not here, and no record that a head counts says"
    assert re.search(words, touched.stdout), touched.stdout


def test_heads_out_of_every_sink_show_a_tail_that_was_cut(
    start: Callable[..., Gateway],
    moto: Moto,
    door: Door,
    collector: Collector,
    token: str,
    keys: tuple[str, Path],
    tmp_path: Path,
) -> None:
    private, public = keys
    gateway = start(sinks=aws_sinks(door) | otlp_sink(collector), signing_key=private)
    call(gateway, token, 5)
    gateway.drain()
    assert gateway.exit_code() == 0
    lines = journal(gateway)
    wait_for("the events everywhere", lambda: everywhere(lines, moto, collector))
    chain = json.loads(lines[0])["unmapped"]["attestation_list"][0]["chain_uid"]
    sinks = {
        "cloudwatch_logs": moto.logged,
        "firehose": moto.delivered,
        "s3": moto.stored,
        "otlp": collector.collected,
        "stdout": lambda: gateway.log().splitlines(),
    }
    kept = {name: tmp_path / f"{name}.jsonl" for name in sinks}
    for name, got in sinks.items():
        # The services also have what other gateways of this run sent.
        kept[name].write_text("".join(f"{line}\n" for line in got() if chain in line))
    heads = lambda name: ("--public-key", public, "--heads", kept[name])  # noqa: E731
    for name in sinks:
        verified = gateway.verify(*heads(name))
        assert (verified.returncode, "note" in verified.stdout) == (0, False), verified.stdout

    # Whoever can write the directory cuts the chain, and the heads beside it.
    (file,) = gateway.journal.glob("*.jsonl")
    file.write_text("".join(f"{line}\n" for line in lines[:-2]))
    for beside in gateway.journal.glob("*.heads"):
        beside.unlink()
    assert gateway.verify("--public-key", public).returncode == 0, "nothing here can tell"
    number = json.loads(lines[-1])["unmapped"]["head"]["number"]
    words = f"cut tail: the chain goes on to record {len(lines) - 1}, as head {number} says"
    for name in sinks:
        verified = gateway.verify(*heads(name))
        assert verified.returncode == 3, name
        assert verified.stdout.startswith(f"{file}:{len(lines) - 2}: {words}"), verified.stdout


def test_what_a_collector_rejects_is_set_aside_and_counted(
    start: Callable[..., Gateway], collector: Collector, token: str
) -> None:
    collector.mode = "picky"
    gateway = start(stdout=False, sinks=otlp_sink(collector))
    call(gateway, token, 3)
    aside = gateway.journal / "ship-otlp.rejected"
    lines = journal(gateway)
    kept = lambda: aside.read_text().splitlines() if aside.exists() else []  # noqa: E731
    wait_for("the events set aside", lambda: len(kept()) >= len(lines))
    reason = r"1 of these \d+: not the first"
    assert all(re.fullmatch(reason, json.loads(line)["rejected"]["reason"]) for line in kept())
    assert {line.split('"event":', 1)[1][:-1] for line in kept()} >= set(lines)
    counted = lambda: total(  # noqa: E731
        gateway.metrics(), "sagegate_audit_events_total", sink="otlp", result="rejected"
    )
    wait_for("the count", lambda: counted() >= len(lines))
