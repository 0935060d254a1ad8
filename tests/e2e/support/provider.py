"""The certified OpenID provider of `idp/`, as a process, and a client of its token endpoint."""

import base64
import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from support.issuer import AUDIENCE
from support.process import bare_environment, end

GROUP = "batch"
CLIENT_ID = "scorer"
_CLIENT_SECRET = "e2e-client-secret"
_SERVER = Path(__file__).parent.parent / "idp" / "server.mjs"


class Provider:
    def __init__(self, directory: Path) -> None:
        self._log = directory / "provider.log"

    def __enter__(self) -> "Provider":
        environment = bare_environment(
            AUDIENCE=AUDIENCE, CLIENT_ID=CLIENT_ID, CLIENT_SECRET=_CLIENT_SECRET, GROUP=GROUP
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", str(_SERVER)], env=environment, stdout=subprocess.PIPE, stderr=log
            )
        line = self._process.stdout.readline().decode()
        if not line.startswith("ready "):
            end(self._process)
            raise RuntimeError(f"the OpenID provider did not start:\n{self._log.read_text()}")
        self.issuer = line.removeprefix("ready ").strip()
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        self._process.stdout.close()

    def token(self) -> str:
        """An access token by the client credentials grant, asked for over HTTP."""
        form = urllib.parse.urlencode({"grant_type": "client_credentials"}).encode()
        secret = base64.b64encode(f"{CLIENT_ID}:{_CLIENT_SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {secret}"}
        request = urllib.request.Request(f"{self.issuer}/token", form, headers)
        # No proxy stands between two processes of one machine.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as answer:
            return json.load(answer)["access_token"]
