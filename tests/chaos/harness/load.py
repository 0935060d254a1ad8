"""Callers who come at a rate of their own, whether or not they are answered.

A process of its own, so that what it costs is not taken from the scenario's other threads.
"""

import argparse
import asyncio
import collections
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# How long a caller waits for an answer.
_PATIENCE = 5


@dataclass(frozen=True)
class Result:
    """Answers by status; per second of the run, how many were good; seconds per good answer."""

    outcomes: dict[str, int]
    good_by_second: list[int]
    latencies: list[float]

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.latencies) or [0.0]
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Load:
    """`rate` calls a second for `seconds`; `join` gives the result."""

    def __init__(self, address: str, path: str, token: str, rate: float, seconds: float) -> None:
        command = [sys.executable, "-B", str(Path(__file__).resolve())]
        command += [address, path, token, str(rate), str(seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def join(self) -> Result:
        output, _ = self._process.communicate()
        return Result(**json.loads(output))


class _Callers:
    def __init__(self, address: str, path: str, token: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        head = f"POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n"
        self._request = (head + "content-length: 2\r\n\r\nhi").encode()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.began = time.monotonic()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.good: collections.Counter[int] = collections.Counter()
        self.latencies: list[float] = []

    async def call(self) -> None:
        at = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                outcome = await self._call()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome = type(error).__name__
        now = time.monotonic()
        self.outcomes[outcome] += 1
        if outcome == "200":
            self.good[int(now - self.began)] += 1
            self.latencies.append(now - at)

    async def _call(self) -> str:
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        self._free.append((reader, writer))
        return head.split(b" ", 2)[1].decode()


async def _run(callers: _Callers, rate: float, seconds: float) -> None:
    tasks, due = set(), time.monotonic()
    while due < callers.began + seconds:
        task = asyncio.create_task(callers.call())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await asyncio.gather(*tasks)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("path")
    parser.add_argument("token")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    wanted = parser.parse_args()
    callers = _Callers(wanted.address, wanted.path, wanted.token)
    asyncio.run(_run(callers, wanted.rate, wanted.seconds))
    result = Result(
        dict(callers.outcomes),
        [callers.good[second] for second in range(int(wanted.seconds))],
        callers.latencies,
    )
    print(json.dumps(vars(result)))


if __name__ == "__main__":
    _main()
