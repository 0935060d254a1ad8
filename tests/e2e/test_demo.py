"""The demo as a stranger meets it: it plays by itself, or is pasted from and interrupted."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import http
from support.gateway import BINARY
from support.process import bare_environment, end

LAST_LINE = "Ctrl-C ends the demo and removes its directory."


class Demo:
    """`sagegate demo`, with what it printed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [BINARY, "demo"], env=bare_environment(), stdout=subprocess.PIPE, text=True
        )
        lines = iter(self.process.stdout.readline, "")
        self.text = "".join(self._up_to_last(lines))
        self.directory = Path(re.search(r"^cd '(.*)'; GATEWAY=", self.text, re.M)[1])
        self.gateway = re.search(r"GATEWAY=http://(\S+)$", self.text, re.M)[1]

    @staticmethod
    def _up_to_last(lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            yield line
            if line.strip() == LAST_LINE:
                return

    def pasted(self) -> list[tuple[str, str]]:
        """The status that each line to paste is to be answered, and the line."""
        return re.findall(r"^# .*: (\d+)\n((?:.+\n)+)", self.text, re.M)

    def shell(self, line: str) -> str:
        """What a shell says to a line that was pasted into it, with this Python on its path."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        script = f"GATEWAY=http://{self.gateway}\n{line}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=bare_environment(PATH=path),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def curl(self, line: str) -> http.Answer:
        """What a line of curl's is answered; curl itself need not be here."""
        line = re.sub(r"\$\(cat (\S+)\)", lambda m: (self.directory / m[1]).read_text(), line)
        line = line.replace("$GATEWAY", "").replace("\\\n", "")
        command, options, url, *rest = shlex.split(line)
        assert command == "curl" and options in ("-i", "-sN")
        rest = rest[: rest.index("|")] if "|" in rest else rest
        given = list(zip(rest[::2], rest[1::2], strict=True))
        headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
        (body,) = (value for option, value in given if option == "-d")
        return http.call(self.gateway, "POST", url, body.encode(), headers)


@pytest.fixture
def demo() -> Iterator[Demo]:
    demo = Demo()
    try:
        yield demo
    finally:
        end(demo.process)
        demo.process.stdout.close()


def test_it_plays_every_call_by_itself() -> None:
    done = subprocess.run(
        [BINARY, "demo", "--once"],
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "15 of 15 calls answered as expected" in done.stdout
    assert "15 of 15 calls are on record" in done.stdout
    assert "\x1b" not in done.stdout


def test_every_line_to_paste_is_answered_as_it_says(demo: Demo) -> None:
    pasted = demo.pasted()
    assert [status for status, _ in pasted] == ["200", "403", "200", "401", "200"]
    for status, line in pasted[:-1]:
        answer = demo.curl(line)
        assert answer.status == int(status), line
    assert '"score"' in demo.shell(pasted[-1][1]), "boto3"


def test_the_lines_that_look_behind_it_show_something(demo: Demo) -> None:
    for _, line in demo.pasted()[:2]:
        demo.curl(line)
    behind = dict(re.findall(r"^  (who called|the record|the rules) +(.*)$", demo.text, re.M))
    called = demo.shell(behind["who called"])
    assert "corp/dana" in called and "denied" in called
    assert '"corp/amir"' in demo.shell(behind["the record"])
    assert "roles:" in demo.shell(behind["the rules"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well_and_leaves_nothing_behind(demo: Demo, number: int) -> None:
    assert demo.directory.is_dir()
    demo.process.send_signal(number)
    assert demo.process.wait(20) == 0
    assert not demo.directory.exists()
