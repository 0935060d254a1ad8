"""An issuer whose tokens a test may shape freely: right ones, expired ones, other people's."""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "sagegate"
KEY_ID = "issuer-1"
_LIFETIME = 600


class Issuer:
    """A key pair, its public half served as a JWKS on a free loopback port."""

    def __enter__(self) -> "Issuer":
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        keys = {"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]}
        handler = type("Bound", (_Handler,), {"keys": json.dumps(keys).encode()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/jwks"

    def token(
        self, *groups: str, user: str = "alice", kid: str = KEY_ID, **changes: object
    ) -> str:
        """A token that is right in everything but the claims a test changes."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": user,
            "iat": now,
            "nbf": now,
            "exp": now + _LIFETIME,
            "jti": str(uuid.uuid4()),
            "groups": list(groups),
        }
        return jwt.encode(claims | changes, self._key, "RS256", {"kid": kid})

    def expired_token(self, *groups: str) -> str:
        """A token that was right an hour ago, past any leeway."""
        then = int(time.time()) - 3600
        return self.token(*groups, iat=then - _LIFETIME, nbf=then - _LIFETIME, exp=then)


class _Handler(BaseHTTPRequestHandler):
    keys: bytes

    def do_GET(self) -> None:
        known = self.path == "/jwks"
        body = self.keys if known else b"{}"
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""
