"""Child processes: a bare environment, one ending, and waiting that gives up."""

import os
import subprocess
import time
from collections.abc import Callable

_PATIENCE = 20.0
_PAUSE = 0.02


def bare_environment(**variables: str) -> dict[str, str]:
    """Nothing of the machine's own AWS or proxy settings, which would change what is tested."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    nowhere = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return kept | nowhere | variables


def wait_for(what: str, condition: Callable[[], bool], patience: float = _PATIENCE) -> None:
    """Asks until `condition` holds; a condition that never does fails the test by name."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain for {what}")
        time.sleep(_PAUSE)


def stays(what: str, condition: Callable[[], bool], seconds: float = 0.5) -> None:
    """Holds that nothing happens: that can be shown by waiting alone. Slowness never fails it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"{what} did not last"
        time.sleep(_PAUSE)


def end(process: subprocess.Popen, patience: float = _PATIENCE) -> int:
    """Asks a process of ours to end, and says how it did."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args[0]} did not end within {patience:.0f} s") from None
