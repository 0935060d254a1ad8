"""The record: one event for each call, found by its request id, and no secret anywhere."""

import os
import pty
import re
import subprocess
import uuid
from pathlib import Path

from support import http
from support.clients import CALLERS_SECRET, runtime
from support.gateway import BINARY, Gateway
from support.issuer import Issuer
from support.process import wait_for
from support.provider import CLIENT_ID, Provider
from support.rules import OWN
from support.standin import StandIn

INVOKE = "/endpoints/echo/invocations"
STREAM = "/endpoints/echo/invocations-response-stream"


def test_every_answer_has_one_event_and_no_more(
    gateway: Gateway, issuer: Issuer, token: str
) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    stranger = {"authorization": f"Bearer {issuer.token('strangers')}"}
    expired = {"authorization": f"Bearer {issuer.expired_token('callers')}"}
    # (method, path, headers, status)
    table = [
        ("POST", INVOKE, bearer, 200),
        ("POST", STREAM, bearer, 200),
        ("POST", "/endpoints/echo/async-invocations", bearer, 202),
        ("POST", "/endpoints/model-error/invocations", bearer, 424),
        ("POST", "/endpoints/throttled/invocations", bearer, 400),
        ("POST", "/endpoints/gone/invocations", bearer, 400),
        ("POST", INVOKE, stranger, 403),
        ("POST", INVOKE, expired, 401),
        ("POST", INVOKE, {}, 401),
        ("POST", "/nowhere", bearer, 404),
        ("PUT", INVOKE, bearer, 405),
        ("POST", INVOKE, bearer | {"x-amzn-sagemaker-target-variant": "-"}, 400),
    ]
    before = len(gateway.record())
    answers = [
        http.call(gateway.address, method, path, b"hi", headers)
        for method, path, headers, _ in table
    ]
    assert [answer.status for answer in answers] == [status for *_, status in table]
    assert len({answer.request_id for answer in answers}) == len(table)
    assert [len(gateway.events(answer.request_id)) for answer in answers] == [1] * len(table)
    assert len(gateway.record()) == before + len(table)


def test_an_event_says_who_called_what_and_how_it_ended(gateway: Gateway, issuer: Issuer) -> None:
    caller = issuer.token("callers", user="carol", jti="jti-carol")
    answer = http.call(
        gateway.address, "POST", INVOKE, b"hi", {"authorization": f"Bearer {caller}"}
    )
    (event,) = gateway.events(answer.request_id)
    assert (event["class_uid"], event["metadata"]["version"]) == (6003, "1.8.0")
    assert (event["action"], event["status"]) == ("Allowed", "Success")
    assert event["actor"]["user"]["uid"] == "carol"
    assert event["actor"]["user"]["name"] == "corp/carol"
    assert event["actor"]["user"]["groups"] == [{"name": "corp/callers"}]
    assert event["actor"]["session"]["uid"] == "jti-carol"
    assert event["actor"]["session"]["issuer"] == issuer.url
    assert event["api"]["operation"] == "InvokeEndpoint"
    assert event["resources"][0]["name"] == "echo"
    assert event["http_response"]["code"] == 200


def test_a_denied_event_says_so(gateway: Gateway, issuer: Issuer) -> None:
    caller = issuer.token("strangers", user="dave")
    answer = http.call(
        gateway.address, "POST", INVOKE, b"hi", {"authorization": f"Bearer {caller}"}
    )
    (event,) = gateway.events(answer.request_id)
    assert (event["action"], event["status"]) == ("Denied", "Failure")
    assert event["actor"]["user"]["uid"] == "dave"
    assert event["http_response"]["code"] == 403


def test_a_certified_providers_client_is_named_in_the_record(
    gateway: Gateway, certified: Provider
) -> None:
    bearer = {"authorization": f"Bearer {certified.token()}"}
    answer = http.call(gateway.address, "POST", INVOKE, b"hi", bearer)
    (event,) = gateway.events(answer.request_id)
    assert event["actor"]["user"]["uid"] == CLIENT_ID
    assert event["actor"]["session"]["issuer"] == certified.issuer


def test_log_and_record_name_the_request_and_hold_no_secret(
    gateway: Gateway, standin: StandIn, issuer: Issuer, certified: Provider
) -> None:
    marker = f"body-{uuid.uuid4()}"
    tokens = [
        issuer.token("callers"),
        issuer.token("strangers"),
        issuer.expired_token("callers"),
        certified.token(),
    ]
    before = len(standin.seen)
    answers = [
        http.call(
            gateway.address, "POST", path, marker.encode(), {"authorization": f"Bearer {token}"}
        )
        for token in tokens
        for path in [INVOKE, STREAM, f"{INVOKE}?access_token={token}"]
    ]
    with runtime(gateway, tokens[0]) as client:
        assert (
            client.invoke_endpoint(EndpointName="echo", Body=marker)["Body"].read()
            == marker.encode()
        )
    for answer in answers:
        wait_for("the request in the log", lambda wanted=answer.request_id: wanted in gateway.log())
    written = gateway.everything_written()
    secrets = [marker, OWN.secret_key, OWN.token, CALLERS_SECRET]
    secrets += [part for token in tokens for part in token.split(".")[1:]]
    secrets += [
        seen.request.header("authorization").split("=")[-1] for seen in standin.seen[before:]
    ]
    assert [secret for secret in secrets if secret in written] == []


def test_a_stream_that_broke_is_on_record_as_broken(gateway: Gateway, token: str) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    whole = http.call(gateway.address, "POST", STREAM, b"0123456789", bearer)
    (event,) = gateway.events(whole.request_id)
    assert event["status"] == "Success"
    path = "/endpoints/broken/invocations-response-stream"
    request_id = http.broken(gateway.address, path, b"0123456789", bearer)
    # A broken answer has no end to be written before: its event may follow it.
    wait_for("the event of the broken stream", lambda: gateway.events(request_id) != [])
    (event,) = gateway.events(request_id)
    assert event["status"] == "Failure"


def test_a_query_of_much_shows_a_person_how_far_it_is(
    gateway: Gateway, token: str, tmp_path: Path
) -> None:
    http.call(gateway.address, "POST", INVOKE, b"hi", {"authorization": f"Bearer {token}"})
    text = min(gateway.journal.glob("*.jsonl")).read_text()
    line = next(line for line in text.splitlines() if '"event_code":"request"' in line)
    (tmp_path / "2-new.jsonl").write_text(line + "\n")
    # Much of it is of long ago, and is neither read nor on the disk.
    old = re.sub(r'"time":\d+', '"time":1000', line).encode()
    with (tmp_path / "1-old.jsonl").open("wb") as file:
        file.write(old + b"\n")
        file.seek(256 << 20)
        file.write(b"\n" + old + b"\n")
    command = [BINARY, "audit", "query", tmp_path, "--since", "1h", "--format", "json"]
    shown, terminal = pty.openpty()
    asked = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=True)
    os.close(terminal)
    assert re.search(rb"read \d+ of 256 MiB \(\d+ %\)", os.read(shown, 4096))
    os.close(shown)
    assert asked.stdout.count(b"\n") == 1
    quiet = subprocess.run(command, capture_output=True, check=True)
    assert (quiet.stdout, quiet.stderr) == (asked.stdout, b"")
