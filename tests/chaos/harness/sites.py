"""SageMaker at several addresses, each of which fails in a way of its own."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

NAME = "sagemaker.test"
_ANSWER = json.dumps({"y": 0.5}).encode()


class Site:
    """One address. `mode` is `good`, or what it does instead:

    `refusing`: nobody listens · `silent`: connections are neither taken nor refused ·
    `resetting`: breaks the connection once it has read the call · `closing`: answers, and
    closes the connection without having said so · `hanging`: reads and answers nothing ·
    `drip-head`, `drip-body`: a byte at a time · `failing`: 500 · `throttling`: as SageMaker
    does it, with a 400.
    """

    def __init__(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port, self._tls = host, port, tls
        # The body of each call that was read.
        self.calls: list[bytes] = []
        # With which access key, and by which time, each was signed.
        self.signers: list[str] = []
        self.dates: list[str] = []
        self._mode = "good"
        self.changed = threading.Event()

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.changed.set()
        self._open.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://{self.host}:{self.port}"

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        before, self._mode = self._mode, mode
        self.changed.set()
        self.changed = threading.Event()
        if mode in ("refusing", "silent"):
            self._open.close()
        if mode == "silent":
            self._open.enter_context(_full(self.host, self.port))
        elif mode != "refusing" and before in ("refusing", "silent"):
            self._open.close()
            self._listen()

    def _listen(self) -> None:
        handler = type("Bound", (_Handler,), {"site": self})
        server = _Server((self.host, self.port), handler)
        self.port = server.server_port
        if self._tls:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        self._open.callback(server.end)


@contextlib.contextmanager
def _full(host: str, port: int):
    """A listener whose queue is full: whoever connects to it hears nothing."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        time.sleep(0.05)
        yield


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *arguments) -> None:
        self._taken: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: socket.socket, address: object) -> None:
        self._taken.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._taken.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """A connection that broke: what these sites are for."""

    def end(self) -> None:
        """Stops listening and breaks every connection, as a host does that is gone."""
        self.shutdown()
        self.server_close()
        for connection in list(self._taken):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site: Site

    def do_POST(self) -> None:
        site = self.site
        body = self.rfile.read(int(self.headers["content-length"]))
        site.calls.append(body)
        site.signers.append(self.headers["authorization"].split("Credential=")[1].split("/")[0])
        site.dates.append(self.headers["x-amz-date"])
        match site.mode:
            case "resetting":
                self._reset()
            case "hanging":
                site.changed.wait(60)
                self.close_connection = True
            case "closing":
                self._answer(200, _ANSWER)
                self.close_connection = True
            case "drip-head":
                self._drip(b"HTTP/1.1 200 OK\r\nx-amzn-requestid: " + b"a" * 1000)
            case "drip-body":
                self._head(200, 1000)
                self._drip(b"b" * 1000)
            case "failing":
                self._answer(500, b'{"message":"the service failed"}', "InternalFailure")
            case "throttling":
                self._answer(400, b'{"message":null}', "ThrottlingException")
            case _:
                self._answer(200, _ANSWER)

    def _answer(self, status: int, body: bytes, code: str | None = None) -> None:
        self._head(status, len(body), code)
        self.wfile.write(body)

    def _head(self, status: int, length: int, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-amzn-requestid", "sagemaker-1")
        if code:
            self.send_header("x-amzn-errortype", code)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _drip(self, data: bytes) -> None:
        self.close_connection = True
        for byte in data:
            self.wfile.write(bytes([byte]))
            if self.site.changed.wait(0.1):
                return

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        """Silent."""
