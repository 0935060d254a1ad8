"""The faults of the gateway's surroundings and of its callers, as runs of the built binary.

Each scenario starts a gateway of its own, injects one real fault, prints what was sent, what
was answered and what was promised, and fails where a promise was broken. They run side by
side, each in a process of its own; a table of all promises ends the run.

    run.py            every scenario at full length (`make chaos`)
    run.py --short    those of a few seconds, for `make test`
    run.py NAME ...   only these
    run.py --list     their names
"""

import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "e2e")]

import scenarios  # noqa: E402, F401
from harness.house import House, require_binary  # noqa: E402
from harness.story import SCENARIOS, Scenario, Story  # noqa: E402

_DOCUMENT = _HERE.parents[1] / "docs" / "reliability.md"
# Most of a scenario's time is waiting; too many at once would disturb each other's figures.
_SIDE_BY_SIDE = 6


def main() -> int:
    arguments = _arguments()
    if arguments.one:
        return _run_here(SCENARIOS[arguments.one], Path(arguments.report), not arguments.short)
    chosen = _chosen(arguments.names, arguments.short)
    if arguments.list:
        print("\n".join(scenario.name for scenario in chosen))
        return 0
    if sys.platform != "linux":
        print("these faults are injected by means of Linux alone")
        return 0
    require_binary()
    began = time.monotonic()
    reports = _run_all(chosen, arguments.short)
    return _conclude(reports, _undocumented(), time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return arguments


def _chosen(names: list[str], short: bool) -> list[Scenario]:
    if names:
        return [SCENARIOS[name] for name in names]
    # The longest first, so that the run does not end with one of them alone.
    every = sorted(SCENARIOS.values(), key=lambda scenario: -scenario.seconds(short))
    together = [scenario for scenario in every if scenario.short or not short]
    return [one for one in together if not one.alone] + [one for one in together if one.alone]


def _run_all(chosen: list[Scenario], short: bool) -> list[dict]:
    together = [scenario for scenario in chosen if not scenario.alone]
    reports = []
    with concurrent.futures.ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        runs = [pool.submit(_run_apart, scenario, short) for scenario in together]
        for run in concurrent.futures.as_completed(runs):
            reports.append(run.result())
    for scenario in chosen:
        if scenario.alone:
            reports.append(_run_apart(scenario, short))
    return reports


def _run_apart(scenario: Scenario, short: bool) -> dict:
    """Runs one scenario as a process of its own, and ends whatever it left behind."""
    with tempfile.TemporaryDirectory(prefix="sagegate-chaos-") as directory:
        report = Path(directory) / "report.json"
        command = [sys.executable, "-B", str(Path(__file__).resolve()), "--one", scenario.name]
        command += ["--report", str(report)] + (["--short"] if short else [])
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=scenario.seconds(short) * 3 + 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        sys.stdout.write(output.decode(errors="replace"))
        sys.stdout.flush()
        if report.is_file():
            return json.loads(report.read_text())
        return Story(scenario, True).failed("the scenario did not end").report()


def _run_here(scenario: Scenario, report: Path, long: bool) -> int:
    story = Story(scenario, long)
    story.begin()
    with tempfile.TemporaryDirectory(prefix=f"sagegate-{scenario.name}-") as directory:
        house = House(Path(directory))
        try:
            with house:
                scenario.play(story, house)
        except Exception as error:  # noqa: BLE001: whatever it was, it is this scenario's failure
            print("".join(traceback.format_exception(error)))
            story.failed(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        story.end()
        if story.broken:
            print(house.last_words())
    report.write_text(json.dumps(story.report()))
    return 1 if story.broken else 0


def _undocumented() -> list[str]:
    """Scenarios that the table of promises does not name."""
    text = _DOCUMENT.read_text() if _DOCUMENT.is_file() else ""
    return sorted(name for name in SCENARIOS if f"`{name}`" not in text)


def _conclude(reports: list[dict], undocumented: list[str], seconds: float) -> int:
    print("\n" + "═" * 24 + " what was promised, and what was seen " + "═" * 24)
    for report in reports:
        print(f"{report['name']}: {report['fault']}")
        for line in report["promises"]:
            word = "kept" if line["kept"] else "BROKEN"
            print(f"   {word:<7} {line['promise']} [{line['seen']}]")
    promises = [line for report in reports for line in report["promises"]]
    broken = sum(not line["kept"] for line in promises)
    counts = f"{len(reports)} scenarios, {len(promises)} promises, {broken} broken"
    print(f"\n{counts}, {seconds:.0f} s")
    for name in undocumented:
        print(f"docs/reliability.md does not name `{name}`")
    return 1 if broken or undocumented else 0


if __name__ == "__main__":
    sys.exit(main())
