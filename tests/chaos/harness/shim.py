"""The scenario's side of `shim.c`: what the machine tells the gateway."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).with_suffix(".c")


class _State(ctypes.Structure):
    _fields_ = [
        ("clock_seconds", ctypes.c_int64),
        ("disk_errno", ctypes.c_int64),
        ("disk_millis", ctypes.c_int64),
        ("dns_millis", ctypes.c_int64),
        ("disk", ctypes.c_char * 1024),
        ("name", ctypes.c_char * 256),
        ("addresses", ctypes.c_char * 1024),
    ]


class Shim:
    """Faults of the machine under one gateway; it starts with none."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        library, state = self._directory / "shim.so", self._directory / "shim.state"
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, *flags, "-o", library, _SOURCE, "-ldl"], check=True)
        state.write_bytes(bytes(mmap.PAGESIZE))
        with state.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._state = _State.from_buffer(self._page)
        self.environment = {"LD_PRELOAD": str(library), "SHIM_STATE": str(state)}
        return self

    def __exit__(self, *_: object) -> None:
        del self._state
        self._page.close()

    def clock(self, seconds: int) -> None:
        """The time of day is off by this from now on."""
        self._state.clock_seconds = seconds

    def disk(self, directory: Path, error: int = 0, millis: int = 0) -> None:
        """Writing below `directory` takes as long, and fails with this errno."""
        self._state.disk = str(directory).encode()
        self._state.disk_millis, self._state.disk_errno = millis, error

    def names(self, name: str, *addresses: str, millis: int = 0) -> None:
        """What `name` resolves to, and how slowly; without addresses it does not."""
        self._state.dns_millis = millis
        self._state.addresses = " ".join(addresses).encode()
        self._state.name = name.encode()
