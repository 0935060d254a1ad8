"""A scenario, and what is told of its run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.house import House

SCENARIOS: dict[str, "Scenario"] = {}


@dataclass(frozen=True)
class Scenario:
    name: str
    fault: str
    play: Callable[["Story", House], None]
    # Whether `make test` runs it too.
    short: bool
    # Whether its figures suffer from others beside it.
    alone: bool
    # About how long each form takes.
    takes: tuple[float, float]

    def seconds(self, short: bool) -> float:
        return self.takes[0 if short else 1]


def scenario(
    fault: str, *, short: bool = False, alone: bool = False, takes: tuple[float, float] = (5, 30)
) -> Callable[[Callable[["Story", House], None]], Callable[["Story", House], None]]:
    """Registers a function as a scenario of its own name."""

    def register(play: Callable[["Story", House], None]) -> Callable[["Story", House], None]:
        assert play.__name__ not in SCENARIOS, play.__name__
        SCENARIOS[play.__name__] = Scenario(play.__name__, fault, play, short, alone, takes)
        return play

    return register


@dataclass
class Story:
    """What happened, line by line, and which promises were kept."""

    scenario: Scenario
    # False in `make test`: a scenario may then do less of the same.
    long: bool
    lines: list[dict] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        print(f"\n── {self.scenario.name}: {self.scenario.fault}")

    def fault(self, what: str) -> None:
        """The fault as it was injected just now."""
        self._tell("fault", what)

    def sent(self, what: str) -> None:
        self._tell("sent", what)

    def answered(self, what: object) -> None:
        self._tell("answered", str(what))

    def promise(self, promise: str, kept: bool, seen: object = "") -> None:
        """Whether `promise` was kept, and by which figure or answer that was seen."""
        self.lines.append({"promise": promise, "kept": bool(kept), "seen": str(seen)})
        self._tell("kept" if kept else "BROKEN", f"{promise} [{seen}]")

    def failed(self, why: str) -> "Story":
        self.promise("the scenario runs to its end", False, why)
        return self

    def end(self) -> None:
        if not self.lines:
            self.failed("it promised nothing")
        self._tell("end", "")

    @property
    def broken(self) -> bool:
        return not all(line["kept"] for line in self.lines)

    def report(self) -> dict:
        return {
            "name": self.scenario.name,
            "fault": self.scenario.fault,
            "seconds": time.monotonic() - self._began,
            "promises": self.lines,
        }

    def _tell(self, kind: str, what: str) -> None:
        print(f"   {time.monotonic() - self._began:6.2f} s  {kind:<8} {what}", flush=True)
