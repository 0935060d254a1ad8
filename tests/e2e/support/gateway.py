"""The built gateway as a process: its files, its start, its signals, what it wrote."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import yaml
from botocore.credentials import Credentials

from support import http
from support.process import bare_environment, end, wait_for

_ROOT = Path(__file__).parents[3]
BINARY = Path(os.environ.get("SAGEGATE_BIN", _ROOT / "target" / "debug" / "sagegate"))


class Gateway:
    """One `sagegate run`. Leaving it asks it to end and holds it to exit code 0."""

    def __init__(
        self,
        directory: Path,
        config: dict,
        access: dict,
        own: Credentials | None,
        **environment: str,
    ) -> None:
        """`own` may be None where `environment` says where credentials come from."""
        directory.mkdir(parents=True, exist_ok=True)
        self.address, self._admin = free_address(), free_address()
        self._directory, self._own, self._environment = directory, own, environment
        self._killed = False
        self._config = directory / "sagegate.yaml"
        self._journal = directory / "journal"
        self._journal.mkdir(exist_ok=True)
        self.write_access(access)
        _write(self._config, yaml.safe_dump(self._completed(config)))

    def _completed(self, config: dict) -> dict:
        audit = {"directory": str(self._journal), "stdout": True, "durability": "write"}
        # The most talkative level: what must not be logged must not be logged here either.
        log = {"level": "trace", "format": "json"}
        return config | {
            "server": config["server"] | {"listen": self.address},
            "admin": {"listen": self._admin},
            "access": "access.yaml",
            "audit": audit | config.get("audit", {}),
            "log": log | config.get("log", {}),
        }

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What another command says of the same configuration."""
        command = [BINARY, name, "--config", self._config, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def verify(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """What `sagegate audit verify` says of its journal."""
        command = [BINARY, "audit", "verify", self._journal, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def start(self) -> "Gateway":
        """Starts the process and waits for nothing."""
        environment = bare_environment(**self._environment)
        if self._own is not None:
            environment |= {
                "AWS_ACCESS_KEY_ID": self._own.access_key,
                "AWS_SECRET_ACCESS_KEY": self._own.secret_key,
                "AWS_SESSION_TOKEN": self._own.token,
            }
        command = [str(BINARY), "run", "--config", str(self._config)]
        with self._file("stdout").open("wb") as out, self._file("stderr").open("wb") as err:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        return self

    def __enter__(self) -> "Gateway":
        self.start()
        try:
            wait_for("the gateway to be ready", self._ready_or_gone)
            assert self.running, "the gateway ended before it was ready"
        except AssertionError as error:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"{error}:\n{self.log()}") from None
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._killed:
            return
        code = self.end()
        # A failed test says more than the exit code that followed from it.
        if kind is None:
            assert code == 0, f"the gateway ended with {code}:\n{self.log()}"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def journal(self) -> Path:
        return self._journal

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def ready(self) -> bool:
        return http.status_of(self._admin, "/readyz") == 200

    def alive(self) -> bool:
        return http.status_of(self._admin, "/livez") == 200

    def _ready_or_gone(self) -> bool:
        return not self.running or self.ready()

    def metrics(self) -> str:
        return http.call(self._admin, "GET", "/metrics").body.decode()

    def record(self) -> list[dict]:
        """Every request of the journal, in the order written."""
        files = sorted(self._journal.glob("*.jsonl"))
        events = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [event for event in events if event["metadata"]["event_code"] == "request"]

    def events(self, request_id: str) -> list[dict]:
        """The events of one request."""
        return [event for event in self.record() if event["api"]["request"]["uid"] == request_id]

    def log(self) -> str:
        """Both outputs of the process."""
        return "".join(self._file(name).read_text() for name in ("stdout", "stderr"))

    def everything_written(self) -> str:
        """Log, record and metrics: all that the gateway says to anybody but the caller."""
        journal = "".join(file.read_text() for file in self._journal.iterdir())
        return self.log() + journal + self.metrics()

    def write_access(self, access: dict | str) -> None:
        text = access if isinstance(access, str) else yaml.safe_dump(access)
        _write(self._directory / "access.yaml", text)

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def drain(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As a machine that loses its power."""
        self._process.kill()
        self._process.wait()
        self._killed = True

    def end(self) -> int:
        return end(self._process)

    def exit_code(self) -> int:
        """Waits for an end that was asked for already."""
        wait_for("the gateway to end", lambda: not self.running)
        return self._process.returncode

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _write(path: Path, text: str) -> None:
    """In one step, so that a gateway that watches the file never reads half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)
