"""Good traffic beside a fault: who is answered what, and how soon."""

import collections
import contextlib
import http.client
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Self

_TIMEOUT = 30


@dataclass(frozen=True)
class Call:
    """One call: when it was sent, what came of it, and after how long."""

    at: float
    # A status, or what broke instead of an answer.
    outcome: int | str
    seconds: float
    # The gateway's id of an answer that was received whole.
    id: str | None


class Traffic:
    """`callers` connections that each call, wait `pause` seconds, and call again.

    With `tls` they are of TLS; `anew` makes each call on a connection of its own.
    """

    def __init__(
        self,
        address: str,
        path: str,
        token: str,
        callers: int = 4,
        pause: float = 0.02,
        tls: ssl.SSLContext | None = None,
        anew: bool = False,
    ) -> None:
        self._address, self._path, self._pause = address, path, pause
        self._tls, self._anew = tls, anew
        self._headers = {"authorization": f"Bearer {token}"}
        self._ending = threading.Event()
        self._calls: list[Call] = []
        self._threads = [threading.Thread(target=self._caller) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return len(self._calls)

    def calls(self, since: float = 0.0) -> list[Call]:
        """Those sent since this time (of `time.monotonic`)."""
        return [call for call in list(self._calls) if call.at >= since]

    def outcomes(self, since: float = 0.0) -> dict[int | str, int]:
        """How many calls ended how."""
        return dict(collections.Counter(call.outcome for call in self.calls(since)))

    def percentile(self, percent: float, since: float = 0.0) -> float:
        """Seconds within which this part of the calls was answered."""
        seconds = sorted(call.seconds for call in self.calls(since))
        return seconds[min(len(seconds) - 1, int(len(seconds) * percent / 100))]

    def _caller(self) -> None:
        with contextlib.closing(self._connection()) as connection:
            while not self._ending.is_set():
                self._calls.append(self._call(connection))
                if self._anew:
                    connection.close()
                self._ending.wait(self._pause)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._address, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(self._address, timeout=_TIMEOUT, context=self._tls)

    def _call(self, connection: http.client.HTTPConnection) -> Call:
        at, id_ = time.monotonic(), None
        try:
            connection.request("POST", self._path, b"hi", self._headers)
            with contextlib.closing(connection.getresponse()) as response:
                response.read()
                outcome: int | str = response.status
                id_ = response.headers["x-sagegate-request-id"]
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            outcome = type(error).__name__
        return Call(at, outcome, time.monotonic() - at, id_)
