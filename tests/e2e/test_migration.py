"""The end of `make run`'s tour: one workload moves home and back, another stays in the cloud."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import grpc
import pytest
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from tests.e2e.conftest import TOUR_S, Run, query

BOOKED_S = 30.0
pytestmark = pytest.mark.timeout(TOUR_S + 120)
VOICE, BANK = "voice-domain", "bank-intent"
WAY = ["SHADOWED", "CANARY 1%", "CANARY 5%", "CANARY 25%", "CANARY 50%", "HOME", "ROLLED_BACK"]
DECISION = re.compile(r"  \d:\d\d  (\S+): (\S.*) → (\S.*?)\. .*\(decided by (\S+)\)")
ENTRY = re.compile(r" {8}journal entry (\d+), policy version (\d+), hash ([0-9a-f]{12})…")
TRACE = re.compile(r" {8}(\S+): its first answer by (\S+) since then: http\S+/traces#([0-9a-f]{32})")


def decisions(run: Run, workload: str) -> list[ledger_pb2.Decision]:
    """The journal's, oldest first, without that which made the workload known."""
    with grpc.insecure_channel(run.environment["HOMEWARD_LEDGER__GRPC"]) as channel:
        listed = ledger_pb2_grpc.LedgerServiceStub(channel).ListDecisions(
            ledger_pb2.ListDecisionsRequest(workload=workload), timeout=10
        )
    return [item for item in reversed(listed.decisions) if item.actor != "settings"]


def migration(run: Run, workload: str) -> shadow_pb2.Migration:
    """Where a workload stands."""
    with grpc.insecure_channel(run.environment["HOMEWARD_SHADOW__GRPC"]) as channel:
        listed = shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
            shadow_pb2.ListMigrationsRequest(workload=workload), timeout=10
        )
    return listed.migrations[0]


def told(run: Run, workload: str) -> list[tuple[str, str]]:
    """The places that it was told to come to, and by whom."""
    found = [match for line in run.output.splitlines() if (match := DECISION.match(line))]
    return [(match[3], match[4]) for match in found if match[1] == workload]


def answered_within(run: Run, sql: str, expected: str) -> None:
    """Waits until ClickHouse, to which spans and legs come in batches, gives an answer."""
    deadline = time.monotonic() + BOOKED_S
    while (answer := query(run, sql)) != expected:
        assert time.monotonic() < deadline, f"{answer!r} is not {expected!r}: {sql}"
        time.sleep(0.2)


def test_the_workload_goes_all_the_way_home_and_rolls_itself_back(toured: Run) -> None:
    moves = told(toured, VOICE)
    assert [place for place, _ in moves] == WAY, toured.output
    assert {actor for _, actor in moves[1:]} <= {"shadow", "breaker", "demo"}
    assert moves[-1][1] in ("shadow", "breaker")
    assert toured.output.index("A bad release: Triton") < toured.output.index("→ ROLLED_BACK")
    assert f"homeward cutover {VOICE} --approve" in toured.output
    assert migration(toured, VOICE).policy.stage == policy_pb2.STAGE_ROLLED_BACK


def test_the_workload_whose_model_is_not_good_enough_stays_in_the_cloud(toured: Run) -> None:
    assert f"{BANK}: REJECTED" in toured.output
    assert [place for place, _ in told(toured, BANK)] == ["SHADOWED"]
    found = migration(toured, BANK)
    assert found.evidence.verdict == shadow_pb2.VERDICT_REJECTED
    assert found.policy.sovereign_share_ppm == 0
    # Its applications never got an answer of the model at home.
    at_home = (
        f"SELECT count() FROM homeward.legs WHERE workload = '{BANK}'"
        " AND purpose = 'production' AND target = 'sovereign'"
    )
    assert query(toured, at_home) == "0"


def test_no_request_of_an_application_failed(toured: Run) -> None:
    assert "; none failed" in toured.output


def test_each_step_has_its_journal_entry_and_its_trace(toured: Run) -> None:
    lines = toured.output.splitlines()
    entries = {int(match[1]): match for line in lines if (match := ENTRY.match(line))}
    booked = [*decisions(toured, VOICE), *decisions(toured, BANK)]
    assert set(entries) == {item.decision_id for item in booked}
    for item in booked:
        assert int(entries[item.decision_id][2]) == item.policy_version
        assert item.entry_sha256.hex().startswith(entries[item.decision_id][3])
    traces = [match for line in lines if (match := TRACE.match(line))]
    # Seven moves of the one; the other's start and its verdict.
    assert [match[2] for match in traces if match[1] == VOICE] == ["cloud", *["sovereign"] * 5, "cloud"]
    assert [match[2] for match in traces if match[1] == BANK] == ["cloud", "cloud"]
    ids = sorted({match[3] for match in traces})
    listed = ", ".join(f"'{item}'" for item in ids)
    answered_within(
        toured, f"SELECT uniqExact(TraceId) FROM otel.otel_traces WHERE TraceId IN ({listed})", str(len(ids))
    )
    # The traces of the comparison's start are of requests that were compared.
    shadowed = [next(match[3] for match in traces if match[1] == name) for name in (VOICE, BANK)]
    for trace_id in shadowed:
        legs = (
            "SELECT arrayStringConcat(arraySort(groupUniqArray(concat(purpose, ' ', target))), ', ')"
            f" FROM homeward.legs WHERE trace_id = '{trace_id}'"
        )
        answered_within(toured, legs, "noise cloud, production cloud, shadow sovereign")


def test_the_moves_home_rest_on_a_verdict_of_ready(toured: Run) -> None:
    for item in decisions(toured, VOICE)[1:-1]:
        assert item.evidence["verdict"] == "READY"


def test_the_windows_have_the_votes_that_the_decision_names(toured: Run) -> None:
    evidence = decisions(toured, VOICE)[1].evidence
    until = datetime.fromisoformat(evidence["window_start"])
    votes = [
        window.vote_count
        for window in migration(toured, VOICE).evidence.windows
        if window.start_time.ToDatetime(UTC) == until
    ]
    assert votes == [evidence["votes"]]
