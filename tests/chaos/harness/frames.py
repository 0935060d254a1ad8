"""HTTP/2 in literal frames, and one connection of them.

No client library stands between, so that a scenario knows of every frame what became of it.
"""

import socket
from typing import Self

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING = 0x0, 0x1, 0x2, 0x3, 0x4, 0x6
GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x7, 0x8, 0x9
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# `:status: 200`, as a field that is indexed (RFC 7541, appendix A).
_OK = 0x88


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def literal(name: str, value: str) -> bytes:
    """A header that is spelled out and not remembered (RFC 7541 §6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def remembered(name: str, value: str) -> bytes:
    """A header that enters the peer's table (§6.2.1)."""
    return b"\x40" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    return _integer(len(text), 7) + text.encode()


def _integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    parts, value = [most], value - most
    while value >= 128:
        parts.append(value % 128 + 128)
        value //= 128
    return bytes([*parts, value])


def head(path: str = "/endpoints/echo/invocations", **more: str) -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a"}
    fields |= {"authorization": "Bearer garbage"} | more
    return b"".join(literal(name, value) for name, value in fields.items())


class Peer:
    """A caller's connection, of which every frame is read by `take`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._next = 1
        # By stream, the answer's body as far as it came.
        self.open: dict[int, bytes] = {}
        # The bodies that ended whole under a 200.
        self.whole: list[bytes] = []
        # Streams that the gateway had taken, or might have, and did not answer.
        self.lost = 0
        # It said that it takes no more (GOAWAY).
        self.told_to_leave = False
        # Room for every answer there will be.
        window = frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4))
        connected.sendall(PREFACE + frame(SETTINGS, 0, 0) + window)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, path: str, token: str) -> None:
        """Sends one call on a stream of its own."""
        stream, self._next = self._next, self._next + 2
        self.open[stream] = b""
        fields = head(path, authorization=f"Bearer {token}")
        call = frame(HEADERS, END_HEADERS, stream, fields) + frame(DATA, END_STREAM, stream, b"hi")
        self._socket.sendall(call)

    def take(self) -> None:
        """Reads one frame; at the connection's end every open stream is lost."""
        try:
            start = self._read(9)
            length, stream = int.from_bytes(start[:3]), int.from_bytes(start[5:])
            self._took(start[3], start[4], stream, self._read(length))
        except OSError:
            self.lost += len(self.open)
            self.open.clear()
            self.told_to_leave = True

    def _took(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            self.told_to_leave = True
            last = int.from_bytes(payload[:4])
            # What it never took can be asked elsewhere.
            self.open = {one: body for one, body in self.open.items() if one <= last}
        elif kind == RST_STREAM and stream in self.open:
            self._lose(stream)
        elif kind in (HEADERS, DATA) and stream in self.open:
            self._answered(kind, flags, stream, payload)

    def _answered(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS and payload[0] != _OK:
            return self._lose(stream)
        self.open[stream] += payload if kind == DATA else b""
        if flags & END_STREAM:
            self.whole.append(self.open.pop(stream))

    def _lose(self, stream: int) -> None:
        del self.open[stream]
        self.lost += 1

    def _read(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            more = self._socket.recv(count - len(read))
            if not more:
                raise ConnectionError("the connection ended")
            read += more
        return read
