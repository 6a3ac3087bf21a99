"""The store, on a real file: nothing twice, nothing forgotten, no text left behind."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.settings import SettingsError
from services.shadow.adapters.store import Count, Finished, Sample, Store
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.verdict import windows
from services.shadow.evidence import EvidenceCache
from tests.support.experiments import wanted

SECOND = 10**6
NOW = 1_000 * SECOND
WANTED = wanted("ticket-triage")
EXPERIMENT = registered(WANTED, None, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=NOW)
SECRET = b"the patient's name is Rumpelstilzchen"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "shadow.sqlite", 100)
    opened.add_experiment(EXPERIMENT, b"r" * 16)
    yield opened
    opened.close()


def sample(number: int = 1, at: int = NOW, **fields: Any) -> Sample:
    made = Sample(
        sample_id=number.to_bytes(16, "big"),
        experiment_id=EXPERIMENT.experiment_id,
        epoch=1,
        workload="ticket-triage",
        request_unix_us=at,
        cluster="",
        stratum="",
        payload=SECRET,
    )
    return replace(made, **fields)


def finished(of: Sample, lane: str = "", **fields: Any) -> Finished:
    made = Finished(
        sample_id=of.sample_id,
        lane=lane,
        experiment_id=of.experiment_id,
        epoch=of.epoch,
        workload=of.workload,
        request_unix_us=of.request_unix_us,
        arrival_unix_us=of.request_unix_us + SECOND,
        cluster=of.cluster,
        stratum=of.stratum,
        sovereign_millionths=1_000_000,
        noise_millionths=1_000_000,
        scorer="exact_match@1",
        language="de",
        features=("tools", "stop"),
        input_tokens=7,
        sovereign_leg_id=b"1" * 16,
        cloud_leg_id=b"2" * 16,
        noise_leg_id=b"3" * 16,
        trace_id="ab" * 16,
    )
    return replace(made, **fields)


def losses(store: Store) -> dict[tuple[str, str], int]:
    return dict(store.funnel(EXPERIMENT.experiment_id, 1).losses)


def late(_: Sample) -> str:
    return "not_asked"


def test_an_experiment_is_as_it_was_registered(store: Store, tmp_path: Path) -> None:
    second = registered(WANTED, EXPERIMENT, experiment_id=b"x" * 16, salt=b"t" * 16, now_unix_us=2 * NOW)
    assert store.add_experiment(second, b"q" * 16) == second
    again = replace(second, epoch=3)
    assert store.add_experiment(again, b"q" * 16) == second  # the request's id is known
    assert store.registered_by(b"q" * 16) == second
    assert store.registered_by(b"-" * 16) is None
    store.close()
    opened = Store(tmp_path / "shadow.sqlite", 100)
    assert opened.current("ticket-triage") == second
    assert opened.experiment(EXPERIMENT.experiment_id) == second
    assert opened.experiment(EXPERIMENT.experiment_id, 1) == EXPERIMENT
    assert opened.experiments() == [second, EXPERIMENT]
    assert opened.experiments("another") == []
    assert opened.current("another") is None
    opened.close()


def test_a_sample_is_taken_once_also_after_it_is_finished_or_lost(store: Store) -> None:
    first, second = sample(1), sample(2)
    assert store.take(first)
    assert not store.take(first)
    store.start([first.sample_id])
    assert store.pending(10) == [replace(first, started=True)]
    assert store.finish(first.sample_id, [finished(first), finished(first, "cloud")])
    assert not store.finish(first.sample_id, [finished(first)])
    assert not store.take(first)
    assert store.take(second)
    assert store.lose(second.sample_id, "cap", NOW)
    assert not store.lose(second.sample_id, "cap", NOW)
    assert not store.take(second)
    assert store.pending(10) == []
    rows = store.all_finished(0)
    assert [row for _, row in rows] == [finished(first), finished(first, "cloud")]
    assert store.finished(EXPERIMENT.experiment_id, 1, "cloud", rows[0][0]) == [rows[1]]
    assert losses(store) == {("lost", "cap"): 1}


def test_samples_come_oldest_first_without_those_in_hand(store: Store) -> None:
    for number, at in ((1, 30), (2, 10), (3, 20)):
        store.take(sample(number, NOW + at))
    store.take(sample(4, NOW, workload="other"))
    ids = [item.sample_id[-1] for item in store.pending(10, [sample(3).sample_id], ["other"])]
    assert ids == [2, 1]
    assert [item.sample_id[-1] for item in store.pending(2)] == [4, 2]


def test_what_finds_no_room_is_refused_and_may_come_again(store: Store) -> None:
    store.max_samples = 1
    store.take(sample(1))
    with pytest.raises(DomainError) as caught:
        store.take(sample(2))
    assert caught.value.reason is Reason.QUEUE_FULL
    assert (store.refused, store.waiting()) == (1, 1)
    store.lose(sample(1).sample_id, "cap", NOW)
    assert store.take(sample(2))


def test_what_nobody_registered_is_refused(store: Store) -> None:
    with pytest.raises(DomainError) as caught:
        store.take(sample(1, epoch=2))
    assert caught.value.reason is Reason.EXPERIMENT_NOT_FOUND


def test_a_window_closes_once_and_takes_no_more(store: Store) -> None:
    asked, never, next_window = sample(1), sample(2), sample(3, NOW + 10 * SECOND)
    for item in (asked, never, next_window):
        store.take(item)
    store.start([asked.sample_id])

    def outcome(item: Sample) -> list[Finished] | str:
        if not item.started:
            return "not_asked"
        return [finished(item, sovereign_millionths=None, arrival_unix_us=None, reason="late")]

    before = NOW + 10 * SECOND
    ended = store.close_windows(EXPERIMENT.experiment_id, 1, before, outcome, NOW + 15 * SECOND)
    assert sorted(ended) == [asked.sample_id, never.sample_id]
    assert store.close_windows(EXPERIMENT.experiment_id, 1, before, outcome, NOW + 15 * SECOND) == []
    assert store.pending(10) == [next_window]
    assert not store.finish(asked.sample_id, [finished(asked)])
    assert store.take(sample(4), NOW + 16 * SECOND)
    assert losses(store) == {("lost", "not_asked"): 1, ("lost", "late"): 1, ("late", "late"): 1}
    (triplet,) = store.triplets(EXPERIMENT.experiment_id, 1)
    assert triplet.agreement_sovereign is None


def test_started_can_be_taken_back(store: Store) -> None:
    store.take(sample(1))
    store.start([sample(1).sample_id])
    store.unstart([sample(1).sample_id])
    assert not store.pending(1)[0].started


def test_reports_of_routers_count_once(store: Store) -> None:
    counts = [
        Count(EXPERIMENT.experiment_id, 1, NOW, step, reason, count)
        for step, reason, count in (("eligible", "", 10), ("sampled", "", 4), ("shed", "queue", 1))
    ]
    assert store.add_traffic(b"a" * 16, 1, counts, NOW)
    assert not store.add_traffic(b"a" * 16, 1, counts, NOW)
    assert store.add_traffic(b"b" * 16, 1, counts[:1], NOW)
    assert store.add_traffic(b"a" * 16, 2, counts[:1], NOW)
    store.take(sample(1))
    store.finish(sample(1).sample_id, [finished(sample(1)), finished(sample(1), "cloud")])
    found = store.funnel(EXPERIMENT.experiment_id, 1)
    assert (found.eligible, found.sampled, found.answered, found.scored) == (30, 4, 1, 1)
    assert found.losses == {("shed", "queue"): 1}
    assert store.funnel(EXPERIMENT.experiment_id, 1, NOW + 1).eligible == 0


def test_counts_that_changed_come_again(store: Store) -> None:
    item = Count(EXPERIMENT.experiment_id, 1, NOW, "eligible", "", 5)
    store.add_traffic(b"a" * 16, 1, [item, replace(item, step="sampled")], NOW)
    known = store.counts(0, 10)
    assert [count.step for _, count in known] == ["eligible", "sampled"]
    assert store.counts(known[-1][0], 10) == []
    store.add_traffic(b"a" * 16, 2, [item], NOW)
    ((_, changed),) = store.counts(known[-1][0], 10)
    assert changed == replace(item, count=10)


def test_small_states(store: Store) -> None:
    assert store.get_state("detector") is None
    store.set_state("detector", b"1")
    store.set_state("detector", b"2")
    assert store.get_state("detector") == b"2"


def test_no_text_is_left_in_any_file(store: Store, tmp_path: Path) -> None:
    """Of all sizes, in any order, with others that stay: pages are split and merged on the way."""
    rng = random.Random(5)
    store.max_samples = 10_000
    gone, kept = [], []
    for number in range(300):
        secret = b"<%06d>" % number
        payload = secret * rng.choice([1, 3, 20, 90, 400, 1_500])
        store.take(sample(number, NOW + number, payload=payload))
        if rng.random() < 0.9:
            gone.append(number)
        else:
            kept.append(number)

    def content() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    written = content()
    assert all(b"<%06d>" % number in written for number in gone)  # else this looks at the wrong place
    rng.shuffle(gone)
    for number in gone:
        if number % 2:
            store.finish(sample(number).sample_id, [finished(sample(number))])
        else:
            store.lose(sample(number).sample_id, "cap", NOW)
    store.forget()
    left = content()
    assert [number for number in gone if b"<%06d>" % number in left] == []
    assert all(b"<%06d>" % number in left for number in kept)


def test_a_sample_that_was_taken_survives_the_process(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from tests.unit.shadow.adapters.test_store import *\n"
        "store = Store(Path(sys.argv[1]), 100)\n"
        "store.add_experiment(EXPERIMENT, b'r' * 16)\n"
        "store.take(sample(1)); store.take(sample(2)); store.start([sample(2).sample_id])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    file = tmp_path / "shadow.sqlite"
    ended = subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    assert ended.returncode == -signal.SIGKILL
    opened = Store(file, 100)
    assert [(item.sample_id[-1], item.started) for item in opened.pending(10)] == [(1, False), (2, True)]
    opened.close()


def test_the_file_is_for_its_user_alone(store: Store, tmp_path: Path) -> None:
    store.take(sample(1))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    broken, newer = tmp_path / "broken.sqlite", tmp_path / "newer.sqlite"
    broken.write_bytes(os.urandom(8_192))
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for file in (broken, newer):
        with pytest.raises(SettingsError, match="state_dir"):
            Store(file, 1)


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "start", "finish", "lose", "close", "look"]),
        st.integers(0, 11),
        st.integers(0, 60 * SECOND),
        st.sampled_from([0, 250_000, 1_000_000, None]),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps)
def test_live_evidence_is_what_a_replay_of_the_export_finds(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, int, int | None]]
) -> None:
    """Whatever happens in whatever order, looked at in between or not."""
    store = Store(tmp_path_factory.mktemp("store") / "shadow.sqlite", 100)
    experiment: Experiment = store.add_experiment(EXPERIMENT, b"r" * 16)
    watched, now = EvidenceCache(store), NOW
    by_number: dict[int, Sample] = {}

    def outcome(item: Sample) -> list[Finished] | str:
        if not item.started:
            return "not_asked"
        return [finished(item, sovereign_millionths=None, arrival_unix_us=None)]

    for what, number, offset, millionths in script:
        if what == "take":
            item = by_number.setdefault(number, sample(number, NOW + offset, cluster="c" * (number % 3)))
            store.take(item, now)
        elif what == "start":
            store.start([sample(number).sample_id])
        elif what == "finish" and number in by_number:
            item = by_number[number]
            arrival = max(now, item.request_unix_us + offset)
            row = finished(item, sovereign_millionths=millionths, arrival_unix_us=arrival)
            store.finish(item.sample_id, [row])
        elif what == "lose":
            store.lose(sample(number).sample_id, "cap", now)
        elif what == "close":
            now = max(now, NOW + offset)
            store.close_windows(experiment.experiment_id, 1, experiment.closed_before(now), outcome, now)
        elif what == "look":
            watched.of(experiment, "")
    found = watched.of(experiment, "")
    exported = store.triplets(experiment.experiment_id, 1)
    closed_by = store.closed_before(experiment.experiment_id, 1) + WANTED.watermark_us
    assert found.windows == windows(exported, experiment.rules, closed_by)
    assert EvidenceCache(store).of(experiment, "").windows == found.windows  # as after a restart
    taken = store.funnel(experiment.experiment_id, 1)
    assert len(exported) + taken.lost("lost") + store.waiting() == len(by_number)
    store.close()


def test_the_log_is_not_cut_while_somebody_reads_and_says_so(store: Store, tmp_path: Path) -> None:
    """A backup holds a state of the file; what was deleted is in the log until it has ended."""
    store.take(sample(1, payload=SECRET), NOW)
    with closing(sqlite3.connect(tmp_path / "shadow.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN").execute("SELECT count(*) FROM sample").fetchall()
        store.pass_over(sample(2), "ineligible", "before_start", NOW)
        assert not store.forget()
        reader.execute("COMMIT")
    assert store.forget()
    assert (tmp_path / "shadow.sqlite-wal").stat().st_size == 0
