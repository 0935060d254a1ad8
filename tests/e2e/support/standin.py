"""A stand-in for SageMaker Runtime that trusts nothing.

It listens on a free loopback port, checks each request's signature with botocore's code and
its headers against the operation's table, keeps what it saw, and answers as SageMaker does:
by the endpoint's name. A request with a fault is refused as AWS refuses it, and the fault is
kept, so that a test which did not look at it fails all the same.
"""

import json
import re
import select
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.credentials import Credentials

from support import eventstream, signature
from support.signature import Received

ACCOUNT = "111122223333"
VARIANT = "blue"
OUTPUT_LOCATION = "s3://results/out/7f.out"
FAILURE_LOCATION = "s3://results/failed/7f.out"

_PATH = re.compile(
    r"/endpoints/(?P<endpoint>[a-zA-Z0-9](?:-*[a-zA-Z0-9])*)/(?P<operation>"
    r"invocations|invocations-response-stream|async-invocations)"
)
_P = "x-amzn-sagemaker-"
_TARGETS = {_P + "target-variant", _P + "target-container-hostname", _P + "inference-component"}
_COMMON = {_P + "custom-attributes", _P + "inference-id"}
_LIVE = _COMMON | _TARGETS | {"content-type", _P + "session-id", _P + "prefix-aware-id"}
# The headers each operation takes; FACTS of SageMaker, not of the gateway.
_HEADERS = {
    "invocations": _LIVE | {"accept", _P + "target-model", _P + "enable-explanations"},
    "invocations-response-stream": _LIVE | {_P + "accept"},
    "async-invocations": _COMMON
    | {
        _P + name
        for name in (
            "content-type",
            "accept",
            "inputlocation",
            "s3outputpathextension",
            "filename",
            "requestttlseconds",
            "invocationtimeoutseconds",
        )
    },
}
_SIGNING = {"host", "authorization", "x-amz-date", "x-amz-security-token", "content-length"}
_PART = 8


@dataclass
class Seen:
    """One request that reached the stand-in, and what came of it."""

    endpoint: str
    operation: str
    request: Received
    request_id: str
    faults: list[str]


@dataclass
class StandIn:
    """The stand-in's state: what it expects, what it saw, and what a test makes it wait for."""

    credentials: Credentials
    region: str
    seen: list[Seen] = field(default_factory=list)
    # Streams of `drip` wait here after their first part.
    release: threading.Event = field(default_factory=threading.Event)
    # Request ids of the streams that the gateway let go while they waited.
    abandoned: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def faults(self) -> list[str]:
        return [fault for seen in self.seen for fault in seen.faults]

    def __enter__(self) -> "StandIn":
        handler = type("Bound", (_Handler,), {"standin": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def receive(self, request: Received) -> Seen:
        """Checks a request and keeps it."""
        match = _PATH.fullmatch(request.path)
        endpoint, operation = match.group("endpoint", "operation") if match else ("", "")
        found = signature.faults(request, self.credentials, self.region)
        found += _head_faults(request, operation)
        with self._lock:
            request_id = f"sagemaker-{len(self.seen)}"
            seen = Seen(endpoint, operation, request, request_id, found)
            self.seen.append(seen)
        return seen


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of connections that the gateway broke, or was killed with."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _head_faults(request: Received, operation: str) -> list[str]:
    """Nothing of the caller may come through but what the operation's table names."""
    if request.method != "POST" or not operation:
        return [f"not an operation of SageMaker: {request.method} {request.path}"]
    found = []
    if strangers := {name for name, _ in request.headers} - _HEADERS[operation] - _SIGNING:
        found.append(f"headers that {operation} does not take: {sorted(strangers)}")
    if request.header("content-length") is None:
        found.append("a body that was hashed has a known length, and none was stated")
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: the second would wait 40 ms for the first one's ACK.
    disable_nagle_algorithm = True
    standin: StandIn

    def do_POST(self) -> None:
        seen = self.standin.receive(self._received())
        self.request_id = seen.request_id
        if seen.faults:
            self._error(403, "InvalidSignatureException", {"message": "; ".join(seen.faults)})
        elif error := _ERRORS.get(seen.endpoint):
            self._error(*error)
        elif seen.endpoint not in _MODELS:
            message = f"Endpoint {seen.endpoint} of account {ACCOUNT} not found."
            self._error(400, "ValidationError", {"message": message})
        else:
            _ANSWERS[seen.operation](self, seen)

    # A signed call that is no POST would be a fault, and has to be seen to be one.
    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST

    def log_message(self, *_: object) -> None:
        """Silent: what matters is kept in `Seen`."""

    def _received(self) -> Received:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return Received(self.command, self.path, headers, body)

    def _invoke(self, seen: Seen) -> None:
        headers = {
            "Content-Type": seen.request.header("accept") or "application/octet-stream",
            "x-Amzn-Invoked-Production-Variant": seen.request.header(_P + "target-variant")
            or VARIANT,
        }
        # On the wire as SageMaker never would: what a caller must not get to see.
        headers["x-upstream-internal"] = "hidden"
        self._answer(200, headers, seen.request.body)

    def _invoke_async(self, seen: Seen) -> None:
        headers = {
            "Content-Type": "application/json",
            "X-Amzn-SageMaker-OutputLocation": OUTPUT_LOCATION,
            "X-Amzn-SageMaker-FailureLocation": FAILURE_LOCATION,
        }
        inference_id = seen.request.header(_P + "inference-id")
        self._answer(202, headers, json.dumps({"InferenceId": inference_id}).encode())

    def _stream(self, seen: Seen) -> None:
        self.send_response(200)
        self.send_header("x-amzn-requestid", self.request_id)
        self.send_header("Content-Type", "application/vnd.amazon.eventstream")
        self.send_header("X-Amzn-SageMaker-Content-Type", "text/plain")
        self.send_header("x-Amzn-Invoked-Production-Variant", VARIANT)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = seen.request.body
        self._chunk(eventstream.payload_part(body[:_PART]))
        if seen.endpoint == "broken":
            self._reset()
            return
        if seen.endpoint == "drip" and not self._held():
            self.standin.abandoned.append(seen.request_id)
            return
        if seen.endpoint == "stream-error":
            fault = {"Message": "the model gave up", "ErrorCode": "StreamBroken"}
            self._chunk(eventstream.exception("ModelStreamError", **fault))
        else:
            for start in range(_PART, len(body), _PART):
                self._chunk(eventstream.payload_part(body[start : start + _PART]))
        self._chunk(b"")

    def _held(self) -> bool:
        """Waits for the test's word; False where the gateway hung up before it came."""
        while not self.standin.release.wait(timeout=0.02):
            readable, _, _ = select.select([self.connection], [], [], 0)
            # The gateway has nothing more to say on this connection but its end.
            if readable:
                self.close_connection = True
                return False
        return True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _reset(self) -> None:
        """Breaks the connection with a RST: no chunk of length zero, no orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def _error(self, status: int, code: str, body: dict) -> None:
        headers = {"Content-Type": "application/json", "x-amzn-errortype": code}
        self._answer(status, headers, json.dumps(body).encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("x-amzn-requestid", self.request_id)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


_MODELS = {"echo", "drip", "broken", "stream-error"}
_ANSWERS = {
    "invocations": _Handler._invoke,
    "invocations-response-stream": _Handler._stream,
    "async-invocations": _Handler._invoke_async,
}
_ERRORS = {
    "model-error": (
        424,
        "ModelError",
        {
            "Message": f"Received server error (500) from {VARIANT}.",
            "OriginalStatusCode": 500,
            "OriginalMessage": "the model gave up",
            "LogStreamArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/m",
        },
    ),
    # SageMaker throttles with a 400, and without a message.
    "throttled": (400, "ThrottlingException", {"message": None}),
}
