"""A Redis server of a test's own, and as much of its protocol as the tests speak."""

import os
import socket
import ssl
import subprocess
from pathlib import Path

from support.process import end, wait_for

_TOOLS = Path(__file__).parents[3] / "target" / "tools"
BINARY = Path(os.environ.get("REDIS_SERVER", _TOOLS / "redis-server"))
VALKEY = Path(os.environ.get("VALKEY_SERVER", _TOOLS / "valkey-server"))


class Redis:
    """One server in memory alone. It keeps its port when it is started again.

    With `tls`, a directory of certificates, it asks its clients for theirs.
    """

    def __init__(
        self, directory: Path, *arguments: str, tls: Path | None = None, binary: Path = BINARY
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._tls = directory, tls
        self.port = _free_port()
        listen = ["--port", str(self.port)]
        if tls:
            listen = ["--port", "0", "--tls-port", str(self.port)]
            listen += ["--tls-ca-cert-file", str(tls / "ca.crt")]
            listen += ["--tls-cert-file", str(tls / "server.crt")]
            listen += ["--tls-key-file", str(tls / "server.key")]
        # A replica is served at once; by default its master waits five seconds for more of them.
        listen += ["--repl-diskless-sync-delay", "0"]
        nothing_kept = ["--save", "", "--appendonly", "no", "--dir", str(directory)]
        self._command = [str(binary), *listen, *nothing_kept, "--bind", "127.0.0.1", *arguments]
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Redis":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            end(self._process)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_for("redis-server to listen", self._listens)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def follow(self, master: "Redis") -> None:
        """Becomes its replica, and has heard everything so far."""
        self.call("REPLICAOF", "127.0.0.1", str(master.port))
        self.synced()

    def synced(self) -> None:
        wait_for("the replica", lambda: "master_link_status:up" in self.call("INFO", "replication"))

    def take_over(self, master: "Redis") -> None:
        """Is promoted, at the address of a master that is gone."""
        self.call("REPLICAOF", "NO", "ONE")
        self.call("CONFIG", "SET", "port", str(master.port))
        self.port = master.port

    def calls(self, command: str) -> int:
        """How often it was called."""
        lines = self.call("INFO", "commandstats").splitlines()
        found = [line for line in lines if line.startswith(f"cmdstat_{command}:calls=")]
        return int(found[0].partition("=")[2].partition(",")[0]) if found else 0

    def call(self, *words: str, password: str | None = None) -> object:
        """The answer to one command; an error is an error here as well."""
        with self._connected() as connection, connection.makefile("rb") as answers:
            if password:
                connection.sendall(_packed("AUTH", password))
                _read(answers)
            connection.sendall(_packed(*words))
            return _read(answers)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._directory / "redis.log").read_text()
        try:
            self._connected().close()
        except OSError:
            return False
        return True

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        if not self._tls:
            return plain
        context = ssl.create_default_context(cafile=str(self._tls / "ca.crt"))
        context.load_cert_chain(self._tls / "client.crt", self._tls / "client.key")
        return context.wrap_socket(plain, server_hostname="localhost")


def _free_port() -> int:
    """A port whose neighbour 10,000 further on exists: there the nodes of a cluster talk."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port <= 65_535 - 10_000:
            return port


def _packed(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    parts += [f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words]
    return b"".join(parts)


def _read(answers) -> object:  # noqa: ANN001
    line = answers.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else answers.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(answers) for _ in range(int(rest))]
    return rest.decode()
