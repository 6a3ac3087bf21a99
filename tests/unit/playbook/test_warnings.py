"""The rules of `homeward status`: they speak when something changed, and are silent when nothing did."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.warnings import Traffic, chance_of_unlike, warnings

DAY = date(2026, 11, 24)
QUIET = Traffic("trips", 100, observations=60, below=3, example_count=20, psi=0.1, psi_day=DAY)


def changed(**fields: object) -> Traffic:
    """Quiet traffic but for some figures."""
    values = {name: getattr(QUIET, name) for name in QUIET.__slots__}
    return Traffic(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "registered", "kinds"),
    [
        ([QUIET], ["trips"], []),
        ([], [], []),
        # Likeness: enough observations, far enough, and not by chance with so few examples.
        ([changed(below=30)], ["trips"], ["unlike_examples"]),
        ([changed(observations=49, below=49)], ["trips"], []),
        ([changed(observations=50, below=50)], ["trips"], ["unlike_examples"]),
        ([changed(observations=60, below=30, example_count=5)], ["trips"], []),
        ([changed(observations=60, below=57, example_count=5)], ["trips"], ["unlike_examples"]),
        # Not said how many examples: as if they were the fewest.
        ([changed(observations=60, below=30, example_count=None)], ["trips"], []),
        # Certain, but too small to matter.
        ([changed(observations=100_000, below=15_000, example_count=50)], ["trips"], []),
        ([changed(observations=0, below=0, example_count=None)], ["trips"], []),
        # PSI.
        ([changed(psi=0.25)], ["trips"], []),
        ([changed(psi=0.26)], ["trips"], ["population_shift"]),
        ([changed(psi=None, psi_day=None)], ["trips"], []),
        ([QUIET, Traffic("", 20, psi=0.3, psi_day=DAY)], ["trips"], ["population_shift"]),
        # Unnamed.
        ([changed(requests=80), Traffic("", 20)], ["trips"], []),
        ([changed(requests=79), Traffic("", 21)], ["trips"], ["unnamed"]),
        ([Traffic("", 19)], [], []),
        ([Traffic("", 20)], [], ["unnamed"]),
        # Registered, but idle. An observation alone is not a request.
        ([QUIET], ["mail", "trips"], ["no_requests"]),
        ([QUIET, Traffic("mail", 0, observations=1)], ["mail", "trips"], ["no_requests"]),
        ([], ["b", "a"], ["no_requests", "no_requests"]),
        # The gravest first.
        (
            [changed(below=60, psi=1.0), Traffic("", 100)],
            ["mail"],
            ["unlike_examples", "population_shift", "unnamed", "no_requests"],
        ),
    ],
)
def test_each_rule_speaks_when_it_should_and_only_then(
    rows: list[Traffic], registered: list[str], kinds: list[str]
) -> None:
    assert [item.kind for item in warnings(rows, registered)] == kinds


def test_every_warning_says_what_to_do_and_only_idleness_is_no_alarm() -> None:
    found = warnings([changed(below=60, psi=1.0), Traffic("", 100)], ["mail"])
    assert [item.level for item in found] == ["warning", "warning", "warning", "info"]
    assert all(item.next_step for item in found)
    assert [item.workload for item in found] == ["trips", "trips", "", "mail"]
    assert "100% of 60 observed requests" in found[0].message
    assert "homeward inventory discover" in found[2].next_step


@pytest.mark.parametrize("examples", [5, 10, 20, 50])
@pytest.mark.parametrize("observations", [50, 300, 5000])
def test_traffic_that_has_not_changed_is_not_warned_of(examples: int, observations: int) -> None:
    rng = np.random.default_rng([examples, observations])
    warned = 0
    for _ in range(100):
        row = likened(rng.normal(size=examples), rng.normal(size=observations))
        warned += bool(warnings([row], ["trips"]))
    assert warned <= 1


@pytest.mark.parametrize("examples", [5, 10, 20, 50])
def test_traffic_that_fits_no_example_is_warned_of(examples: int) -> None:
    rng = np.random.default_rng(examples)
    row = likened(rng.normal(size=examples), rng.normal(loc=-6, size=50))
    assert [item.kind for item in warnings([row], ["trips"])] == ["unlike_examples"]


def test_with_many_examples_a_third_of_strange_requests_is_enough() -> None:
    rng = np.random.default_rng(7)
    warned = 0
    for _ in range(100):
        requests = np.concatenate([rng.normal(size=200), rng.normal(loc=-6, size=100)])
        warned += bool(warnings([likened(rng.normal(size=50), requests)], ["trips"]))
    assert warned >= 99


@pytest.mark.parametrize(("examples", "observations", "below"), [(5, 50, 20), (10, 80, 20), (50, 60, 9)])
def test_the_chance_is_that_of_a_simulation(examples: int, observations: int, below: int) -> None:
    rng = np.random.default_rng(1)
    marks = -(-examples // 20)
    scores = rng.random((20_000, examples + observations))
    bound = np.sort(scores[:, :examples], axis=1)[:, marks - 1]
    simulated = float(((scores[:, examples:] < bound[:, None]).sum(axis=1) >= below).mean())
    assert chance_of_unlike(below, observations, examples) == pytest.approx(simulated, abs=0.01)


@given(st.integers(1, 50), st.integers(1, 100_000), st.data())
def test_the_chance_is_a_probability_that_falls_with_each_strange_request(
    examples: int, observations: int, data: st.DataObject
) -> None:
    below = data.draw(st.integers(0, observations - 1))
    chance, next_chance = (chance_of_unlike(item, observations, examples) for item in (below, below + 1))
    assert 0 <= next_chance <= chance * (1 + 1e-6) <= 1 + 1e-5


def likened(examples: np.ndarray, requests: np.ndarray) -> Traffic:
    """What is observed of requests with these scores, as the classifier computes likeness."""
    likeness = np.searchsorted(np.sort(examples), requests, side="right") / len(examples)
    return Traffic(
        "trips",
        len(requests),
        observations=len(requests),
        below=int((likeness < 0.05).sum()),
        example_count=len(examples),
    )
