"""Shipping: whatever fails and when, each row ends up in the book as the store has it, and nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.settings import ClickHouse
from services.shadow import shipping
from services.shadow.adapters.clickhouse import Book, ClosedWindow
from services.shadow.adapters.store import Count, Finished, Sample, Store
from services.shadow.core.experiment import Experiment
from services.shadow.core.verdict import Window, windows
from services.shadow.shipping import COUNTS, TRIPLETS, Shipping

NOBODY = ClickHouse(url="http://127.0.0.1:1", user="homeward", password="none")
SECOND_US = 10**6
ID = bytes(range(16))
EXPERIMENT = Experiment(
    experiment_id=ID,
    workload="ticket-triage",
    scorer="exact_match@1",
    margin=0.2,
    alpha=0.05,
    window_us=10 * SECOND_US,
    watermark_us=SECOND_US,
    min_windows=1,
    strata=(),
    stratum_values=(),
    rate_ppm=100_000,
    reverse_rate_ppm=10_000,
    daily_cost_cap_nanos=0,
    cluster_by="conversation",
    epoch=1,
    register_unix_us=0,
    start_unix_us=0,
    salt=bytes(16),
)


class Tables(Book):
    """Tables that replace rows by their keys, as ClickHouse's do, behind a connection that may break."""

    def __init__(self) -> None:
        super().__init__(NOBODY)
        self.rows: dict[Any, Any] = {}
        self.inserts = 0
        self.fail_before: set[int] = set()
        self.fail_after: set[int] = set()

    def connect(self) -> None:
        """There is nothing to connect to."""

    def add_triplets(self, rows: Sequence[Finished]) -> None:
        self._put({(row.sample_id, row.lane): row for row in rows})

    def add_counts(self, rows: Sequence[tuple[Count, str]]) -> None:
        found = {
            (row.experiment_id, row.epoch, row.minute_unix_us, row.step, row.reason, workload): row.count
            for row, workload in rows
        }
        self._put({key: max(count, self.rows.get(key, 0)) for key, count in found.items()})

    def add_windows(self, rows: Sequence[ClosedWindow]) -> None:
        self._put({(row.lane, row.window.start_unix_us): row.window for row in rows})

    def _put(self, rows: dict[Any, Any]) -> None:
        self.inserts += 1
        if self.inserts in self.fail_before:
            raise OSError("the connection broke")
        self.rows.update(rows)
        if self.inserts in self.fail_after:
            raise OSError("the answer was lost")


def finish(store: Store, number: int) -> Finished:
    """Takes and finishes a sample."""
    sample_id = number.to_bytes(16, "big")
    sample = Sample(sample_id, ID, 1, "ticket-triage", number * SECOND_US, "", "", b"text")
    row = Finished(
        sample_id=sample_id,
        lane="",
        experiment_id=ID,
        epoch=1,
        workload="ticket-triage",
        request_unix_us=sample.request_unix_us,
        arrival_unix_us=sample.request_unix_us,
        cluster="",
        stratum="",
        sovereign_millionths=10**6,
        noise_millionths=10**6,
        scorer="exact_match@1",
    )
    assert store.take(sample)
    assert store.finish(sample_id, [row])
    return row


def evidence(store: Store, lane: str) -> list[Window]:
    """All windows."""
    return windows(store.triplets(ID, 1, lane), EXPERIMENT.rules)


@settings(max_examples=40)
@given(
    rounds=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=6),
    before=st.sets(st.integers(1, 20)),
    after=st.sets(st.integers(1, 20)),
)
def test_each_row_is_in_the_book_once_and_as_it_is_now(
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[tuple[int, int]],
    before: set[int],
    after: set[int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipping, "BATCH_ROWS", 3)
        store = Store(tmp_path_factory.mktemp("shipping") / "shadow.sqlite", 100)
        store.add_experiment(EXPERIMENT, ID)
        tables = Tables()
        tables.fail_before, tables.fail_after = before, after
        thread = Shipping(store, tables, lambda _, lane: evidence(store, lane), clock=lambda: 10**6)
        expected: dict[Any, Any] = {}
        number = 0
        for sequence, (samples, minutes) in enumerate(rounds, start=1):
            for _ in range(samples):
                number += 1
                row = finish(store, number)
                expected[row.sample_id, ""] = row
            counts = [
                Count(ID, 1, minute * 60 * SECOND_US, "sent", "", sequence) for minute in range(minutes)
            ]
            store.add_traffic(ID, sequence, counts, 0)
            for item in counts:
                key = (ID, 1, item.minute_unix_us, "sent", "", "ticket-triage")
                expected[key] = expected.get(key, 0) + item.count
            try:
                thread.ship()
            except OSError:
                continue
        tables.fail_before = tables.fail_after = set()
        thread.ship()
        # A window that grew after it was sent has not closed; here all samples come before all closes.
        shown = {key: row for key, row in tables.rows.items() if not isinstance(row, Window)}
        assert shown == expected
        inserts = tables.inserts
        assert thread.ship() == 0
        assert tables.inserts == inserts
        store.close()


def test_nothing_waits_for_a_clickhouse_that_is_away(tmp_path: Path) -> None:
    store = Store(tmp_path / "shadow.sqlite", 100)
    store.add_experiment(EXPERIMENT, ID)
    thread = Shipping(store, Book(NOBODY), lambda _, lane: evidence(store, lane))
    thread.start()
    finish(store, 1)
    store.add_traffic(ID, 1, [Count(ID, 1, 0, "sent", "", 1)], 0)
    thread.close(30)
    assert "shipping" not in {item.name for item in threading.enumerate()}
    # It is all still to be sent.
    assert (store.get_state(TRIPLETS), store.get_state(COUNTS)) == (None, None)
    store.close()


def test_what_waits_is_sent_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "INTERVAL_S", 3600)
    store = Store(tmp_path / "shadow.sqlite", 100)
    store.add_experiment(EXPERIMENT, ID)
    tables = Tables()
    thread = Shipping(store, tables, lambda _, lane: evidence(store, lane), clock=lambda: 0)
    row = finish(store, 1)
    thread.start()
    thread.close(30)
    assert tables.rows == {(row.sample_id, ""): row}
    store.close()


def test_evidence_that_can_not_be_reckoned_holds_back_no_triplet(tmp_path: Path) -> None:
    def broken(_: Experiment, lane: str) -> list[Window]:
        raise ZeroDivisionError(lane)

    store = Store(tmp_path / "shadow.sqlite", 100)
    store.add_experiment(EXPERIMENT, ID)
    tables = Tables()
    thread = Shipping(store, tables, broken, clock=lambda: 10**6)
    row = finish(store, 1)
    with pytest.raises(ZeroDivisionError):
        thread.ship()
    assert tables.rows == {(row.sample_id, ""): row}
    store.close()
