"""SageMaker for very many callers: a process of its own, which checks nothing.

An endpoint's name says how it answers: `wait-100` after 100 ms, `bytes-65536` at once with so
many bytes, `held` with one chunk of a stream that goes on until `release`.
"""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self


class Lake:
    def __enter__(self) -> Self:
        command = [sys.executable, "-B", str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def release(self) -> None:
        """Ends every held stream."""
        self._process.send_signal(signal.SIGUSR1)


class _Connection(asyncio.Protocol):
    released: asyncio.Event

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length:"))
        length = int(length.split(b":")[1])
        if len(rest) >= length:
            self._buffer = rest[length:]
            self._answer(lines[0].split(b"/")[2].decode())

    def _answer(self, endpoint: str) -> None:
        how, _, much = endpoint.partition("-")
        if how == "wait":
            later = asyncio.get_running_loop().call_later
            later(int(much) / 1000, self._whole, b'{"y": 0.5}')
        elif how == "held":
            asyncio.get_running_loop().create_task(self._held())
        else:
            self._whole(b"y" * int(much or 10))

    def _whole(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    async def _held(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await self.released.wait()
        self._transport.write(b"1\r\nb\r\n0\r\n\r\n")


async def _serve() -> None:
    _Connection.released = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, _Connection.released.set)
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
