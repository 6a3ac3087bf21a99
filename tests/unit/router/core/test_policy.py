"""Where a conversation runs: its own bucket decides, again and again the same."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.words import Stage, Target
from services.router.core.policy import PPM, UNNAMED, Policy, WorkloadPolicy, bucket_ppm, choose_target

CLOUD, SOVEREIGN = Target.CLOUD, Target.SOVEREIGN
CONVERSATIONS = [b"conversation-%d" % number for number in range(100_000)]
BUCKETS = [bucket_ppm(conversation) for conversation in CONVERSATIONS]


def tolerance(probability: float) -> float:
    """Five standard errors of a share that is counted over all conversations."""
    return 5 * math.sqrt(probability * (1 - probability) / len(CONVERSATIONS))


def test_buckets_are_uniform() -> None:
    for tenth in range(10):
        inside = sum(tenth * PPM // 10 <= bucket < (tenth + 1) * PPM // 10 for bucket in BUCKETS)
        assert abs(inside / len(BUCKETS) - 0.1) < tolerance(0.1)


def test_buckets_of_neighbours_do_not_go_together() -> None:
    both = sum(one < PPM // 2 and other < PPM // 2 for one, other in itertools.pairwise(BUCKETS))
    assert abs(both / len(BUCKETS) - 0.25) < tolerance(0.25)


@given(st.binary())
def test_a_bucket_is_in_range_and_always_the_same(conversation: bytes) -> None:
    assert 0 <= bucket_ppm(conversation) < PPM
    assert bucket_ppm(conversation) == bucket_ppm(bytes(bytearray(conversation)))


def test_a_bucket_stays_the_same_from_one_release_to_the_next() -> None:
    # Were these to change, an update would move conversations from one target to the other.
    assert [bucket_ppm(b"a"), bucket_ppm(b"b"), bucket_ppm(b"")] == [962_250, 87_946, 261_652]


@pytest.mark.parametrize("share", [0, 1_000, 50_000, 333_333, 500_000, 990_000, PPM])
def test_a_canary_gets_its_share(share: int) -> None:
    row = WorkloadPolicy(stage=Stage.CANARY, sovereign_share_ppm=share)
    home = sum(choose_target(row, conversation, "w") is SOVEREIGN for conversation in CONVERSATIONS)
    assert abs(home / len(CONVERSATIONS) - share / PPM) <= tolerance(share / PPM)


@given(st.binary())
def test_the_share_is_the_first_bucket_that_stays_in_the_cloud(conversation: bytes) -> None:
    bucket = bucket_ppm(conversation)
    stays, moves = (
        WorkloadPolicy(stage=Stage.CANARY, sovereign_share_ppm=share) for share in (bucket, bucket + 1)
    )
    assert choose_target(stays, conversation, "w") is CLOUD
    assert choose_target(moves, conversation, "w") is SOVEREIGN


@given(st.binary(), st.integers(0, PPM), st.integers(0, PPM))
def test_a_growing_share_moves_no_conversation_back(conversation: bytes, one: int, other: int) -> None:
    small, large = (
        choose_target(WorkloadPolicy(stage=Stage.CANARY, sovereign_share_ppm=share), conversation, "w")
        for share in sorted((one, other))
    )
    assert small is CLOUD or large is SOVEREIGN


@pytest.mark.parametrize(
    ("stage", "target"),
    [
        (Stage.OBSERVED, CLOUD),
        (Stage.SHADOWED, CLOUD),
        (Stage.HOME, SOVEREIGN),
        (Stage.ROLLED_BACK, CLOUD),
    ],
)
@pytest.mark.parametrize("share", [0, 500_000, PPM])
def test_outside_of_a_canary_the_stage_alone_decides(stage: Stage, target: Target, share: int) -> None:
    row = WorkloadPolicy(stage=stage, sovereign_share_ppm=share)
    assert {choose_target(row, conversation, "w") for conversation in CONVERSATIONS[:200]} == {target}


@pytest.mark.parametrize("allowed", [CLOUD, SOVEREIGN])
@pytest.mark.parametrize("stage", Stage)
def test_the_data_class_is_stronger_than_the_stage(stage: Stage, allowed: Target) -> None:
    row = WorkloadPolicy(stage=stage, sovereign_share_ppm=500_000, allowed_targets=frozenset({allowed}))
    assert {choose_target(row, conversation, "w") for conversation in CONVERSATIONS[:200]} == {allowed}


def test_a_data_class_that_allows_nothing_is_an_error() -> None:
    with pytest.raises(DomainError, match="'triage'") as caught:
        choose_target(WorkloadPolicy(allowed_targets=frozenset()), b"c", "triage")
    assert caught.value.reason is Reason.TARGET_NOT_ALLOWED


def test_a_workload_without_a_row_runs_in_the_cloud() -> None:
    policy = Policy(7, {"triage": WorkloadPolicy(stage=Stage.HOME)})
    assert policy.row("triage").stage is Stage.HOME
    assert policy.row("other") == policy.row("") == UNNAMED
    assert WorkloadPolicy(Stage.OBSERVED, 0, frozenset({CLOUD, SOVEREIGN}), frozenset(), True) == UNNAMED
    assert choose_target(UNNAMED, b"c", "") is CLOUD
