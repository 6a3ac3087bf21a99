"""The journal: append-only, chained, and the same after a restart."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from services.common.errors import DomainError, Reason
from services.common.words import Stage
from services.ledger.adapters.journal import BrokenChainError, Decision, Journal
from services.ledger.core.policy import Change, Row


def decide(journal: Journal, workload: str, stage: Stage, **changed: object) -> Decision:
    after = Row(workload, stage)
    arguments = {
        "request_id": os.urandom(16),
        "expected_version": journal.policy.version,
        "actor": "test",
        "evidence": {"log_k": 3.2},
        "now_unix_us": 1_700_000_000_000_000,
        **changed,
    }
    return journal.decide(
        lambda policy: Change(workload, policy.rows.get(workload), after, "because"),
        **arguments,  # type: ignore[arg-type]
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_the_policy_after_a_restart_is_the_policy_of_before(file: Path) -> None:
    journal = Journal(file)
    for stage in (Stage.OBSERVED, Stage.SHADOWED, Stage.HOME):
        decide(journal, "a", stage)
    decide(journal, "b", Stage.OBSERVED)
    before = journal.policy
    journal.close()
    again = Journal(file)
    assert again.policy == before
    assert again.policy.version == 4
    again.close()


def test_a_decision_on_an_old_policy_is_refused_and_changes_nothing(file: Path) -> None:
    journal = Journal(file)
    decide(journal, "a", Stage.OBSERVED)
    with pytest.raises(DomainError) as refused:
        decide(journal, "a", Stage.HOME, expected_version=0)
    assert refused.value.reason is Reason.POLICY_CHANGED
    assert refused.value.metadata == {"expected_version": "0", "current_version": "1"}
    assert len(journal.decisions("", None, 10)) == 1
    journal.close()


def test_the_same_request_twice_is_one_decision(file: Path) -> None:
    journal = Journal(file)
    first = decide(journal, "a", Stage.OBSERVED, request_id=b"r" * 16)
    second = decide(journal, "a", Stage.OBSERVED, request_id=b"r" * 16)
    assert first == second
    assert journal.policy.version == 1
    journal.close()


def test_entries_are_read_newest_first_by_workload_and_page(file: Path) -> None:
    journal = Journal(file)
    for workload in "abab":
        decide(journal, workload, Stage.OBSERVED)
    assert [item.decision_id for item in journal.decisions("a", None, 10)] == [3, 1]
    assert [item.decision_id for item in journal.decisions("", 3, 1)] == [2]
    journal.close()


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE decision SET reason = 'another' WHERE decision_id = 2",
        "UPDATE decision SET decide_unix_us = 1 WHERE decision_id = 2",
        "DELETE FROM decision WHERE decision_id = 2",
        "UPDATE decision SET after = before WHERE decision_id = 2",
    ],
)
def test_a_journal_that_somebody_changed_does_not_open(file: Path, harm: str) -> None:
    journal = Journal(file)
    for stage in (Stage.OBSERVED, Stage.SHADOWED, Stage.HOME):
        decide(journal, "a", stage)
    journal.close()
    with sqlite3.connect(file) as db:
        db.execute(harm)
    db.close()
    with pytest.raises(BrokenChainError, match="journal entry"):
        Journal(file)
