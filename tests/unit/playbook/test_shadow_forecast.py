"""Forecasts, and the windows that an experiment gets."""

from __future__ import annotations

import pytest

from playbook.cycles import Cycle, windows_of
from playbook.forecast import forecast, guess
from playbook.outlook import Outlook, words
from services.shadow.core.scorers.registry import SCORER_NAMES
from tests.support.migrations import experiment

DAY_US = 86_400 * 10**6


@pytest.mark.parametrize(
    ("cycle", "window", "found"),
    [
        ("week", None, (7 * DAY_US, 2)),
        ("week", "7d", (7 * DAY_US, 2)),
        ("week", "14d", (14 * DAY_US, 1)),
        ("week", "28d", (28 * DAY_US, 1)),
        ("day", None, (DAY_US, 14)),
        ("day", "24h", (DAY_US, 14)),
        ("day", "2d", (2 * DAY_US, 7)),
        ("day", "3d", (3 * DAY_US, 5)),
        ("none", "5s", (5 * 10**6, 14)),
    ],
)
def test_windows_span_the_cycle(cycle: Cycle, window: str | None, found: tuple[int, int]) -> None:
    assert windows_of(cycle, window) == found


@pytest.mark.parametrize(
    ("cycle", "window", "said"),
    [
        ("week", "1d", "does not span the traffic's cycle, a week"),
        ("week", "10d", "a multiple of 7d"),
        ("day", "1h", "more often than α allows"),
        ("none", None, "--cycle none needs a --window"),
        ("week", "soon", "no length of time"),
    ],
)
def test_windows_that_do_not_span_it_are_refused_with_the_reason(
    cycle: Cycle, window: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        windows_of(cycle, window)


def test_more_votes_a_window_need_fewer_windows_and_a_later_epoch_more() -> None:
    def windows(votes: int, epoch: int = 1) -> int:
        found = forecast(votes, 0.2, margin=0.05, alpha=0.05, epoch=epoch, min_windows=1).windows["median"]
        assert found is not None
        return found

    assert windows(400) < windows(100)
    assert windows(100) < windows(100, epoch=4)


def test_a_forecast_counts_windows_whatever_their_length() -> None:
    days = forecast(100, 0.2, margin=0.05, alpha=0.05, epoch=1, min_windows=2)
    weeks = forecast(100, 0.2, margin=0.05, alpha=0.05, epoch=1, min_windows=2, window_s=7 * 86_400)
    assert days.windows["median"] == weeks.windows["median"]
    assert weeks.seconds("median", 7 * 86_400) == 7 * (days.seconds("median", 86_400) or 0)


def test_what_a_year_can_not_show_is_unknown() -> None:
    found = forecast(1, 0.5, margin=0.01, alpha=0.05, epoch=1, min_windows=2, window_s=7 * 86_400)
    assert found.windows == {"median": None, "p80": None, "p95": None}
    assert found.seconds("p95", 86_400) is None
    assert found.share_within(52) < 0.5


@pytest.mark.parametrize(
    ("discordance", "measured", "said"),
    [
        (0.0099, True, "100 samples a window, whose D has a mean square of 0.0099 (measured so far)."),
        (0.1, False, "D has a mean square of 0.1 (a guess, since nothing is measured yet)."),
    ],
)
def test_a_forecast_says_what_it_rests_on(discordance: float, measured: bool, said: str) -> None:
    drawn = forecast(100, discordance, margin=0.05, alpha=0.05, epoch=1, min_windows=2)
    assert said in words(Outlook(1_000, discordance, measured, drawn), experiment("triage"))


@pytest.mark.parametrize("scorer", [*SCORER_NAMES, "judge@3"])
def test_every_scorer_has_a_guess(scorer: str) -> None:
    assert 0 < guess(scorer) <= 1
