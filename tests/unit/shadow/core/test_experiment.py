"""What an experiment fixes, and what a new epoch may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.shadow.core.experiment import Begun, Experiment, Wanted, registered
from services.shadow.core.triplets import MAX_EPOCH

SECOND, DAY = 10**6, 86_400 * 10**6
WANTED = Wanted(
    workload="ticket-triage",
    scorer="exact_match@1",
    margin=0.05,
    alpha=0.05,
    window_us=DAY,
    watermark_us=3600 * SECOND,
    min_windows=14,
    strata=("language",),
    stratum_values=("de", "en"),
    rate_ppm=100_000,
    reverse_rate_ppm=10_000,
    daily_cost_cap_nanos=0,
    cluster_by="conversation",
)
FIRST_ID, OTHER_ID, SALT = b"e" * 16, b"f" * 16, b"s" * 16


def register(wanted: Wanted, last: Experiment | None = None, now: int = 5 * DAY + 1) -> Experiment:
    return registered(wanted, last, experiment_id=FIRST_ID, salt=SALT, now_unix_us=now)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workload": ""}, "workload"),
        ({"scorer": "vibes@1"}, "scorer"),
        ({"scorer": "judge@1"}, "scorer"),
        ({"scorer": "judge@1:"}, "scorer"),
        ({"scorer": "exact_match@1:gpt-4o"}, "scorer"),
        ({"margin": 0.0}, "margin"),
        ({"margin": 1.0}, "margin"),
        ({"margin": float("nan")}, "margin"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 0.5}, "alpha"),
        ({"window_us": SECOND - 1}, "window"),
        ({"window_us": 400 * DAY}, "window"),
        ({"watermark_us": -1}, "watermark"),
        ({"watermark_us": 31 * DAY}, "watermark"),
        ({"min_windows": 0}, "min_windows"),
        ({"rate_ppm": 0}, "rate_ppm"),
        ({"rate_ppm": 1_000_001}, "rate_ppm"),
        ({"reverse_rate_ppm": 1_000_001}, "reverse_rate_ppm"),
        ({"strata": ("mood",)}, "strata"),
        ({"strata": ("key", "key")}, "strata"),
        ({"strata": ()}, "stratum_values"),
        ({"stratum_values": ("de", "de")}, "stratum_values"),
        ({"stratum_values": tuple(map(str, range(101)))}, "stratum_values"),
        ({"cluster_by": "mood"}, "cluster_by"),
    ],
)
def test_what_promises_nothing_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DomainError) as caught:
        register(replace(WANTED, **change))
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == f"experiment.{field}"


def test_the_first_registration_is_epoch_one_and_starts_with_a_window() -> None:
    made = register(WANTED)
    assert (made.epoch, made.experiment_id, made.wanted) == (1, FIRST_ID, WANTED)
    assert made.start_unix_us == 6 * DAY
    assert register(WANTED, now=5 * DAY).start_unix_us == 5 * DAY


def test_a_change_is_a_new_epoch_of_the_same_experiment() -> None:
    first = register(WANTED)
    changed = replace(WANTED, scorer="token_f1@1", window_us=SECOND, rate_ppm=1)
    second = registered(changed, first, experiment_id=OTHER_ID, salt=b"t" * 16, now_unix_us=7 * DAY)
    assert (second.experiment_id, second.epoch, second.wanted) == (FIRST_ID, 2, changed)
    assert second.salt != first.salt
    assert second.rules.epoch_alpha(2) == first.rules.epoch_alpha(1) / 2


@pytest.mark.parametrize("change", [{"margin": 0.06}, {"alpha": 0.04}, {"workload": "other"}])
def test_what_is_promised_never_changes(change: dict[str, Any]) -> None:
    with pytest.raises(DomainError) as caught:
        register(replace(WANTED, **change), register(WANTED))
    assert caught.value.reason is Reason.EXPERIMENT_FIXED


@pytest.mark.parametrize(
    ("begun", "refused"),
    [
        (Begun("ticket-triage", OTHER_ID, 3, 0.05, 0.05), False),
        (Begun("ticket-triage", OTHER_ID, 3, 0.06, 0.05), True),
        (Begun("ticket-triage", OTHER_ID, 3, 0.05, 0.04), True),
        # Somebody else decided it, and the journal does not say what was promised.
        (Begun("ticket-triage", OTHER_ID, 3), False),
        (Begun("ticket-triage", OTHER_ID, MAX_EPOCH), True),
    ],
)
def test_what_the_journal_has_goes_on_with_half_of_its_error(begun: Begun, refused: bool) -> None:
    def next_epoch() -> Experiment:
        return registered(WANTED, begun, experiment_id=FIRST_ID, salt=SALT, now_unix_us=7 * DAY)

    if refused:
        with pytest.raises(DomainError) as caught:
            next_epoch()
        assert caught.value.reason is Reason.EXPERIMENT_FIXED
        return
    made = next_epoch()
    assert (made.experiment_id, made.epoch, made.wanted) == (OTHER_ID, 4, WANTED)


def test_a_judge_is_named_and_may_serve_no_arm_that_is_known() -> None:
    wanted = replace(WANTED, scorer="judge@1:gpt-4o")
    ids = {"experiment_id": FIRST_ID, "salt": SALT}
    made = registered(wanted, None, **ids, now_unix_us=0, arm_models=["gpt-4o-mini"])
    assert made.scorer == "judge@1:gpt-4o"
    with pytest.raises(DomainError) as caught:
        registered(wanted, None, **ids, now_unix_us=0, arm_models=["gpt-4o-2024-08-06"])
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "experiment.scorer"
    # What is no judge may be compared with whatever it likes.
    registered(WANTED, None, **ids, now_unix_us=0, arm_models=["exact_match@1"])


def test_the_error_is_spent_at_last() -> None:
    with pytest.raises(DomainError) as caught:
        register(WANTED, replace(register(WANTED), epoch=MAX_EPOCH))
    assert caught.value.reason is Reason.EXPERIMENT_FIXED


@given(
    st.integers(0, 10**17), st.integers(SECOND, 30 * DAY), st.integers(0, 30 * DAY), st.integers(0, 10**17)
)
def test_a_request_is_of_a_closed_window_when_that_has_closed(
    request: int, window: int, watermark: int, now: int
) -> None:
    made = replace(register(WANTED), window_us=window, watermark_us=watermark)
    closed = made.closes(made.window_start(request)) <= now
    assert (request < made.closed_before(now)) is closed


def test_the_sampling_of_the_policy() -> None:
    made = register(WANTED)
    assert made.sampling().rate_ppm == 100_000
    assert not made.sampling().reversed
    after = made.sampling(reversed=True, rate_ppm=made.reverse_rate_ppm)
    assert (after.rate_ppm, after.reversed, after.salt, after.epoch) == (10_000, True, SALT, 1)
