"""Examples in the store, on a real file: never without leave, never for longer, and no text left behind."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.shadow.adapters.store import Example, Finished, KeptExample, Sample, Store
from services.shadow.core.examples import DAY_US, Keeping, Standing, sha256
from services.shadow.core.experiment import registered
from tests.support.experiments import wanted

SECOND = 10**6
NOW = 1_000 * SECOND
LIMIT = 3
WANTED = wanted("triage")
FIRST = registered(WANTED, None, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=NOW)
SECOND_EPOCH = registered(WANTED, FIRST, experiment_id=b"e" * 16, salt=b"t" * 16, now_unix_us=NOW)
KEEPING = Keeping({"triage": 2}, per_epoch=LIMIT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "shadow.sqlite", 10_000)
    opened.add_experiment(FIRST, b"1" * 16)
    opened.add_experiment(SECOND_EPOCH, b"2" * 16)
    yield opened
    opened.close()


def secret(number: int) -> bytes:
    return b"<secret %06d>" % number


def keep(
    store: Store,
    number: int,
    difference: int = -1_000_000,
    *,
    at: int = NOW,
    epoch: int = 1,
    lane: str = "",
    length: int = 1,
) -> None:
    """Takes a sample and finishes it with an example."""
    sample_id, texts = number.to_bytes(16, "big"), secret(number) * length
    store.take(Sample(sample_id, FIRST.experiment_id, epoch, "triage", NOW, "", "", b"request " + texts))
    row = Finished(
        sample_id=sample_id,
        lane=lane,
        experiment_id=FIRST.experiment_id,
        epoch=epoch,
        workload="triage",
        request_unix_us=NOW,
        arrival_unix_us=NOW,
        cluster="",
        stratum="",
        sovereign_millionths=1_000_000 + difference,
        noise_millionths=1_000_000,
        scorer="exact_match@1",
        features=("tools", "stop"),
        trace_id="ab" * 16,
    )
    example = Example(
        standing=Standing(difference, sample_id),
        experiment_id=FIRST.experiment_id,
        epoch=epoch,
        workload="triage",
        lane=lane,
        keep_unix_us=at,
        expire_unix_us=KEEPING.expires("triage", at),
        texts=texts,
        texts_sha256=sha256(texts),
    )
    assert store.finish(sample_id, [row], example, LIMIT)


def told(store: Store, now: int = NOW, *, epoch: int = 0, deleted: bool = False) -> list[KeptExample]:
    return store.examples("triage", epoch, now, offset=0, limit=100, with_deleted=deleted)


def numbers(found: list[KeptExample]) -> list[int]:
    return [int.from_bytes(item.triplet.sample_id, "big") for item in found]


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_the_worst_of_each_epoch_and_lane_are_kept(store: Store) -> None:
    for number, difference in ((1, -500_000), (2, -1_000_000), (3, -200_000), (4, -700_000), (5, -100_000)):
        keep(store, number, difference)
    keep(store, 6, -1, epoch=2)
    keep(store, 7, -1, lane="after")
    found = told(store)
    assert numbers(found) == [2, 4, 1, 6, 7]
    assert [item.texts for item in found] == [secret(number) for number in numbers(found)]
    assert found[0].triplet.trace_id == "ab" * 16
    assert found[0].triplet.features == ("tools", "stop")
    assert numbers(told(store, epoch=2)) == [6]
    assert store.examples("another", 0, NOW, offset=0, limit=9, with_deleted=True) == []
    assert numbers(store.examples("triage", 0, NOW, offset=1, limit=2, with_deleted=False)) == [4, 1]
    # The one that had a place for a while has its hash, and why it went; the one that never had has nothing.
    gone = [item for item in told(store, deleted=True) if item.texts is None]
    assert numbers(gone) == [3]
    assert (gone[0].texts_sha256, gone[0].delete_reason) == (sha256(secret(3)), "replaced")


def test_what_has_expired_is_told_no_more_and_then_deleted(store: Store, tmp_path: Path) -> None:
    keep(store, 1)
    keep(store, 2, at=NOW + DAY_US)
    end = NOW + 2 * DAY_US
    assert numbers(told(store, end - 1)) == [1, 2]
    assert numbers(told(store, end)) == [2]
    before = told(store, end, deleted=True)[0]
    assert (before.texts, before.delete_reason, before.delete_unix_us) == (None, "expired", end)
    assert secret(1) in content(tmp_path)
    assert store.sweep_examples(KEEPING, end)
    assert not store.sweep_examples(KEEPING, end)
    store.forget()
    left = content(tmp_path)
    assert secret(1) not in left
    assert secret(2) in left
    assert told(store, end, deleted=True)[0] == before
    # A new one has the place of what has expired, also if that was worse.
    keep(store, 3, -1, at=end)
    assert numbers(told(store, end)) == [2, 3]


@pytest.mark.parametrize(
    ("keeping", "left"),
    [
        (KEEPING, [1, 2, 3]),
        (replace(KEEPING, days={"triage": 90}), [1, 2, 3]),
        (replace(KEEPING, days={"triage": 1}), [2, 3]),
        (replace(KEEPING, per_epoch=2), [1, 2]),
        (replace(KEEPING, days={"triage": 0}), []),
        (Keeping(), []),
    ],
    ids=["the-same", "longer", "shorter", "fewer", "none", "class-gone"],
)
def test_settings_that_keep_less_delete_at_the_next_start(
    store: Store, tmp_path: Path, keeping: Keeping, left: list[int]
) -> None:
    for number in (1, 2, 3):
        keep(store, number, at=NOW + (number - 1) * SECOND)
    store.close()
    now = NOW + DAY_US
    again = Store(tmp_path / "shadow.sqlite", 100)
    assert again.sweep_examples(keeping, now) is (len(left) < 3)
    again.forget()
    assert numbers(told(again, now)) == left
    assert [number for number in (1, 2, 3) if secret(number) in content(tmp_path)] == left
    assert {item.delete_reason for item in told(again, now, deleted=True) if item.texts is None} <= {
        "settings"
    }
    # More days hold for what is kept from then on.
    assert numbers(told(again, NOW + 2 * DAY_US + 3 * SECOND)) == []
    again.close()


def test_no_text_is_left_in_any_file(store: Store, tmp_path: Path) -> None:
    """Of all sizes, replaced by worse ones in between, with others that stay."""
    rng = random.Random(7)
    for number in range(200):
        keep(store, number, -rng.randrange(1, 10**6), length=rng.choice([1, 30, 400, 1_500]))
    staying = numbers(told(store))
    store.forget()
    left = content(tmp_path)
    assert [number for number in range(200) if secret(number) in left] == sorted(staying)


def test_a_store_of_the_version_before_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "shadow.sqlite"
    old = Store(file, 10)
    old.add_experiment(FIRST, b"1" * 16)
    old.close()
    with sqlite3.connect(file) as db:
        db.executescript("DROP TABLE example; PRAGMA user_version = 1;")
    db.close()
    again = Store(file, 10)
    assert again.current("triage") == FIRST
    keep(again, 1)
    assert numbers(told(again)) == [1]
    again.close()


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_store_examples as here
from services.shadow.adapters.store import samples
real = samples.keep_example

def killed(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

store = here.Store(Path(sys.argv[1]), 100)
here.keep(store, 1)
samples.keep_example = killed
here.keep(store, 2)
"""


def test_a_process_that_dies_leaves_the_sample_or_the_example(store: Store, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "shadow.sqlite"), str(Path(__file__).parent)],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert numbers(told(store)) == [1]
    (waiting,) = store.pending(9)
    assert waiting.sample_id == (2).to_bytes(16, "big")
    assert store.finish(waiting.sample_id, [])
    store.forget()
    assert secret(2) not in content(tmp_path)
