"""What the tour says of a migration."""

from __future__ import annotations

import math

from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2
from homeward.shadow.v1 import shadow_pb2

from deploy.local import story

EXPERIMENT = shadow_pb2.Experiment(
    workload="voice-domain", scorer="exact_match@1", margin=0.15, alpha=0.05, epoch=1, rate_ppm=500_000
)


def migration(*log_ks: float, log_m: float | None = None) -> shadow_pb2.Migration:
    """One with ten votes more in each window, which has its ln K."""
    found = shadow_pb2.Migration(experiment=EXPERIMENT, log_m=log_m)
    found.policy.CopyFrom(row(policy_pb2.STAGE_HOME, 1_000_000))
    for number, log_k in enumerate(log_ks, 1):
        found.evidence.windows.add(
            vote_count=10 * number, log_k=log_k, lower_bound=-0.2, upper_bound=0.1, verdict=1
        )
    return found


def row(stage: policy_pb2.Stage.ValueType, share_ppm: int = 0) -> policy_pb2.WorkloadPolicy:
    return policy_pb2.WorkloadPolicy(workload="voice-domain", stage=stage, sovereign_share_ppm=share_ppm)


def test_each_window_is_told_once_with_all_votes_until_then() -> None:
    told = story.Told()
    (first,) = story.windows(migration(1.0), told)
    assert "window 1 closed: 10 votes, ln K 1.00 of 3.69" in first
    second, third = story.windows(migration(1.0, 2.0, 3.0), told)
    assert "window 2 closed: 20 votes, ln K 2.00" in second
    assert "window 3 closed: 30 votes, ln K 3.00" in third
    assert story.windows(migration(1.0, 2.0, 3.0), told) == []


def test_a_later_epoch_needs_more() -> None:
    later = shadow_pb2.Experiment(alpha=0.05, epoch=2)
    assert math.isclose(story.needed(later) - story.needed(EXPERIMENT), math.log(2))


def test_a_move_is_told_with_its_evidence_and_its_entry() -> None:
    item = ledger_pb2.Decision(
        decision_id=7,
        workload="voice-domain",
        actor="shadow",
        reason="parity is proven",
        before=row(policy_pb2.STAGE_SHADOWED),
        after=row(policy_pb2.STAGE_CANARY, 10_000),
        policy_version=9,
        entry_sha256=bytes.fromhex("ab" * 32),
    )
    item.evidence.update(
        {"verdict": "READY", "votes": 120, "log_k": 4.2, "alpha": 0.05, "epoch": 1, "margin": 0.15}
        | {"lower_bound": -0.14, "approved_by": "demo", "histogram_sha256": "cd" * 32}
    )
    assert story.decision(item) == [
        "voice-domain: SHADOWED → CANARY 1%. parity is proven (decided by shadow)",
        "evidence: 120 votes, ln K 4.20 ≥ ln(1/α) = 3.69, E[D] ≥ -0.140, margin -0.15, approved by demo,"
        " histogram cdcdcdcdcdcd…",
        "journal entry 7, policy version 9, hash abababababab…",
    ]


def test_a_rollback_is_told_by_the_alarm_and_not_by_the_verdict_that_came_before() -> None:
    item = ledger_pb2.Decision(
        workload="voice-domain",
        before=row(policy_pb2.STAGE_HOME, 1_000_000),
        after=row(policy_pb2.STAGE_ROLLED_BACK),
    )
    item.evidence.update({"log_m": 11.9, "margin": 0.15, "votes": 300})
    assert story.decision(item)[1] == "evidence: ln M 11.9 ≥ ln 100,000 = 11.5, margin -0.15"


def test_a_verdict_that_stands_is_not_told_as_if_it_had_just_been_reached() -> None:
    item = ledger_pb2.Decision(
        before=row(policy_pb2.STAGE_SHADOWED), after=row(policy_pb2.STAGE_CANARY, 10_000)
    )
    item.evidence.update({"verdict": "READY", "log_k": 2.81, "alpha": 0.05, "epoch": 1})
    assert story.decision(item)[1] == "evidence: ln K 2.81, which was 3.69 before"


def test_what_keeps_a_workload_is_told_once_whatever_its_figures() -> None:
    told = story.Told()
    found = migration()
    found.blocks.append("CANARY 1% has lasted 2 s of 5 s")
    assert story.new_blocks(found, told) == ["CANARY 1% has lasted 2 s of 5 s"]
    found.blocks[:] = ["CANARY 1% has lasted 3 s of 5 s", "the cloud can't be reached"]
    assert story.new_blocks(found, told) == ["the cloud can't be reached"]


def test_the_alarm_is_told_when_it_has_come_a_step_nearer() -> None:
    told = story.Told()
    heard = [story.alarm(migration(log_m=log_m), told) for log_m in (0.5, 2.0, 2.5, 4.0, 3.0, 9.0)]
    assert [bool(line) for line in heard] == [False, True, False, True, False, True]
    assert story.alarm(migration(), story.Told()) == ""


def test_what_waits_is_what_nobody_has_counted_out() -> None:
    """Samples from before the first window were sent: they must not look like a backlog for good."""
    funnel = shadow_pb2.Funnel(eligible_count=90, sampled_count=60, sent_count=50, answered_count=20)
    for step, reason, count in (
        ("shed", "queue_full", 10),
        ("lost", "cap", 3),
        ("late", "late", 2),
        ("failed", "timeout", 4),
        ("ineligible", "api", 7),
        ("ineligible", "before_start", 15),
    ):
        funnel.losses.add(step=step, reason=reason, count=count)
    assert story.waiting(funnel) == 50 - 20 - 3 - 2 - 15
