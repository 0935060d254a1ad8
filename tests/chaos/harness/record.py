"""The record of a gateway that was through something, as an auditor judges it."""

import re

from harness.story import Story
from support.gateway import Gateway

_GAP = r"  note: gap: sagegate-\S+ ends at byte \d+: \d+ bytes behind it are no records \((torn|unsynced)\)"
_WHOLE = r"chain [0-9a-f]{16}: ok: records 1 to \d+ in \d+ files, \d+ heads, \d+ signed"


def verifies(story: Story, gateway: Gateway, what: str, gaps: int | None = None) -> None:
    """`audit verify` finds every chain whole and exits with 0; each gap is named, and there
    are so many, where the scenario knows how many."""
    verified = gateway.verify()
    lines = verified.stdout.splitlines()
    told = [line for line in lines if line.startswith("  note: gap: ")]
    chains = [line for line in lines if not line.startswith("  note: ")]
    whole = bool(chains) and all(re.fullmatch(_WHOLE, line) for line in chains)
    whole = whole and all(re.fullmatch(_GAP, line) for line in told)
    story.promise(
        f"{what}: the chain verifies, each gap named",
        verified.returncode == 0 and whole and gaps in (None, len(told)),
        f"exit {verified.returncode}: {chains[0] if chains else verified.stderr}; {len(told)} gaps",
    )
