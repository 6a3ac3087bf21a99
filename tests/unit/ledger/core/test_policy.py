"""The policy is what the decisions add up to, and follows the settings by decisions of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.sampling import PPM, Sampling
from services.common.stages import CANARIES, MOVES, OBSERVED, PLACES, ROLLED_BACK, SHADOWED, Move, Place
from services.common.stages import HOME as AT_HOME
from services.common.words import Stage, Target
from services.ledger.core.policy import Change, Policy, Registered, Row, apply, replace_row, settle

CLOUD, HOME = Target.CLOUD, Target.SOVEREIGN
BOTH = (CLOUD, HOME)
COMPARED = Sampling(b"e" * 16, 2, 50_000, b"s" * 16)
REVERSED = replace(COMPARED, rate_ppm=5_000, reversed=True)
SAMPLINGS = {Stage.SHADOWED: COMPARED, Stage.CANARY: REVERSED, Stage.HOME: REVERSED}
READY = {
    "verdict": "READY",
    "experiment_id": COMPARED.experiment_id.hex(),
    "epoch": 2.0,
    "window_start": "2026-11-29T00:00:00Z",
    "histogram_sha256": "5e" * 32,
    "log_k": 3.25,
    "lower_bound": -0.01,
}

targets = st.sampled_from([(CLOUD,), (HOME,), BOTH])
registered = st.lists(
    st.builds(
        Registered,
        workload=st.sampled_from(["a", "b", "c", "d"]),
        allowed_targets=targets,
        allowed_regions=st.sampled_from([(), ("eu",)]),
    ),
    unique_by=lambda item: item.workload,
)
samplings = st.builds(
    Sampling,
    experiment_id=st.sampled_from([b"e" * 16, b"f" * 16]),
    epoch=st.integers(1, 3),
    rate_ppm=st.sampled_from([0, 50_000, PPM]),
    salt=st.sampled_from([b"s" * 16, b"t" * 16]),
    reversed=st.booleans(),
)
rows = st.builds(
    Row,
    workload=st.just("a"),
    stage=st.sampled_from(Stage),
    sovereign_share_ppm=st.sampled_from([0, 10_000, 30_000, 500_000, PPM]),
    allowed_targets=targets,
    sampling=st.none() | samplings,
)
"""Rows of any kind, most of them wrong."""


def at(place: Place, allowed: tuple[Target, ...] = BOTH, **changes: Any) -> Row:
    """A row as it should be at a place."""
    row = Row("a", place.stage, place.share_ppm, allowed, sampling=SAMPLINGS.get(place.stage))
    return replace(row, **{"fallback_allowed": CLOUD in allowed, **changes})


def decided(before: Row, after: Row, evidence: Mapping[str, Any] = READY) -> Change:
    compared = {} if before.sampling is None else {"a": before.sampling}
    return replace_row(Policy(7, {"a": before}, compared), after, "because", evidence)


def refusal(before: Row, after: Row, evidence: Mapping[str, Any] = READY) -> DomainError:
    with pytest.raises(DomainError) as refused:
        decided(before, after, evidence)
    return refused.value


def settled(policy: Policy, items: list[Registered]) -> Policy:
    for change in settle(policy, items):
        policy = apply(policy, change)
    return policy


@given(registered, registered)
def test_settling_brings_the_policy_in_line_and_settling_again_changes_nothing(
    before: list[Registered], after: list[Registered]
) -> None:
    policy = settled(settled(Policy(), before), after)
    assert set(policy.rows) == {item.workload for item in after}
    for item in after:
        assert policy.rows[item.workload].allowed_targets == item.allowed_targets
        assert policy.rows[item.workload].allowed_regions == item.allowed_regions
    assert settle(policy, after) == []


def test_a_registered_workload_begins_observed() -> None:
    policy = settled(Policy(), [Registered("a", (CLOUD, HOME), ())])
    assert policy == Policy(1, {"a": Row("a", Stage.OBSERVED)})


def test_each_decision_makes_one_version() -> None:
    policy = settled(Policy(), [Registered(name, (CLOUD,), ()) for name in "abc"])
    assert policy.version == 3


@pytest.mark.parametrize(
    ("place", "allowed", "stays"),
    [
        *((place, BOTH, True) for place in PLACES),
        *((place, (HOME,), place is not SHADOWED) for place in PLACES),
        *((place, (CLOUD,), place in (OBSERVED, ROLLED_BACK)) for place in PLACES),
    ],
)
def test_a_changed_data_class_keeps_the_stage_if_it_allows_it(
    place: Place, allowed: tuple[Target, ...], stays: bool
) -> None:
    policy = settled(Policy(7, {"a": at(place)}), [Registered("a", allowed, ("eu",))])
    wanted = at(place if stays else OBSERVED, allowed, allowed_regions=("eu",))
    assert (policy.version, policy.rows) == (8, {"a": wanted})


@pytest.mark.parametrize(
    "row",
    [
        at(AT_HOME, sovereign_share_ppm=0),
        at(CANARIES[0], sovereign_share_ppm=30_000),
        at(CANARIES[0], sampling=None),
        at(SHADOWED, sampling=None),
    ],
)
def test_a_row_of_a_version_without_the_table_is_observed_again(row: Row) -> None:
    (change,) = settle(Policy(7, {"a": row}), [Registered("a", BOTH, ())])
    assert change == Change("a", row, at(OBSERVED), f"its row did not fit {row.stage.name}")


@given(rows, registered)
def test_whatever_the_row_was_settling_leaves_one_that_fits(row: Row, after: list[Registered]) -> None:
    policy = settled(Policy(1, {"a": row}), after)
    assert settle(policy, after) == []
    for found in policy.rows.values():
        assert_fits(found)


def assert_fits(row: Row) -> None:
    """What may be said of any row that is in force."""
    assert row.place in PLACES
    at_home = row.stage in {Stage.CANARY, Stage.HOME}
    assert (row.sampling is not None) == (at_home or row.stage is Stage.SHADOWED)
    assert row.sampling is None or row.sampling.reversed == at_home
    assert HOME in row.allowed_targets or row.sovereign_share_ppm == 0
    assert row.stage is not Stage.SHADOWED or set(row.allowed_targets) == {*BOTH}


@pytest.mark.parametrize(("before", "after"), [(a, b) for a in PLACES for b in PLACES])
def test_decisions_keep_to_the_table(before: Place, after: Place) -> None:
    if (before, after) in MOVES:
        assert decided(at(before), at(after)) == Change("a", at(before), at(after), "because")
        return
    refused = refusal(at(before), at(after))
    assert refused.reason is Reason.STAGE_MOVE_FORBIDDEN
    assert refused.metadata == {"workload": "a", "from": str(before), "to": str(after)}


@pytest.mark.parametrize(("pair", "kind"), MOVES.items())
def test_only_a_move_home_needs_evidence(pair: tuple[Place, Place], kind: Move) -> None:
    before, after = map(at, pair)
    if kind is Move.ADVANCE:
        assert refusal(before, after, {}).metadata["field"] == "evidence.verdict"
        assert refusal(before, after, {**READY, "epoch": 1}).metadata["field"] == "evidence.epoch"
    else:
        assert decided(before, after, {}).after == after


@pytest.mark.parametrize(
    ("row", "field", "expected", "got"),
    [
        (at(SHADOWED, sampling=None), "sampling", "there in SHADOWED", "missing"),
        (at(CANARIES[0], sampling=None), "sampling", "there in CANARY", "missing"),
        (at(OBSERVED, sampling=COMPARED), "sampling", "absent in OBSERVED", "there"),
        (at(ROLLED_BACK, sampling=REVERSED), "sampling", "absent in ROLLED_BACK", "there"),
        (at(SHADOWED, sampling=REVERSED), "sampling.reversed", "false in SHADOWED", "true"),
        (at(CANARIES[0], sampling=COMPARED), "sampling.reversed", "true in CANARY", "false"),
        (at(SHADOWED, sovereign_share_ppm=1), "sovereign_share_ppm", "0 in SHADOWED", "1"),
        (at(AT_HOME, sovereign_share_ppm=0), "sovereign_share_ppm", "1000000 in HOME", "0"),
        (
            at(CANARIES[0], sovereign_share_ppm=30_000),
            "sovereign_share_ppm",
            "10000 or 50000 or 250000 or 500000 in CANARY",
            "30000",
        ),
    ],
)
def test_a_row_that_does_not_fit_its_stage_is_refused_by_name(
    row: Row, field: str, expected: str, got: str
) -> None:
    refused = refusal(at(SHADOWED), row)
    assert refused.reason is Reason.INVALID_REQUEST
    assert refused.metadata == {"field": f"after.{field}", "expected": expected, "got": got}


@pytest.mark.parametrize(
    ("before", "after", "allowed", "lacking"),
    [
        (OBSERVED, SHADOWED, (CLOUD,), "SOVEREIGN"),
        (OBSERVED, SHADOWED, (HOME,), "CLOUD"),
        (SHADOWED, CANARIES[0], (CLOUD,), "SOVEREIGN"),
        (CANARIES[3], AT_HOME, (CLOUD,), "SOVEREIGN"),
    ],
)
def test_no_decision_goes_where_the_data_class_does_not(
    before: Place, after: Place, allowed: tuple[Target, ...], lacking: str
) -> None:
    refused = refusal(at(before, allowed), at(after, allowed))
    assert refused.reason is Reason.STAGE_MOVE_FORBIDDEN
    assert refused.message.endswith(f"its data class does not allow {lacking}")


@pytest.mark.parametrize("allowed", [(CLOUD,), (HOME,), BOTH])
@pytest.mark.parametrize("place", [*CANARIES, AT_HOME])
def test_the_way_back_is_open_whatever_the_data_class_allows(
    place: Place, allowed: tuple[Target, ...]
) -> None:
    assert decided(at(place, allowed), at(ROLLED_BACK, allowed), {}).after == at(ROLLED_BACK, allowed)


@pytest.mark.parametrize(
    "changes", [{"allowed_targets": (HOME,)}, {"allowed_regions": ("us",)}, {"fallback_allowed": False}]
)
def test_what_the_data_class_says_is_not_decided(changes: dict[str, Any]) -> None:
    (name,) = changes
    assert refusal(at(OBSERVED), at(SHADOWED, **changes)).metadata["field"] == f"after.{name}"


def test_a_workload_that_is_not_registered_is_told() -> None:
    assert refusal(at(OBSERVED), replace(at(OBSERVED), workload="b")).reason is Reason.WORKLOAD_NOT_FOUND


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"experiment_id": b"f" * 16}, "experiment_id"),
        ({"epoch": 3}, "epoch"),
        ({"salt": b"t" * 16}, "salt"),
    ],
)
@pytest.mark.parametrize(
    ("before", "after"), [(SHADOWED, CANARIES[0]), (CANARIES[3], AT_HOME), (AT_HOME, AT_HOME)]
)
def test_one_epoch_of_one_experiment_carries_a_workload_home(
    before: Place, after: Place, change: dict[str, Any], field: str
) -> None:
    other = replace(REVERSED, **change)
    refused = refusal(
        at(before),
        at(after, sampling=other),
        {**READY, "experiment_id": other.experiment_id.hex(), "epoch": other.epoch},
    )
    assert refused.metadata["field"] == f"after.sampling.{field}"


ANOTHER = b"f" * 16


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"epoch": 3}, None),
        # The same epoch, at another rate.
        ({"rate_ppm": 1}, None),
        ({"epoch": 1}, "2 or more"),
        ({"experiment_id": ANOTHER, "epoch": 3}, None),
        # Error that is spent stays so, whatever the experiment is called.
        ({"experiment_id": ANOTHER, "epoch": 2}, "3 or more after the last one, of experiment " + "65" * 16),
        ({"experiment_id": ANOTHER, "epoch": 1}, "3 or more after the last one, of experiment " + "65" * 16),
    ],
)
@pytest.mark.parametrize("way", [(), (OBSERVED,), (CANARIES[0], ROLLED_BACK), (None,)], ids=str)
def test_a_comparison_begins_with_an_epoch_that_is_not_spent(
    way: tuple[Place | None, ...], changes: dict[str, Any], least: str | None
) -> None:
    """Also if the workload is not sampled any more, or was not registered for a while."""
    policy = Policy(7, {"a": at(OBSERVED)})
    policy = apply(policy, replace_row(policy, at(SHADOWED), "because", {}))
    for place in way:
        after = at(place) if place is not None else None
        policy = apply(policy, Change("a", policy.rows.get("a"), after, "because"))
    if "a" not in policy.rows:
        policy = settled(policy, [Registered("a", BOTH, ())])
    after = at(SHADOWED, sampling=replace(COMPARED, **changes))
    if least is None:
        assert replace_row(policy, after, "because", {}).after == after
        return
    with pytest.raises(DomainError) as refused:
        replace_row(policy, after, "because", {})
    assert refused.value.metadata == {
        "field": "after.sampling.epoch",
        "expected": least,
        "got": str(changes["epoch"]),
    }


@given(st.sampled_from(PLACES), rows | st.builds(at, st.sampled_from(PLACES), targets), st.booleans())
def test_whatever_is_proposed_what_is_decided_fits(place: Place, after: Row, with_evidence: bool) -> None:
    before = at(place, after.allowed_targets)
    after = replace(after, fallback_allowed=before.fallback_allowed)
    try:
        change = decided(before, after, READY if with_evidence else {})
    except DomainError:
        return
    assert change.after == after
    assert (before.place, after.place) in MOVES
    assert with_evidence or after.sovereign_share_ppm <= before.sovereign_share_ppm
    assert_fits(after)
