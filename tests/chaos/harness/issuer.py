"""An identity provider that can be made to fail in each way that providers do."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from support.issuer import KEY_ID, Issuer

_HTML = b"<!doctype html><html><body><h1>Welcome to our login page</h1></body></html>"
_HUGE = 50 * 1024 * 1024
# In which ways a fetch can fail.
FAULTS = ("down", "hanging", "500", "html", "empty", "huge")


class ChaosIssuer(Issuer):
    """Serves keys as `mode` says: `good`, or one of `FAULTS`. Counts who asks."""

    def __init__(self) -> None:
        # When each fetch came, by `time.monotonic`.
        self.fetches: list[float] = []
        self._mode = "good"
        self._healed = threading.Event()

    def __enter__(self) -> Self:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.keys = json.dumps({"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]})
        self._listen(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._healed.set()
        if self._mode != "down":
            self._close()

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        assert mode == "good" or mode in FAULTS, mode
        before, self._mode = self._mode, mode
        self._healed.set()
        self._healed = threading.Event()
        if mode == "down" and before != "down":
            self._close()
        elif before == "down" and mode != "down":
            self._listen(self._port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _listen(self, port: int) -> None:
        handler = type("Bound", (_Handler,), {"issuer": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    issuer: ChaosIssuer

    def do_GET(self) -> None:
        issuer = self.issuer
        issuer.fetches.append(time.monotonic())
        match issuer.mode:
            case "hanging":
                issuer._healed.wait(60)
            case "500":
                self._answer(500, "text/plain", b"try again later")
            case "html":
                self._answer(200, "text/html", _HTML)
            case "empty":
                self._answer(200, "application/json", b'{"keys":[]}')
            case "huge":
                self._huge()
            case _:
                self._answer(200, "application/json", issuer.keys.encode())

    def _huge(self) -> None:
        """A key set that goes on: nothing in its head says how long it is."""
        self._head(200, "application/json")
        part = b'{"keys":[' + b'{"kty":"RSA"},' * 4000
        try:
            for _ in range(_HUGE // len(part)):
                self.wfile.write(part)
        except OSError:
            # The reader had enough.
            self.close_connection = True

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""
