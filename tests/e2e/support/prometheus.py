"""Reading the Prometheus text format, as much of it as the tests ask about."""

import re
from collections.abc import Iterator

_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def total(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    return sum(value for found, value in _samples(page, name) if labels.items() <= found.items())


def by_label(page: str, name: str, label: str) -> dict[str, float]:
    """A metric's samples by the value of one label."""
    return {found[label]: value for found, value in _samples(page, name)}


def _samples(page: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    for match in _SAMPLE.finditer(page):
        if match["name"] == name:
            yield dict(_LABEL.findall(match["labels"] or "")), float(match["value"])
