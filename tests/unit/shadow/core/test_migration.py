"""The migration machine, as traces that can be read: testdata/*.txt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.stages import MOVES, PLACES, ROLLED_BACK, Place
from services.common.words import Stage
from services.shadow.core.migration import Approval, Move, Situation, Step, Terms, Wait, mixed, step
from services.shadow.core.verdict import Verdict

TESTDATA = Path(__file__).parent / "testdata"
UNITS_US = {"s": 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
PLACES_BY_NAME = {str(place).replace(" ", "-"): place for place in PLACES}


@dataclass
class Trace:
    """A workload, and what was last proposed to it."""

    at: Situation = field(default_factory=lambda: Situation(PLACES_BY_NAME["OBSERVED"], 0, 0))
    terms: Terms = field(default_factory=Terms)
    proposed: Step = field(default_factory=Wait)

    def run(self, command: str, words: Mapping[str, str]) -> str:
        """Does a line of a trace, and gives what the machine proposes then."""
        if command == "begin":
            self.at = Situation(PLACES_BY_NAME[words["place"]], 0, 0, gate=("no samples yet",))
            self.terms = Terms()
        elif command == "moves":
            assert isinstance(self.proposed, Move)
            self.at = replace(
                self.at,
                place=self.proposed.to,
                since_unix_us=self.at.now_unix_us,
                approved_by="",
                answered_at_home=0,
            )
        for name, value in words.items():
            if name != "place":
                SETTERS[name](self, value)
        if command == "begin":
            self.at = replace(self.at, since_unix_us=self.at.now_unix_us)
        self.proposed = step(self.at, self.terms)
        return shown(self.proposed)


def situation(**names: Callable[[str], Any]) -> dict[str, Callable[[Trace, str], None]]:
    """Setters of the situation's fields, by the trace's words."""

    def setter(name: str, read: Callable[[str], Any]) -> Callable[[Trace, str], None]:
        def set_it(trace: Trace, text: str) -> None:
            trace.at = replace(trace.at, **{name: read(text)})

        return set_it

    return {name: setter(name, read) for name, read in names.items()}


def terms(**names: Callable[[str], Any]) -> dict[str, Callable[[Trace, str], None]]:
    """Setters of the settings' fields."""

    def setter(name: str, read: Callable[[str], Any]) -> Callable[[Trace, str], None]:
        def set_it(trace: Trace, text: str) -> None:
            trace.terms = replace(trace.terms, **{name: read(text)})

        return set_it

    return {name: setter(name, read) for name, read in names.items()}


def control(lane: str) -> Callable[[Trace, str], None]:
    """The setter of a lane's verdict."""

    def set_it(trace: Trace, text: str) -> None:
        trace.at = replace(trace.at, controls={**trace.at.controls, lane: Verdict(text)})

    return set_it


def unix_us(text: str) -> int:
    """`90s`, `2h` or `14d`."""
    return int(text[:-1]) * UNITS_US[text[-1]]


def gate(text: str) -> tuple[str, ...]:
    """`passed`, or what is lacking."""
    return (
        () if text == "passed" else tuple(f"the sovereign endpoint lacks {item}" for item in text.split(","))
    )


def later(trace: Trace, text: str) -> None:
    """`after=600s`: so long in this place."""
    trace.at = replace(trace.at, now_unix_us=trace.at.since_unix_us + unix_us(text))


_FIELDS = situation(now_unix_us=unix_us, closed_windows=int, answered_at_home=int)
SETTERS: dict[str, Callable[[Trace, str], None]] = {
    "at": _FIELDS["now_unix_us"],
    "after": later,
    "windows": _FIELDS["closed_windows"],
    "answered": _FIELDS["answered_at_home"],
    "cloud": control("cloud"),
    "degraded": control("degraded"),
    **situation(
        verdict=Verdict, min_windows=int, newer_epoch=int, gate=gate, approved_by=str, alarm=str, breaker=str
    ),
    "home": situation(mixed=lambda text: mixed({"other": ["llama-1b"], "gpt": text.split(",")}))["mixed"],
    **terms(approval=Approval, step_s=float, step_requests=int),
}


def shown(proposed: Step) -> str:
    """A step, as traces have it."""
    if isinstance(proposed, Move):
        return f"move {proposed.to} by {proposed.actor}: {proposed.reason}"
    return "\n".join(["wait", *(f"- {block}" for block in proposed.blocks)])


def cases(file: Path) -> Iterator[tuple[str, str]]:
    """The commands of a file, each with what is expected."""
    for block in re.split(r"\n\s*\n", file.read_text()):
        lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
        if lines:
            command, divider, *expected = lines
            assert divider == "----", command
            yield command, "\n".join(expected)


@pytest.mark.parametrize("file", sorted(TESTDATA.glob("*.txt")), ids=lambda file: file.stem)
def test_traces(file: Path) -> None:
    trace = Trace()
    for line, expected in cases(file):
        command, *words = line.split()
        assert trace.run(command, dict(word.split("=", 1) for word in words)) == expected, line


def test_there_are_traces() -> None:
    assert sum(len(list(cases(file))) for file in TESTDATA.glob("*.txt")) >= 40


SITUATIONS = st.builds(
    Situation,
    place=st.sampled_from(PLACES),
    now_unix_us=st.integers(0, 10**12),
    since_unix_us=st.integers(0, 10**12),
    verdict=st.sampled_from([None, *Verdict]),
    closed_windows=st.integers(0, 30),
    min_windows=st.integers(1, 20),
    controls=st.dictionaries(st.sampled_from(["cloud", "degraded"]), st.sampled_from(Verdict)),
    gate=st.sampled_from([(), ("the sovereign endpoint lacks tools",)]),
    approved_by=st.sampled_from(["", "anna"]),
    answered_at_home=st.integers(0, 200),
    alarm=st.sampled_from(["", "worse"]),
    breaker=st.sampled_from(["", "fails"]),
)
TERMS = st.builds(Terms, st.sampled_from(Approval), st.sampled_from([0.0, 600.0]), st.sampled_from([0, 100]))


@given(SITUATIONS, TERMS)
def test_every_move_is_in_the_table(at: Situation, wanted: Terms) -> None:
    proposed = step(at, wanted)
    if isinstance(proposed, Move):
        assert (at.place, proposed.to) in MOVES
        assert proposed.reason


@given(SITUATIONS, TERMS)
def test_nothing_goes_home_without_ready(at: Situation, wanted: Terms) -> None:
    proposed = step(at, wanted)
    if isinstance(proposed, Move) and proposed.to != ROLLED_BACK:
        assert at.verdict is Verdict.READY
        assert not at.gate
        assert at.controls.get("degraded") is not Verdict.READY


@given(SITUATIONS, TERMS)
def test_an_alarm_or_a_breaker_always_rolls_back(at: Situation, wanted: Terms) -> None:
    away_from_the_cloud = at.place.stage in (Stage.CANARY, Stage.HOME)
    back = isinstance(proposed := step(at, wanted), Move) and proposed.to == ROLLED_BACK
    assert back == (away_from_the_cloud and bool(at.alarm or at.breaker))


@given(SITUATIONS, TERMS)
def test_who_waits_on_the_way_home_knows_why(at: Situation, wanted: Terms) -> None:
    proposed = step(at, wanted)
    on_the_way = at.place == Place(Stage.SHADOWED) or at.place.stage is Stage.CANARY
    if isinstance(proposed, Wait):
        assert bool(proposed.blocks) == on_the_way
