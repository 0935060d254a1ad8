"""The container credentials endpoint, as ECS and EKS Pod Identity have it."""

import datetime
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Metadata:
    """Hands out numbered credentials: `AKID1`, `AKID2`, … each good for `lifetime` seconds."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.failing = False
        self.handed_out = 0
        # Of the last set, by the time of day.
        self.expires_at = 0.0

    def __enter__(self) -> Self:
        handler = type("Bound", (_Handler,), {"source": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        url = f"http://127.0.0.1:{self._server.server_port}/credentials"
        self.environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next(self) -> bytes:
        self.handed_out += 1
        # A whole second, as it is written.
        self.expires_at = float(int(time.time() + self.lifetime))
        expiration = datetime.datetime.fromtimestamp(self.expires_at, datetime.UTC)
        return json.dumps(
            {
                "AccessKeyId": f"AKID{self.handed_out}",
                "SecretAccessKey": "secret",
                "Token": f"session-{self.handed_out}",
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()


class _Handler(BaseHTTPRequestHandler):
    source: Metadata

    def do_GET(self) -> None:
        status, body = (500, b"{}") if self.source.failing else (200, self.source.next())
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""
