"""What a check comes to, and what a page of them says in the end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long, or not for all."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the page."""

    part: str
    """What was looked at: `router`, `ClickHouse`, `cloud: openai`."""
    check: str
    state: State
    found: str
    """In words."""
    todo: str = ""
    """What to do: a command or a setting. Empty only if all is well."""


CAUSES = ("settings", "ClickHouse", "ledger", "journal", "classifier", "router", "shadow")
"""Parts in the order in which to mend them: the later ones wait for the earlier ones."""


def failed(findings: Sequence[Finding]) -> bool:
    """True if something has failed, which is what the exit code says."""
    return any(item.state is State.FAILED for item in findings)


def counts(findings: Sequence[Finding]) -> Mapping[State, int]:
    """How many checks ended in each way."""
    found = Counter(item.state for item in findings)
    return {state: found[state] for state in State}


def next_step(findings: Sequence[Finding]) -> str:
    """What to do first."""
    for state in (State.FAILED, State.WARNING, State.UNKNOWN):
        open_ones = [item for item in findings if item.state is state and item.todo]
        if open_ones:
            first = min(open_ones, key=_cause)
            return f"{first.part}, {first.check}: {first.todo}"
    return "nothing is to be done. `homeward status` shows what runs through it."


def document(findings: Sequence[Finding], version: str, settings: str) -> dict[str, Any]:
    """As JSON."""
    return {
        "version": version,
        "settings": settings,
        "failed": failed(findings),
        "counts": {state.value: count for state, count in counts(findings).items()},
        "checks": [asdict(item) for item in findings],
        "next_step": next_step(findings),
    }


def _cause(item: Finding) -> int:
    return CAUSES.index(item.part) if item.part in CAUSES else len(CAUSES)
