"""boto3, unchanged and configured by its environment alone, through the gateway."""

import contextlib
import json
import uuid

import pytest
import urllib3
from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EventStreamError, HTTPClientError

from support.clients import runtime
from support.gateway import Gateway
from support.issuer import Issuer
from support.standin import FAILURE_LOCATION, OUTPUT_LOCATION, VARIANT, StandIn

BODY = json.dumps({"inputs": "what will the weather be"}).encode()


def invoke(client: BaseClient, endpoint: str = "echo", **more: object) -> dict:
    return client.invoke_endpoint(EndpointName=endpoint, Body=BODY, **more)


def stream(client: BaseClient, endpoint: str) -> list[bytes]:
    answer = client.invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=BODY)
    with contextlib.closing(answer["Body"]) as events:
        return [event["PayloadPart"]["Bytes"] for event in events]


def refusal(client: BaseClient, endpoint: str = "echo", **more: object) -> ClientError:
    with pytest.raises(ClientError) as refused:
        invoke(client, endpoint, **more)
    return refused.value


def code_and_status(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_invoke_endpoint(gateway: Gateway, standin: StandIn, token: str) -> None:
    with runtime(gateway, token) as client:
        answer = invoke(
            client,
            ContentType="application/json",
            Accept="application/json",
            TargetVariant="green",
            CustomAttributes="trace=7",
            InferenceId="inference-7",
        )
        assert answer["Body"].read() == BODY
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == (
        "application/json",
        "green",
    )
    sent = standin.seen[-1].request
    assert sent.header("content-type") == "application/json"
    assert sent.header("x-amzn-sagemaker-custom-attributes") == "trace=7"
    assert sent.header("x-amzn-sagemaker-inference-id") == "inference-7"


def test_an_empty_body_goes_through(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        answer = client.invoke_endpoint(EndpointName="echo", Body=b"")
        assert answer["Body"].read() == b""


def test_an_inference_id_is_made_where_the_caller_gave_none(
    gateway: Gateway, standin: StandIn, token: str
) -> None:
    with runtime(gateway, token) as client:
        invoke(client)
    assert standin.seen[-1].request.header("x-amzn-sagemaker-inference-id")


def test_invoke_endpoint_with_response_stream(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        answer = client.invoke_endpoint_with_response_stream(EndpointName="echo", Body=BODY)
        parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert len(parts) > 1
    assert b"".join(parts) == BODY
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/plain", VARIANT)


def test_invoke_endpoint_async(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        answer = client.invoke_endpoint_async(
            EndpointName="echo", InputLocation="s3://inputs/7.json", InferenceId="inference-8"
        )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "inference-8"
    assert answer["OutputLocation"] == OUTPUT_LOCATION
    assert answer["FailureLocation"] == FAILURE_LOCATION


# A value for whatever botocore's models let a caller say in a header.
SAID = {
    "Accept": "text/csv",
    "ContentType": "application/json",
    "CustomAttributes": "trace=7",
    "EnableExplanations": "`true`",
    "Filename": "out.json",
    "InferenceComponentName": "component-1",
    "InferenceId": "inference-9",
    "InputLocation": "s3://inputs/7.json",
    "InvocationTimeoutSeconds": 3600,
    "PrefixAwareId": "prefix-1",
    "RequestTTLSeconds": 60,
    "S3OutputPathExtension": "team/a",
    "SessionId": "session-1",
    "TargetContainerHostname": "container-1",
    "TargetModel": "model.tar.gz",
    "TargetVariant": "green",
}


@pytest.mark.parametrize(
    "operation",
    ["InvokeEndpoint", "InvokeEndpointWithResponseStream", "InvokeEndpointAsync"],
)
def test_whatever_botocores_model_has_a_header_for_reaches_sagemaker_in_it(
    gateway: Gateway, standin: StandIn, token: str, operation: str
) -> None:
    with runtime(gateway, token) as client:
        members = client.meta.service_model.operation_model(operation).input_shape.members
        headers = {
            name: member.serialization["name"].lower()
            for name, member in members.items()
            if member.serialization.get("location") == "header"
        }
        body = {} if "InputLocation" in headers else {"Body": BODY}
        said = {name: SAID[name] for name in headers}
        getattr(client, xform_name(operation))(EndpointName="echo", **body, **said)
    sent = standin.seen[-1].request
    assert {name: sent.header(header) for name, header in headers.items()} == {
        name: str(value) for name, value in said.items()
    }


def test_a_model_exception_in_mid_stream_is_raised_after_the_parts(
    gateway: Gateway, token: str
) -> None:
    with runtime(gateway, token) as client:
        answer = client.invoke_endpoint_with_response_stream(EndpointName="stream-error", Body=BODY)
        events = iter(answer["Body"])
        assert next(events)["PayloadPart"]["Bytes"] == BODY[:8]
        with pytest.raises(EventStreamError) as broken:
            next(events)
    assert broken.value.response["Error"]["Code"] == "ModelStreamError"


def test_a_stream_that_breaks_upstream_never_looks_complete(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        assert b"".join(stream(client, "echo")) == BODY
        with pytest.raises((urllib3.exceptions.HTTPError, HTTPClientError)):
            stream(client, "broken")


def test_a_model_error_passes_through(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        with pytest.raises(client.exceptions.ModelError) as failed:
            invoke(client, "model-error")
    assert code_and_status(failed.value) == ("ModelError", 424)
    assert failed.value.response["OriginalStatusCode"] == 500
    assert failed.value.response["OriginalMessage"] == "the model gave up"


def test_sagemakers_own_throttling_passes_through(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        assert code_and_status(refusal(client, "throttled")) == ("ThrottlingException", 400)


def test_an_endpoint_that_sagemaker_does_not_know_is_its_own_to_refuse(
    gateway: Gateway, token: str
) -> None:
    with runtime(gateway, token) as client:
        with pytest.raises(client.exceptions.ValidationError) as unknown:
            invoke(client, "gone")
    assert code_and_status(unknown.value) == ("ValidationError", 400)
    assert "not found" in str(unknown.value)


def test_a_call_beyond_the_callers_roles_is_denied(
    gateway: Gateway, standin: StandIn, issuer: Issuer, token: str
) -> None:
    before = len(standin.seen)
    for caller, endpoint in [
        (token, "secret"),
        (issuer.token("strangers"), "echo"),
        (issuer.token(), "echo"),
    ]:
        with runtime(gateway, caller) as client:
            error = refusal(client, endpoint)
        assert code_and_status(error) == ("AccessDeniedException", 403)
        assert "secret" not in str(error)
    assert len(standin.seen) == before


def test_a_role_for_one_variant_is_no_role_for_another(
    gateway: Gateway, standin: StandIn, issuer: Issuer
) -> None:
    before = len(standin.seen)
    with runtime(gateway, issuer.token("green")) as client:
        assert invoke(client, TargetVariant="green")["InvokedProductionVariant"] == "green"
        for target in [{"TargetVariant": "blue"}, {}]:
            assert code_and_status(refusal(client, **target)) == ("AccessDeniedException", 403)
    assert len(standin.seen) == before + 1


def test_a_revoked_user_is_denied(gateway: Gateway, issuer: Issuer) -> None:
    with runtime(gateway, issuer.token("callers", user="mallory")) as client:
        assert code_and_status(refusal(client)) == ("AccessDeniedException", 403)
    with runtime(gateway, issuer.token("callers", user="mallory2")) as client:
        assert invoke(client)["Body"].read() == BODY


def test_an_expired_token_is_told_so(gateway: Gateway, standin: StandIn, issuer: Issuer) -> None:
    before = len(standin.seen)
    with runtime(gateway, issuer.expired_token("callers")) as client:
        assert code_and_status(refusal(client)) == ("ExpiredTokenException", 401)
    assert len(standin.seen) == before


@pytest.mark.parametrize("wrong", ["garbage", "signature", "audience", "issuer"])
def test_a_wrong_token_is_not_recognised(
    gateway: Gateway, standin: StandIn, issuer: Issuer, wrong: str
) -> None:
    good = issuer.token("callers")
    head, claims, signature = good.split(".")
    shuffled = ("B" if signature[0] == "A" else "A") + signature[1:]
    tokens = {
        "garbage": "not-a-token",
        "signature": f"{head}.{claims}.{shuffled}",
        "audience": issuer.token("callers", aud="another-service"),
        "issuer": issuer.token("callers", iss="https://idp.example.com"),
    }
    before = len(standin.seen)
    with runtime(gateway, tokens[wrong]) as client:
        assert code_and_status(refusal(client)) == ("UnrecognizedClientException", 401)
    assert len(standin.seen) == before
    with runtime(gateway, good) as client:
        assert invoke(client)["Body"].read() == BODY


def test_a_team_over_its_limit_is_throttled_and_told_when_to_return(
    gateway: Gateway, issuer: Issuer
) -> None:
    with runtime(gateway, issuer.token("callers", "metered")) as client:
        assert invoke(client)["Body"].read() == BODY
        error = _call_until_refused(client)
    assert code_and_status(error) == ("ThrottlingException", 429)
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    assert int(headers["retry-after"]) >= 1
    assert "q=" in headers["ratelimit-policy"]
    assert "r=0" in headers["ratelimit"]
    # The limit is the team's: another caller is not held up by it.
    with runtime(gateway, issuer.token("callers")) as client:
        assert invoke(client)["Body"].read() == BODY


def test_an_sdk_that_is_throttled_waits_and_comes_again_by_itself(
    gateway: Gateway, issuer: Issuer
) -> None:
    with runtime(gateway, issuer.token("callers", "metered"), attempts=10) as client:
        for _ in range(200):
            answer = invoke(client)
            assert answer["Body"].read() == BODY
            if answer["ResponseMetadata"]["RetryAttempts"]:
                return
    raise AssertionError("200 calls in a row and never over a limit of 1/s")


def _call_until_refused(client: BaseClient) -> ClientError:
    """A burst of 2 at 1/s is used up within a few calls, however slow the machine is."""
    for _ in range(200):
        try:
            invoke(client)
        except ClientError as error:
            return error
    raise AssertionError("200 calls in a row and never over a limit of 1/s")


def test_a_refused_call_can_be_found_by_its_request_id(gateway: Gateway, token: str) -> None:
    with runtime(gateway, token) as client:
        request_id = refusal(client, f"no-{uuid.uuid4().hex[:8]}").response["ResponseMetadata"][
            "RequestId"
        ]
    assert request_id
    assert len(gateway.events(request_id)) == 1
