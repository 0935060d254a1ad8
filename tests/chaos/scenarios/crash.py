"""The gateway is killed in the middle of its work, and started again beside what it left."""

import collections
import json
import random
import time

from harness.house import House
from harness.record import verifies
from harness.story import Story, scenario
from support.gateway import Gateway
from support.process import wait_for

_CALLERS = 8


@scenario("the gateway is killed (SIGKILL) at random moments under load", short=True, takes=(9, 90))
def killed(story: Story, house: House) -> None:
    for durability in ("memory", "write", "fsync"):
        _killed(story, house, durability, 20 if story.long else 3)


def _killed(story: Story, house: House, durability: str, times: int) -> None:
    rotating = {"durability": durability, "rotate_size": "256KiB"}
    gateway = house.build(house.config(audit=rotating))
    house.callback(gateway.end)
    sent, answered = len(house.standin.seen), []
    token = house.token()
    for _ in range(times):
        gateway.start()
        wait_for("readiness", gateway.ready)
        with house.traffic(gateway, token, callers=_CALLERS, pause=0) as traffic:
            wait_for("answers", lambda traffic=traffic: traffic.count > 2 * _CALLERS)
            time.sleep(random.uniform(0, 0.15))
            gateway.kill()
        answered += [call.id for call in traffic.calls() if call.id is not None]
    story.fault(f"{durability}: killed {times} times, {len(answered)} answers received whole")
    # What a machine that loses its power leaves, and a killed process hardly ever.
    with max(gateway.journal.glob("*.jsonl")).open("ab") as newest:
        newest.write(b'{"metadata":{"sequence":')
    gateway.start()
    wait_for("readiness", gateway.ready)
    assert gateway.end() == 0
    _account(story, gateway, durability, answered, house.standin.seen[sent:])


def _account(story: Story, gateway: Gateway, durability: str, answered: list, seen: list) -> None:
    records = _records(gateway)
    of = collections.defaultdict(set)
    for record in records:
        if "request" in record["api"]:
            of[record["metadata"]["event_code"]].add(record["api"]["request"]["uid"])
    if durability != "memory":
        lost = set(answered) - of["request"]
        promise = f"{durability}: every answer that was received whole is on record"
        story.promise(promise, not lost, f"{len(answered) - len(lost)} of {len(answered)}")
    if durability == "fsync":
        calls = {call.request.header("x-amzn-sagemaker-inference-id") for call in seen}
        story.promise(
            "fsync: every call that SageMaker saw was on record before",
            calls and calls <= of["intent"],
            f"{len(calls & of['intent'])} of {len(calls)}",
        )
        open_still = of["intent"] - of["request"] - of["outcome_unknown"]
        story.promise(
            "fsync: every intent has an outcome, or is said to have none",
            not open_still,
            f"{len(of['outcome_unknown'])} of {len(of['intent'])} unknown",
        )
    uids = [record["metadata"]["uid"] for record in records]
    story.promise(f"{durability}: no id twice", len(uids) == len(set(uids)), f"{len(uids)} records")
    torn = len(list(gateway.journal.glob("*.torn")))
    assert torn > 0
    verifies(story, gateway, durability, torn)


def _records(gateway: Gateway) -> list[dict]:
    files = sorted(gateway.journal.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
