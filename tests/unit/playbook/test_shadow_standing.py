"""Where a workload stands, in words, marks and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.standing import (
    BLOCKS,
    document,
    length,
    needed,
    next_place,
    percent,
    place,
    sparkline,
    verdict,
    windows_left,
)
from services.common.stages import CANARIES, HOME, OBSERVED, SHADOWED
from services.shadow.core.verdict import Rules
from tests.support.migrations import evidence, experiment, migration


@pytest.mark.parametrize(
    ("values", "full", "line"),
    [
        ([], 1.0, ""),
        ([0.0, 1.0], 1.0, "▁█"),
        ([-5.0, 0.5, 0.99, 1.0, 9.0], 1.0, "▁▄▇██"),
        ([-math.inf, 0.0], 3.0, "▁▁"),
    ],
)
def test_a_sparkline_is_full_where_it_is_enough(values: Sequence[float], full: float, line: str) -> None:
    assert sparkline(values, full) == line


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.floats(0.01, 100), st.integers(2, 40))
def test_a_sparkline_fits_and_its_last_block_tells_the_last_value(
    values: list[float], full: float, width: int
) -> None:
    line = sparkline(values, full, width)
    assert len(line) == min(len(values), width)
    if values:
        assert (line[-1] == BLOCKS[-1]) is (values[-1] >= full)


@pytest.mark.parametrize(
    ("log_ks", "said", "min_windows", "left"),
    [
        pytest.param([], "COLLECTING", 2, None, id="nothing yet"),
        pytest.param([1.0], "COLLECTING", 2, None, id="one window tells no pace"),
        pytest.param([1.0, 2.0], "COLLECTING", 2, 2, id="needs 3.69, one a window"),
        pytest.param([1.0, 2.0], "COLLECTING", 14, 12, id="the least number of windows"),
        pytest.param([2.0, 1.0], "COLLECTING", 2, None, id="it falls"),
        pytest.param([2.0, 2.0], "COLLECTING", 2, None, id="it stands"),
        pytest.param([4.0, 5.0], "COLLECTING", 5, 3, id="enough, and too few windows"),
        pytest.param([5.0, 4.0], "COLLECTING", 5, 3, id="enough, though it falls"),
        pytest.param([0.0] * 20 + [0.5 * n for n in range(1, 7)], "COLLECTING", 2, 2, id="of late it grows"),
        pytest.param([3.0, 4.0], "READY", 2, None, id="there already"),
        pytest.param([-3.0, -4.0], "REJECTED", 2, None, id="never"),
    ],
)
def test_windows_until_ready_at_the_present_pace(
    log_ks: list[float], said: str, min_windows: int, left: int | None
) -> None:
    item = experiment("w")
    item.min_windows = min_windows
    assert windows_left(item, evidence(log_ks, said)) == left


def test_what_is_needed_is_what_the_verdict_needs() -> None:
    for epoch in (1, 2, 5):
        rules = Rules(0.05, 0.05, 1, 0, 1)
        item = experiment("w", epoch=epoch)
        assert needed(item) == pytest.approx(-math.log(rules.epoch_alpha(epoch)), rel=1e-12)


@pytest.mark.parametrize(
    ("span_s", "words"),
    [
        (5, "5 s"), (60, "1 min"), (90, "90 s"), (600, "10 min"), (3600, "1 h"), (86_400, "1 day"),
        (7 * 86_400, "7 days"), (129_600, "36 h"),
    ],
)  # fmt: skip
def test_lengths_of_time_for_people(span_s: float, words: str) -> None:
    assert length(span_s) == words


def test_shares_have_no_idle_zeros() -> None:
    assert [percent(ppm) for ppm in (100_000, 5_000, 1, 1_000_000)] == ["10 %", "0.5 %", "0.0001 %", "100 %"]


def test_a_workload_without_a_row_is_observed_and_goes_nowhere() -> None:
    item = migration("w", OBSERVED)
    item.policy.ClearField("stage")
    assert (place(item), next_place(item), verdict(item.evidence)) == (OBSERVED, None, "COLLECTING")
    told = document(item)
    assert (told["experiment"], told["needed_log_k"], told["discordance"], told["log_m"]) == (None,) * 4


def test_the_document_has_it_all_and_is_json() -> None:
    item = migration("w", CANARIES[1], [1.0, 4.0], "READY", after=CANARIES[2], blocks=["it waits"])
    item.log_m = 0.0
    told = json.loads(json.dumps(document(item)))
    assert (told["stage"], told["sovereign_share_ppm"]) == ("CANARY", 50_000)
    assert (told["next_stage"], told["next_share_ppm"]) == ("CANARY", 250_000)
    assert told["experiment"]["window_s"] == 86_400
    assert told["experiment"]["daily_cost_cap_nanos"] is None
    assert [one["verdict"] for one in told["evidence"]["windows"]] == ["COLLECTING", "READY"]
    assert told["evidence"]["windows"][0]["start"] == "2026-10-01T00:00:00Z"
    assert told["log_m"] == 0.0, "zero is known"
    item.log_m = -math.inf
    assert document(item)["log_m"] is None
    assert {lane["lane"] for lane in told["controls"]} == {"cloud", "degraded"}
    assert told["funnel_today"]["losses"][0] == {"step": "shed", "reason": "queue", "count": 4}
    assert document(migration("w", HOME))["next_stage"] is None
    assert document(migration("w", SHADOWED, []))["evidence"]["windows"] == []
