"""A bearer token and plain HTTP: what any program without an AWS SDK sends."""

import json

import pytest

from support import http
from support.gateway import Gateway
from support.issuer import Issuer
from support.provider import Provider
from support.rules import MAX_BODY
from support.standin import StandIn

INVOKE = "/endpoints/echo/invocations"


def post(gateway: Gateway, path: str = INVOKE, body: bytes = b"hi", **headers: str) -> http.Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.call(gateway.address, "POST", path, body, named)


def assert_refused(answer: http.Answer, status: int, code: str) -> None:
    """Status, type header, body and request id say the same."""
    assert (answer.status, answer.code) == (status, code)
    body = json.loads(answer.body)
    assert (body["__type"], body["requestId"]) == (code, answer.request_id)
    assert body["message"]


def test_a_bearer_token_is_accepted(gateway: Gateway, token: str) -> None:
    answer = post(gateway, authorization=f"Bearer {token}")
    assert (answer.status, answer.body) == (200, b"hi")
    assert answer.request_id


def test_a_token_of_a_certified_provider_is_accepted(gateway: Gateway, certified: Provider) -> None:
    answer = post(gateway, authorization=f"Bearer {certified.token()}")
    assert (answer.status, answer.body) == (200, b"hi")


def test_a_call_without_a_token_is_challenged(gateway: Gateway) -> None:
    answer = post(gateway)
    assert_refused(answer, 401, "MissingAuthenticationTokenException")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_wrong_token_is_told_what_is_wrong_and_not_echoed(
    gateway: Gateway, issuer: Issuer
) -> None:
    token = issuer.token("callers", aud="another-service")
    answer = post(gateway, authorization=f"Bearer {token}")
    assert_refused(answer, 401, "UnrecognizedClientException")
    challenge = answer.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert "error_description=" in challenge
    assert token not in answer.body.decode() + challenge


def test_a_denied_caller_is_told_that_its_scope_is_short(gateway: Gateway, issuer: Issuer) -> None:
    answer = post(gateway, authorization=f"Bearer {issuer.token('strangers')}")
    assert_refused(answer, 403, "AccessDeniedException")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_two_different_tokens_are_refused_and_one_twice_is_not(
    gateway: Gateway, standin: StandIn, issuer: Issuer, token: str
) -> None:
    before = len(standin.seen)
    other = issuer.token("callers", user="bob")
    both = post(gateway, authorization=f"Bearer {token}", x_amz_security_token=other)
    assert 400 <= both.status < 500
    assert len(standin.seen) == before
    same = post(gateway, authorization=f"Bearer {token}", x_amz_security_token=token)
    assert same.status == 200


def test_nothing_of_the_caller_reaches_sagemaker_but_what_the_operation_takes(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    answer = post(
        gateway,
        authorization=f"Bearer {token}",
        accept="application/json",
        cookie="session=1",
        forwarded="for=10.0.0.1",
        x_forwarded_for="10.0.0.1",
        x_amz_date="20200101T000000Z",
        x_amz_target="Other.Operation",
        user_agent="somebody/1.0",
        connection="accept",
    )
    assert answer.status == 200
    # The stand-in finds strangers by itself; here is what must be left.
    names = {name for name, _ in standin.seen[-1].request.headers}
    assert {"host", "authorization", "x-amz-date", "x-amz-security-token"} <= names
    assert "somebody" not in str(standin.seen[-1].request.headers)
    assert answer.headers["x-upstream-internal"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/endpoints/echo",
        "/endpoints/echo/invocations/",
        "/endpoints//invocations",
        "/endpoints/%65cho/invocations",
        "/endpoints/../endpoints/echo/invocations",
        "/endpoints/echo/openai/v1/chat/completions",
    ],
)
def test_an_unknown_path_goes_nowhere(
    gateway: Gateway, standin: StandIn, token: str, path: str
) -> None:
    before = len(standin.seen)
    answer = post(gateway, path, authorization=f"Bearer {token}")
    assert_refused(answer, 404, "UnknownOperationException")
    assert len(standin.seen) == before


def test_another_method_is_told_the_right_one(gateway: Gateway, token: str) -> None:
    answer = http.call(gateway.address, "PUT", INVOKE, b"hi", {"authorization": f"Bearer {token}"})
    assert_refused(answer, 405, "UnknownOperationException")
    assert answer.headers["allow"] == "POST"


def test_a_token_in_the_query_is_refused(gateway: Gateway, standin: StandIn, token: str) -> None:
    before = len(standin.seen)
    answer = post(gateway, f"{INVOKE}?access_token={token}")
    assert_refused(answer, 400, "ValidationError")
    assert len(standin.seen) == before


def test_a_header_of_another_operation_is_refused(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    before = len(standin.seen)
    headers = {"authorization": f"Bearer {token}", "x_amzn_sagemaker_filename": "a"}
    assert_refused(post(gateway, **headers), 400, "ValidationError")
    assert len(standin.seen) == before


def test_the_largest_body_passes(gateway: Gateway, token: str) -> None:
    answer = post(gateway, body=b"x" * MAX_BODY, authorization=f"Bearer {token}")
    assert (answer.status, len(answer.body)) == (200, MAX_BODY)


def test_a_body_that_says_it_is_too_large_is_refused_unread(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    before = len(standin.seen)
    headers = {"authorization": f"Bearer {token}", "Content-Length": str(MAX_BODY + 1)}
    answer = http.call(gateway.address, "POST", INVOKE, b"", headers)
    assert_refused(answer, 413, "RequestEntityTooLarge")
    assert len(standin.seen) == before


def test_a_body_that_grows_too_large_is_refused(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    before = len(standin.seen)
    chunk = b"%x\r\n%s\r\n" % (MAX_BODY + 1, b"x" * (MAX_BODY + 1))
    answer = http.call_chunked(gateway.address, INVOKE, chunk, {"authorization": f"Bearer {token}"})
    assert_refused(answer, 413, "RequestEntityTooLarge")
    assert len(standin.seen) == before


def test_an_inline_body_too_large_for_an_async_call_is_refused(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    path, bearer = "/endpoints/echo/async-invocations", f"Bearer {token}"
    before = len(standin.seen)
    assert_refused(
        post(gateway, path, b"x" * 128_001, authorization=bearer), 413, "RequestEntityTooLarge"
    )
    assert len(standin.seen) == before
    assert post(gateway, path, b"x" * 128_000, authorization=bearer).status == 202
