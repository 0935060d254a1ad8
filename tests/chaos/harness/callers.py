"""Callers who keep a connection until they are told to leave it, as a client's pool does."""

import socket
import threading
from abc import ABC, abstractmethod

from harness.frames import Peer
from harness.house import INVOKE
from support.gateway import Gateway

_PATH = INVOKE.replace("echo", "wait-5")
# On one connection at once.
_STREAMS = 4


def connect(gateway: Gateway) -> socket.socket:
    host, _, port = gateway.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


class Caller(ABC, threading.Thread):
    """Calls until nobody listens any more."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        super().__init__(daemon=True)
        self._gateway, self._token = gateway, token
        self.answered = self.lost = 0
        self.done = False
        self.start()

    def run(self) -> None:
        while not self.done:
            try:
                connected = connect(self._gateway)
            except OSError:
                # Nothing was in flight.
                self.done = True
                return
            with connected:
                self._until_told(connected)

    @abstractmethod
    def _until_told(self, connected: socket.socket) -> None:
        """Calls on one connection."""


class Http1(Caller):
    def _until_told(self, connected: socket.socket) -> None:
        head = f"POST {_PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {self._token}\r\n"
        call = (head + "content-length: 2\r\n\r\nhi").encode()
        while True:
            try:
                connected.sendall(call)
                answer = connected.recv(1 << 16).lower()
            except OSError:
                answer = b""
            if not answer.startswith(b"http/1.1 200"):
                self.lost += 1
                return
            self.answered += 1
            if b"connection: close" in answer:
                return


class Http2(Caller):
    def _until_told(self, connected: socket.socket) -> None:
        peer, answered, lost = Peer(connected), self.answered, self.lost
        while True:
            while not peer.told_to_leave and len(peer.open) < _STREAMS:
                peer.ask(_PATH, self._token)
            if not peer.open:
                return
            peer.take()
            self.answered, self.lost = answered + len(peer.whole), lost + peer.lost
