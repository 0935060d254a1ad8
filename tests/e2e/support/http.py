"""A plain HTTP client: what goes out is what a test wrote."""

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass

_TIMEOUT = 30


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str | None:
        return self.headers["x-amzn-errortype"]

    @property
    def request_id(self) -> str:
        return self.headers["x-amzn-requestid"]


def call(
    address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """Sends one request and reads the whole answer."""
    with opened(address, method, path, body, headers) as response:
        return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def opened(
    address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """Sends one request and hands over the answer unread."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=_TIMEOUT)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        # A length that the caller states wins, so that a test may state a wrong one.
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        with contextlib.closing(connection.getresponse()) as response:
            yield response


def status_of(address: str, path: str) -> int | None:
    """The status of a GET, or None where nobody listens."""
    try:
        return call(address, "GET", path).status
    except OSError:
        return None
