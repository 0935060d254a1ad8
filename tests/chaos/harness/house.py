"""A gateway and its surroundings, for one scenario."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from harness.issuer import ChaosIssuer
from harness.shim import Shim
from harness.traffic import Traffic
from support import http
from support.clients import REGION
from support.gateway import BINARY, Gateway
from support.http import Answer
from support.issuer import AUDIENCE
from support.rules import OPERATIONS, OWN
from support.standin import StandIn

T = TypeVar("T")

INVOKE = "/endpoints/echo/invocations"
STREAM = "/endpoints/echo/invocations-response-stream"


class House:
    """Starts what a scenario asks for, and ends it in reverse."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._gateways: list[Gateway] = []

    def __enter__(self) -> Self:
        self._open = contextlib.ExitStack()
        self.issuer = self._open.enter_context(ChaosIssuer())
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)

    def enter(self, part: contextlib.AbstractContextManager[T]) -> T:
        """Keeps a part of the surroundings until the scenario's end."""
        return self._open.enter_context(part)

    def callback(self, undo: Callable[[], object]) -> None:
        """Undoes something at the scenario's end."""
        self._open.callback(undo)

    @property
    def standin(self) -> StandIn:
        """SageMaker as it should be: started on first use."""
        if not hasattr(self, "_standin"):
            self._standin = self.enter(StandIn(OWN, REGION))
        return self._standin

    @property
    def shim(self) -> Shim:
        """Faults of the machine, for gateways that are given its `environment`."""
        if not hasattr(self, "_shim"):
            self._shim = self.enter(Shim(self.directory))
        return self._shim

    def config(self, **sections: dict) -> dict:
        """A gateway's configuration; `sections` are merged into it key by key."""
        aws = {"region": REGION}
        if "runtime_url" not in sections.get("aws", {}):
            aws["runtime_url"] = self.standin.url
        corp = {
            "issuer": self.issuer.url,
            "audiences": [AUDIENCE],
            "jwks_url": self.issuer.jwks_url,
        }
        config = {
            "server": {"drain_timeout": "20s"},
            "aws": aws,
            "issuers": {"corp": corp | sections.pop("corp", {})},
            "audit": {"stdout": False},
            "log": {"level": "info"},
        }
        for name, section in sections.items():
            config[name] = config.get(name, {}) | section
        return config

    def build(self, config: dict | None = None, access: dict | None = None, **options) -> Gateway:
        """A gateway that is not started; `environment` by name, `own=None` for no credentials."""
        directory = self.directory / f"gateway-{len(self._gateways)}"
        own = options.pop("own", OWN)
        config = config or self.config()
        access = access or _access(config["issuers"])
        gateway = Gateway(directory, config, access, own, **options)
        self._gateways.append(gateway)
        return gateway

    def gateway(self, config: dict | None = None, access: dict | None = None, **options) -> Gateway:
        """A gateway that is ready. It is held to exit code 0 at the scenario's end."""
        return self.enter(self.build(config, access, **options))

    def started(self, config: dict | None = None, **options) -> Gateway:
        """A gateway that runs, ready or not."""
        gateway = self.build(config, **options).start()
        self._open.callback(gateway.end)
        return gateway

    def token(self, *groups: str, **claims: object) -> str:
        return self.issuer.token(*(groups or ("callers",)), **claims)

    def ask(
        self, gateway: Gateway, token: str | None = None, path: str = INVOKE, body: bytes = b"hi"
    ) -> Answer:
        """One call on a connection of its own."""
        bearer = {"authorization": f"Bearer {token or self.token()}"}
        return http.call(gateway.address, "POST", path, body, bearer)

    def traffic(self, gateway: Gateway, token: str | None = None, **how: float) -> Traffic:
        """Good calls, again and again until it is left."""
        return Traffic(gateway.address, INVOKE, token or self.token(), **how)

    def last_words(self) -> str:
        """The end of what each gateway logged, for a scenario that failed."""
        logs = (gateway.log().splitlines()[-15:] for gateway in self._gateways)
        return "\n".join(f"      log: {line[:400]}" for log in logs for line in log)


def _access(issuers: dict) -> dict:
    """Each issuer's `callers` may call every endpoint."""
    anything = {"permit": [{"actions": OPERATIONS, "endpoints": ["*"]}]}
    groups = [f"{name}/callers" for name in issuers]
    return {"roles": {"caller": anything}, "bindings": [{"groups": groups, "roles": ["caller"]}]}


def memory(gateway: Gateway) -> int:
    """Resident bytes of the process now."""
    return _status(gateway, "VmRSS")


def peak_memory(gateway: Gateway) -> int:
    """The most that it ever held."""
    return _status(gateway, "VmHWM")


def _status(gateway: Gateway, field: str) -> int:
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} of process {gateway.pid}")


def require_binary() -> None:
    if not BINARY.is_file():
        raise SystemExit(f"no gateway to test at {BINARY}: run `cargo build`, or set SAGEGATE_BIN")
