"""The decisions: append-only, chained, the same after a restart, and one policy over all ledgers."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.sampling import Sampling
from services.common.words import Stage, Target
from services.ledger.adapters.journal.database import BrokenChainError, Database
from services.ledger.adapters.journal.decisions import Decision, Decisions
from services.ledger.core.policy import Change, Row
from tests.support.journal import tamper

BEFORE_HEADS = Path(__file__).parent / "decisions_before_heads.sql"
"""A dump of a file that the version without heads has written."""
STAGES = (Stage.OBSERVED, Stage.SHADOWED, Stage.HOME)


def decide(
    journal: Decisions,
    workload: str,
    stage: Stage = Stage.OBSERVED,
    sampling: Sampling | None = None,
    **changed: Any,
) -> Decision:
    after = Row(workload, stage, sampling=sampling)
    arguments = {
        "request_id": os.urandom(16),
        "expected_version": journal.policy.version,
        "actor": "test",
        "evidence": {"log_k": 3.2},
        "now_unix_us": 1_700_000_000_000_000,
        **changed,
    }
    return journal.decide(
        lambda policy: Change(workload, policy.rows.get(workload), after, changed.get("why", "because")),
        **{name: value for name, value in arguments.items() if name != "why"},
    )


@contextmanager
def opened(url: str) -> Iterator[Decisions]:
    with closing(Database(url)) as database:
        yield Decisions(database)


def test_the_policy_after_a_restart_is_the_policy_of_before(database_url: str) -> None:
    with opened(database_url) as journal:
        for stage in STAGES:
            decide(journal, "a", stage)
        decide(journal, "b", now_unix_us=1_700_000_000_000_009)
        before = journal.policy
    with opened(database_url) as again:
        assert again.policy == before
        assert again.policy.version == 4
        assert again.policy_unix_us == 1_700_000_000_000_009


def test_a_row_keeps_its_sampling_over_a_restart(database_url: str) -> None:
    sampling = Sampling(bytes(range(16)), 3, 20_000, bytes(range(240, 256)), reversed=True)
    with opened(database_url) as journal:
        decide(journal, "a", Stage.CANARY, sampling=sampling)
        decide(journal, "b")
        decide(journal, "a", Stage.ROLLED_BACK)
    with opened(database_url) as again:
        last, _, first = again.decisions("", None, 10)
        assert first.change.after == last.change.before == Row("a", Stage.CANARY, sampling=sampling)
        assert last.change.after == again.policy.rows["a"] == Row("a", Stage.ROLLED_BACK)


@pytest.mark.parametrize(
    "harm",
    [
        """REPLACE(after, '"epoch": 1', '"epoch": 2')""",
        """REPLACE(after, '"rate_ppm": 20000', '"rate_ppm": 20001')""",
        "REPLACE(after, '6565', '6566')",
    ],
)
def test_a_sampling_that_somebody_changed_is_noticed(database_url: str, harm: str) -> None:
    with opened(database_url) as journal:
        decide(journal, "a", Stage.SHADOWED, sampling=Sampling(b"e" * 16, 1, 20_000, b"s" * 16))
    tamper(database_url, f"UPDATE decision SET after = {harm}")
    with pytest.raises(BrokenChainError, match="entry 1 is not"), opened(database_url):
        pass


def test_a_decision_on_an_old_policy_is_refused_and_changes_nothing(database_url: str) -> None:
    with opened(database_url) as journal:
        decide(journal, "a")
        with pytest.raises(DomainError) as refused:
            decide(journal, "a", Stage.HOME, expected_version=0)
        assert refused.value.reason is Reason.POLICY_CHANGED
        assert refused.value.metadata == {"expected_version": "0", "current_version": "1"}
        assert len(journal.decisions("", None, 10)) == 1


def test_the_same_request_twice_is_one_decision(database_url: str) -> None:
    with opened(database_url) as journal:
        first = decide(journal, "a", request_id=b"r" * 16)
        second = decide(journal, "a", request_id=b"r" * 16)
        assert first == second
        assert journal.policy.version == 1


def test_a_change_that_is_refused_leaves_the_policy(database_url: str) -> None:
    def refuse(_: object) -> Change:
        raise DomainError(Reason.WORKLOAD_NOT_FOUND, "no")

    with opened(database_url) as journal:
        with pytest.raises(DomainError):
            journal.decide(
                refuse, request_id=b"r" * 16, expected_version=0, actor="a", evidence={}, now_unix_us=1
            )
        assert journal.policy.version == 0
        assert decide(journal, "a", request_id=b"r" * 16).decision_id == 1


@pytest.mark.parametrize("field", ["actor", "why", "workload"])
def test_a_text_that_postgresql_cannot_keep_is_refused_by_name(database_url: str, field: str) -> None:
    with opened(database_url) as journal:
        changed = {} if field == "workload" else {field: "nul\0"}
        with pytest.raises(DomainError) as refused:
            decide(journal, "nul\0" if field == "workload" else "a", **changed)
        assert refused.value.reason is Reason.INVALID_REQUEST
        assert refused.value.metadata["field"] == {"why": "reason"}.get(field, field)
        assert journal.decisions("", None, 10) == []


def test_entries_are_read_newest_first_by_workload_and_page(database_url: str) -> None:
    with opened(database_url) as journal:
        for workload in "abab":
            decide(journal, workload)
        assert [item.decision_id for item in journal.decisions("a", None, 10)] == [3, 1]
        assert [item.decision_id for item in journal.decisions("", 3, 1)] == [2]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("UPDATE decision SET reason = 'another' WHERE decision_id = 2", "entry 2 is not"),
        ("UPDATE decision SET actor = 'another' WHERE decision_id = 2", "entry 2 is not"),
        ("UPDATE decision SET workload = 'another' WHERE decision_id = 3", "entry 3 is not"),
        ("UPDATE decision SET decide_unix_us = 1 WHERE decision_id = 2", "entry 2 is not"),
        ("UPDATE decision SET evidence = '{}' WHERE decision_id = 1", "entry 1 is not"),
        ("UPDATE decision SET policy_version = 9 WHERE decision_id = 3", "entry 3 is not"),
        ("UPDATE decision SET request_id = entry_sha256 WHERE decision_id = 1", "entry 1 is not"),
        ("UPDATE decision SET entry_sha256 = request_id WHERE decision_id = 1", "entry 1 is not"),
        ("UPDATE decision SET after = before WHERE decision_id = 2", "entry 2 is not"),
        ("UPDATE decision SET before = after WHERE decision_id = 2", "entry 2 is not"),
        ("UPDATE decision SET decision_id = 7 WHERE decision_id = 3", "entry 7 is not"),
        ("DELETE FROM decision WHERE decision_id = 2", "entry 3 is not"),
        ("DELETE FROM decision WHERE decision_id = 3", "last entry should be 3"),
        ("DELETE FROM decision", "last entry should be 3"),
        ("UPDATE chain_head SET last_id = 4", "last entry should be 4"),
        (
            "UPDATE chain_head SET last_sha256 = (SELECT request_id FROM decision WHERE decision_id = 1)",
            "taken",
        ),
    ],
)
def test_a_journal_that_somebody_changed_does_not_open(database_url: str, harm: str, named: str) -> None:
    with opened(database_url) as journal:
        for stage in STAGES:
            decide(journal, "a", stage)
    tamper(database_url, harm)
    with pytest.raises(BrokenChainError, match=named), opened(database_url):
        pass


@pytest.mark.parametrize(
    "harm",
    [
        ["DELETE FROM decision WHERE decision_id = 4"],
        ["UPDATE decision SET actor = 'another' WHERE decision_id = 4"],
        ["DELETE FROM chain_head"],
        # As a database that was put back to yesterday's copy.
        [
            "UPDATE chain_head SET last_id = 2, last_sha256 ="
            " (SELECT entry_sha256 FROM decision WHERE decision_id = 2)",
            "DELETE FROM decision WHERE decision_id > 2",
        ],
    ],
)
def test_a_ledger_does_not_go_on_from_a_chain_that_is_another(database_url: str, harm: list[str]) -> None:
    with opened(database_url) as journal, opened(database_url) as other:
        for stage in STAGES:
            decide(journal, "a", stage)
        other.refresh()
        decide(journal, "b")
        tamper(database_url, *harm)
        with pytest.raises(BrokenChainError):
            other.refresh()
        with pytest.raises(BrokenChainError):
            decide(other, "c")
        assert other.policy.version == 3


def test_a_ledger_learns_what_another_has_decided(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        assert not second.refresh()
        decide(first, "a")
        decide(first, "b", Stage.SHADOWED, now_unix_us=1_700_000_000_000_007)
        assert second.policy.version == 0
        assert second.refresh()
        assert (second.policy, second.policy_unix_us) == (first.policy, 1_700_000_000_000_007)
        assert not second.refresh()


def test_a_ledger_decides_on_what_another_has_decided_and_not_on_what_it_knew(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        decide(first, "a")
        with pytest.raises(DomainError) as refused:
            decide(second, "a", Stage.HOME)
        assert refused.value.metadata == {"expected_version": "0", "current_version": "1"}
        # What it met while it was refused is news still, for those who watch it.
        assert second.refresh()
        made = decide(second, "a", Stage.HOME)
        assert (made.decision_id, made.policy_version) == (2, 2)
        assert made.change.before == first.policy.rows["a"]
        decide(first, "b", expected_version=2)
        assert first.policy.version == 3
        assert first.policy.rows["a"].stage is Stage.HOME


def test_a_request_that_another_ledger_has_met_is_answered_with_its_decision(database_url: str) -> None:
    with opened(database_url) as first, opened(database_url) as second:
        made = decide(first, "a", request_id=b"r" * 16)
        assert decide(second, "a", request_id=b"r" * 16, expected_version=0) == made
        assert second.policy == first.policy


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from(Stage), st.integers(0, 1)),
        max_size=12,
    )
)
def test_whoever_decides_there_is_one_line_of_versions(
    new_journal: Callable[[], str], steps: list[tuple[int, str, Stage, int]]
) -> None:
    url = new_journal()
    with opened(url) as one, opened(url) as two, opened(url) as three:
        version, rows = 0, {}
        for who, workload, stage, behind in steps:
            ledger = (one, two, three)[who]
            if behind:
                with pytest.raises(DomainError) as refused:
                    decide(ledger, workload, stage, expected_version=version - 1)
                assert refused.value.reason is Reason.POLICY_CHANGED
            else:
                decide(ledger, workload, stage, expected_version=version)
                version, rows[workload] = version + 1, Row(workload, stage)
                assert (ledger.policy.version, ledger.policy.rows) == (version, rows)
        with opened(url) as again:
            assert (again.policy.version, again.policy.rows) == (version, rows)
            found = again.decisions("", None, 100)
            assert [item.decision_id for item in found] == list(range(version, 0, -1))


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    file = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(BEFORE_HEADS.read_text())
    return file


def test_a_file_of_the_version_without_heads_is_read_and_goes_on(old_file: Path) -> None:
    url = f"sqlite:///{old_file}"
    with opened(url) as journal:
        assert journal.policy.version == 4
        assert journal.policy_unix_us == 1_700_000_000_000_003
        row = Row("ticket-triage", Stage.CANARY, 50_000, (Target.SOVEREIGN,), ("eu",), False)
        assert journal.policy.rows["ticket-triage"] == row
        assert journal.decisions("ticket-triage", 3, 1)[0].change.reason == "Zürich says: ready"
        assert journal.decisions("", None, 1)[0].evidence == {"log_k": 3.25, "n": 400, "note": "ß"}
        assert journal.decisions("notes", None, 1)[0].change.after == Row(
            "notes", Stage.OBSERVED, 0, (Target.SOVEREIGN,), ("eu",), False
        )
        assert decide(journal, "notes", Stage.SHADOWED).decision_id == 5
    # What has no sampling is written as that version wrote it, and so can read it.
    with closing(sqlite3.connect(old_file)) as db:
        old, new = (
            json.loads(text)
            for (text,) in db.execute("SELECT after FROM decision WHERE decision_id IN (4, 5) ORDER BY 1")
        )
    assert old.keys() == new.keys()
    # From now on its end can't be taken away unseen.
    tamper(url, "DELETE FROM decision WHERE decision_id = 5")
    with pytest.raises(BrokenChainError, match="last entry should be 5"), opened(url):
        pass


def test_what_the_version_without_heads_has_appended_meanwhile_is_taken_over(old_file: Path) -> None:
    url = f"sqlite:///{old_file}"
    with closing(sqlite3.connect(old_file)) as db:
        kept = db.execute("SELECT * FROM decision WHERE decision_id > 2").fetchall()
        db.execute("DELETE FROM decision WHERE decision_id > 2")
        db.commit()
        with opened(url) as journal:
            assert journal.policy.version == 2
        db.executemany(f"INSERT INTO decision VALUES ({', '.join('?' * 11)})", kept)
        db.commit()
    for _ in range(2):
        with opened(url) as journal:
            assert journal.policy.version == 4
