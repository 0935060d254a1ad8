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
        return self.headers["x-sagegate-request-id"]


def call(
    address: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """Sends one request and reads the whole answer."""
    with opened(address, method, path, body, headers) as response:
        return Answer(response.status, response.headers, response.read())


def call_chunked(address: str, path: str, chunks: bytes, headers: dict[str, str]) -> Answer:
    """Posts a body of no stated length: `chunks` as they go on the wire, without their end."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=_TIMEOUT)) as connection:
        connection.putrequest("POST", path, skip_accept_encoding=True)
        for name, value in ({"Transfer-Encoding": "chunked"} | headers).items():
            connection.putheader(name, value)
        connection.endheaders(chunks)
        with contextlib.closing(connection.getresponse()) as response:
            return Answer(response.status, response.headers, response.read())


def broken(address: str, path: str, body: bytes, headers: dict[str, str]) -> str:
    """Posts a call whose answer must break off, and gives the request id of its head."""
    with opened(address, "POST", path, body, headers) as response:
        try:
            response.read()
        except (http.client.IncompleteRead, ConnectionError):
            return response.headers["x-sagegate-request-id"]
        raise AssertionError("the answer looks complete")


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
