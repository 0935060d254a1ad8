"""The stand-in itself: a check that accepts everything would prove nothing.

botocore signs, the stand-in checks; then one thing is changed, and it has to refuse.
"""

import datetime
from collections.abc import Iterator
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer

from support import eventstream, http
from support.standin import StandIn

OWN = Credentials("AKIDOWN", "own-secret", "own//session+token==")
REGION = "us-east-1"
PATH = "/endpoints/echo/invocations"
BODY = b'{"inputs":"hi"}'


@pytest.fixture
def strict() -> Iterator[StandIn]:
    """A stand-in of this test's own: its faults are wanted here."""
    with StandIn(OWN, REGION) as strict:
        yield strict


def signed(
    standin: StandIn,
    credentials: Credentials = OWN,
    service: str = "sagemaker",
    region: str = REGION,
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers that botocore's signer makes of a call."""
    given = {"content-type": "application/json", "accept": "application/json"} | (headers or {})
    request = AWSRequest("POST", standin.url + PATH, headers=given, data=BODY)
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def send(
    standin: StandIn, headers: dict[str, str], path: str = PATH, body: bytes = BODY
) -> http.Answer:
    return http.call(standin.url.removeprefix("http://"), "POST", path, body, headers)


def assert_refused(standin: StandIn, answer: http.Answer, fault: str) -> None:
    assert (answer.status, answer.code) == (403, "InvalidSignatureException")
    assert any(fault in found for found in standin.faults), standin.faults


def test_a_request_that_botocore_signed_is_accepted(strict: StandIn) -> None:
    answer = send(strict, signed(strict))
    assert (answer.status, answer.body, strict.faults) == (200, BODY, [])


def test_one_bit_of_the_signature_changed_is_refused(strict: StandIn) -> None:
    headers = signed(strict)
    rest, last = headers["Authorization"][:-1], headers["Authorization"][-1]
    answer = send(strict, headers | {"Authorization": f"{rest}{int(last, 16) ^ 1:x}"})
    assert_refused(strict, answer, "the signature does not match the request")


@pytest.mark.parametrize("changed", ["content-type", "accept", "X-Amz-Date"])
def test_one_bit_of_a_signed_header_changed_is_refused(strict: StandIn, changed: str) -> None:
    headers = signed(strict)
    value = headers[changed]
    # The last letter of a type, or the last digit of the seconds.
    at = -2 if changed == "X-Amz-Date" else -1
    headers[changed] = value[:at] + chr(ord(value[at]) ^ 1) + value[len(value) + at + 1 :]
    answer = send(strict, headers)
    assert_refused(strict, answer, "the signature does not match the request")


def test_one_bit_of_the_body_changed_is_refused(strict: StandIn) -> None:
    answer = send(strict, signed(strict), body=BODY[:-1] + bytes([BODY[-1] ^ 1]))
    assert_refused(strict, answer, "the signature does not match the request")


def test_another_path_than_the_signed_one_is_refused(strict: StandIn) -> None:
    answer = send(strict, signed(strict), path="/endpoints/ecHo/invocations")
    assert_refused(strict, answer, "the signature does not match the request")


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"credentials": Credentials("AKIDOWN", "another", OWN.token)}, "signature does not match"),
        ({"credentials": Credentials("AKIDOTHER", "own-secret", OWN.token)}, "scope's key is"),
        ({"credentials": Credentials("AKIDOWN", "own-secret", "another")}, "x-amz-security-token"),
        ({"credentials": Credentials("AKIDOWN", "own-secret")}, "x-amz-security-token"),
        ({"service": "s3"}, "scope's service is"),
        ({"region": "eu-west-1"}, "scope's region is"),
        ({"headers": {"cookie": "a=b"}}, "does not take: ['cookie']"),
        ({"headers": {"x-forwarded-for": "10.0.0.1"}}, "does not take: ['x-forwarded-for']"),
        ({"headers": {"x-amzn-sagemaker-filename": "f"}}, "['x-amzn-sagemaker-filename']"),
        ({"headers": {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}, "x-amz-content-sha256"),
    ],
)
def test_what_sagemaker_would_not_take_is_refused(strict: StandIn, wrong: dict, fault: str) -> None:
    assert_refused(strict, send(strict, signed(strict, **wrong)), fault)


def test_a_header_that_the_signature_does_not_cover_is_refused(strict: StandIn) -> None:
    answer = send(strict, signed(strict) | {"x-amzn-sagemaker-target-variant": "green"})
    assert_refused(strict, answer, "does not cover: ['x-amzn-sagemaker-target-variant']")


def test_an_old_signature_is_refused(strict: StandIn) -> None:
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=10)
    with mock.patch("botocore.auth.get_current_datetime", return_value=then):
        headers = signed(strict)
    assert_refused(strict, send(strict, headers), "is not recent")


def test_no_signature_is_refused(strict: StandIn) -> None:
    answer = send(strict, {"authorization": "Bearer a.b.c"})
    assert_refused(strict, answer, "not an AWS4-HMAC-SHA256 signature")


def test_botocore_reads_the_frames_that_the_stand_in_writes() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(
        eventstream.payload_part(b"part") + eventstream.exception("ModelStreamError", Message="m")
    )
    part, fault = list(buffer)
    assert (part.headers[":event-type"], part.payload) == ("PayloadPart", b"part")
    assert (fault.headers[":exception-type"], fault.payload) == (
        "ModelStreamError",
        b'{"Message": "m"}',
    )
