"""The pictures are whole SVG, the same for the same figures, whatever the figures are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbook.report.pictures.comparison import Bounds, bounds, funnel
from playbook.report.pictures.money import Bar, cash_flow, pareto, tornado
from playbook.report.pictures.serving import Flow, Spread, latency, traffic
from playbook.report.pictures.style import HOME, RULE

NOW = datetime(2026, 11, 29, 22, tzinfo=UTC)
TIMES = [NOW + timedelta(seconds=5 * number) for number in range(20)]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
AMOUNTS = st.floats(0, 1e12)

CASES: dict[str, Callable[[], bytes]] = {
    "pareto": lambda: pareto([Bar("a", 12.0, HOME), Bar("b", 0.004, RULE)]),
    "pareto of many": lambda: pareto([Bar(f"workload-{n}", 2.0**-n, HOME) for n in range(11)]),
    "pareto of nothing": lambda: pareto([Bar("a", 0.0, HOME)]),
    "funnel": lambda: funnel([("a", [("eligible", 10), ("sampled", 0)])]),
    "funnel of nine": lambda: funnel([(str(n), [("eligible", n)]) for n in range(9)]),
    "bounds of one window": lambda: bounds([Bounds("a", [-1.0], [1.0], 0.02, "COLLECTING", None)]),
    "bounds": lambda: bounds([Bounds("a", [-0.3, -0.01], [0.3, 0.02], 0.02, "READY", 2)] * 3),
    "latency": lambda: latency([Spread("a", "cloud", 600.0, 900.0, 1e6), Spread("a", "sovereign", 1, 2, 3)]),
    "latency without p99": lambda: latency([Spread("a", "cloud", 600.0, None, None)]),
    "traffic": lambda: traffic(
        [Flow("a", TIMES, [5.0] * 20, [0.0] * 20, [(NOW, "SHADOWED"), (TIMES[3], "1%"), (TIMES[4], "5%")])], 5
    ),
    "traffic of one step": lambda: traffic([Flow("a", TIMES[:1], [0.0], [1.0], [])], 5),
    "cash flow": lambda: cash_flow([-95_000.0] + [13_125.0] * 36, 7.2),
    "cash flow that never turns": lambda: cash_flow([-1.0, -1.0], None),
    "tornado": lambda: tornado([("a", -5.0, 9.0), ("b", 1.0, 1.0)], 2.0, "NPV"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_whole_and_always_the_same(name: str) -> None:
    made = CASES[name]()
    assert ElementTree.fromstring(made).tag.endswith("svg")
    assert made == CASES[name]()
    # Letters are outlines: no font of the reader's is needed.
    assert b"<text" not in made


@settings(max_examples=10)
@given(st.lists(st.tuples(NAMES, AMOUNTS), min_size=1, max_size=6))
def test_any_name_and_amount_can_be_drawn(rows: list[tuple[str, float]]) -> None:
    ElementTree.fromstring(pareto([Bar(name, amount, HOME) for name, amount in rows]))
