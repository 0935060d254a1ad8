"""Whether a request is signed as AWS asks: decided by botocore's own `SigV4Auth`.

The gateway signs with the Rust SDK's crate; this recomputes each signature with the Python
SDK's code from the bytes that arrived, so that a fault which the gateway's signer and its
own tests share still shows.
"""

import datetime
import hashlib
import re
from dataclasses import dataclass

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SERVICE = "sagemaker"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), "
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
# The signature itself, and what belongs to the connection: these need no cover.
_UNSIGNED = {"authorization", "content-length"}


@dataclass(frozen=True)
class Received:
    """A request as it came off the wire; header names in lower case, nothing joined."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only value of `name`, or None. A doubled header is a fault found elsewhere."""
        return next((value for key, value in self.headers if key == name), None)


def faults(
    request: Received, credentials: Credentials, region: str, service: str = SERVICE
) -> list[str]:
    """What is wrong with the request's signature; empty when nothing is."""
    names = [name for name, _ in request.headers]
    if doubled := {name for name in names if names.count(name) > 1}:
        return [f"doubled headers: {sorted(doubled)}"]
    match = _AUTHORIZATION.fullmatch(request.header("authorization") or "")
    if match is None:
        return ["the Authorization header is not an AWS4-HMAC-SHA256 signature"]
    scope = match.groupdict()
    expected = {"key": credentials.access_key, "region": region, "service": service}
    found = _scope_faults(scope, expected) + _date_faults(request, scope["day"])
    found += _coverage_faults(request, set(scope["signed"].split(";")), credentials, service)
    if not found and not _same_signature(request, scope, credentials):
        found.append("the signature does not match the request")
    return found


def _scope_faults(scope: dict[str, str], expected: dict[str, str]) -> list[str]:
    return [
        f"the credential scope's {part} is {scope[part]!r} and not {value!r}"
        for part, value in expected.items()
        if scope[part] != value
    ]


def _date_faults(request: Received, day: str) -> list[str]:
    date = request.header("x-amz-date") or ""
    try:
        signed_at = datetime.datetime.strptime(date, _TIMESTAMP).replace(tzinfo=datetime.UTC)
    except ValueError:
        return [f"x-amz-date is {date!r}"]
    if abs(datetime.datetime.now(datetime.UTC) - signed_at) > _CLOCK_SKEW:
        return [f"x-amz-date {date} is not recent"]
    return [] if date.startswith(day) else ["x-amz-date and the credential scope differ in the day"]


def _coverage_faults(
    request: Received, signed: set[str], credentials: Credentials, service: str
) -> list[str]:
    names = {name for name, _ in request.headers}
    found = []
    if unsigned := names - signed - _UNSIGNED:
        found.append(f"headers that the signature does not cover: {sorted(unsigned)}")
    if missing := signed - names:
        found.append(f"signed headers that did not arrive: {sorted(missing)}")
    if request.header("x-amz-security-token") != credentials.token:
        found.append("x-amz-security-token is not the one of the gateway's credentials")
    expected = None if service == SERVICE else hashlib.sha256(request.body).hexdigest()
    if (stated := request.header("x-amz-content-sha256")) != expected:
        found.append(f"x-amz-content-sha256 is not for this service and body: {stated}")
    return found


def _same_signature(request: Received, scope: dict[str, str], credentials: Credentials) -> bool:
    """Signs the received request anew and compares the whole header, byte for byte."""
    # S3 takes a path as it came; other services encode it once more.
    auth = S3SigV4Auth if scope["service"] == "s3" else SigV4Auth
    signer = auth(credentials, scope["service"], scope["region"])
    signed = {name: request.header(name) for name in scope["signed"].split(";")}
    url = f"http://{request.header('host')}{request.path}"
    anew = AWSRequest(method=request.method, url=url, headers=signed, data=request.body)
    anew.context["timestamp"] = request.header("x-amz-date")
    canonical = signer.canonical_request(anew)
    if not canonical.endswith(hashlib.sha256(request.body).hexdigest()):
        return False
    signature = signer.signature(signer.string_to_sign(anew, canonical), anew)
    signer._inject_signature_to_request(anew, signature)
    return anew.headers["Authorization"] == request.header("authorization")
