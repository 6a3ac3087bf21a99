"""What is remembered of unnamed requests: the newest, across restarts, and no text that may not be kept."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from services.classifier.adapters import traffic_store
from services.classifier.adapters.traffic_store import FILE, QUEUE_REQUESTS, TrafficStore
from services.classifier.core.traffic import Sighting, remembered
from services.common.errors import DomainError, Reason
from services.common.seen import Seen, cut
from services.common.settings import SettingsError
from services.common.words import TaskType

SECRET = "the zebra's password is xylophone"
ALL = 1_000_000


def sighting(number: int, seen: Seen | None = None) -> Sighting:
    embedding = np.random.default_rng(number).normal(size=384).astype(np.float32)
    return Sighting(
        request_id=number.to_bytes(16, "big"),
        time_unix_us=1_764_000_000_000_000 + number,
        key_name="crm",
        seen=seen or cut(f"Sort the tickets of {number} customers by topic.", [f"{SECRET} {number}"]),
        embedding=embedding / np.linalg.norm(embedding),
        task_type=TaskType.EXTRACTION,
        task_type_confidence=0.75,
    )


@contextmanager
def store(folder: Path, *, keep_prompts: bool = True, max_requests: int = ALL) -> Iterator[TrafficStore]:
    opened = TrafficStore(folder, max_requests=max_requests, keep_prompts=keep_prompts)
    try:
        yield opened
    finally:
        opened.close()


def numbers(opened: TrafficStore) -> list[int]:
    return [int.from_bytes(item.request_id, "big") for item in opened.recent()]


@pytest.mark.parametrize("keep_prompts", [True, False])
@pytest.mark.parametrize(
    "seen",
    [
        cut("Sort the tickets of Contoso by topic.", ["Where is it?"], tool_names=["b", "a"]),
        cut("", ["one two three four five six seven eight nine ten eleven twelve"]),
        cut("", ["ünïcode 😀 \0"], response_schema='{"type": "object"}', input_chars=9_000_000_000),
        Seen("half \ud800 a pair " + "of words that go on and on, " * 30, ("\ud800",), (), "", 3),
        Seen(),
    ],
)
def test_what_was_remembered_is_the_same_after_a_restart(
    tmp_path: Path, seen: Seen, keep_prompts: bool
) -> None:
    with store(tmp_path, keep_prompts=keep_prompts) as opened:
        opened.add(sighting(7, seen))
    with store(tmp_path, keep_prompts=keep_prompts) as opened:
        (found,) = opened.recent()
    known = remembered(sighting(7, seen), keep_prompts=keep_prompts)
    for field in found.__slots__:
        np.testing.assert_array_equal(getattr(found, field), getattr(known, field), field)
    assert (found.seen is not None) is keep_prompts


def test_recent_has_what_came_a_moment_ago_and_the_newest_is_first(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        for number in range(5):
            opened.add(sighting(number))
        assert numbers(opened) == [4, 3, 2, 1, 0]


def test_the_newest_stay_and_the_others_leave_the_file(tmp_path: Path) -> None:
    with store(tmp_path, max_requests=10) as opened:
        for number in range(25):
            opened.add(sighting(number))
            if number == 12:
                opened.recent()
        assert numbers(opened) == list(range(24, 14, -1))
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        assert db.execute("SELECT count(*) FROM unnamed").fetchone() == (10,)
    with store(tmp_path, max_requests=3) as opened:
        assert numbers(opened) == [24, 23, 22]


def test_what_the_disk_does_not_keep_up_with_is_counted_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = threading.Event()

    def slow(item: Sighting, *, keep_prompts: bool) -> object:
        writes.wait(60)
        return remembered(item, keep_prompts=keep_prompts)

    monkeypatch.setattr(traffic_store, "remembered", slow)
    opened = TrafficStore(tmp_path, max_requests=ALL, keep_prompts=False)
    try:
        # Whether the thread has taken some of them already or not: no more than twice the queue fits.
        adder = threading.Thread(target=lambda: [opened.add(sighting(n)) for n in range(3 * QUEUE_REQUESTS)])
        adder.start()
        adder.join(60)
        assert not adder.is_alive()
        assert QUEUE_REQUESTS <= opened.shed < 3 * QUEUE_REQUESTS
    finally:
        writes.set()
        opened.close()
    with store(tmp_path, keep_prompts=False) as again:
        assert len(again.recent()) + opened.shed == 3 * QUEUE_REQUESTS


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened._db.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON unnamed BEGIN SELECT raise(FAIL, 'full'); END"
        )
        opened.add(sighting(1))
        assert opened.recent() == []
        assert opened.shed == 1
        opened._db.execute("DROP TRIGGER full")
        opened.add(sighting(2))
        assert numbers(opened) == [2]


def test_a_request_that_can_not_be_written_stops_none_that_comes_after(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened.add(sighting(1, cut("", ["hello"], input_chars=2**63)))
        assert opened.recent() == []
        assert opened.shed == 1
        opened.add(sighting(2))
        assert numbers(opened) == [2]


def test_a_file_that_is_damaged_meanwhile_is_told(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened._db.execute("DROP TABLE unnamed")
        with pytest.raises(DomainError) as caught:
            opened.recent()
    assert caught.value.reason is Reason.STORAGE_UNAVAILABLE
    assert FILE in caught.value.message


def test_a_kind_of_work_that_a_later_version_knew_is_unspecified(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened.add(sighting(1))
        opened.recent()
        opened._db.execute("UPDATE unnamed SET task_type = 99")
        assert [item.task_type for item in opened.recent()] == [TaskType.UNSPECIFIED]


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_prompts_that_may_no_longer_be_kept_are_gone_from_the_disk(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        for number in range(20):
            opened.add(sighting(number))
        kept = {item.packed for item in opened.recent()}
    assert len(kept) == 20
    assert all(packed in on_disk(tmp_path) for packed in kept)
    with store(tmp_path, keep_prompts=False) as opened:
        assert not any(packed in on_disk(tmp_path) for packed in kept)
        assert [item.seen for item in opened.recent()] == [None] * 20
    with store(tmp_path) as opened:
        assert [item.seen for item in opened.recent()] == [None] * 20


def test_prompts_that_a_kill_left_in_the_log_are_gone_too(tmp_path: Path) -> None:
    with store(tmp_path / "killed") as opened:
        opened.add(sighting(1))
        (kept,) = opened.recent()
        # What is on the disk now is what a kill leaves.
        shutil.copytree(tmp_path / "killed", tmp_path / "after")
    assert kept.packed in on_disk(tmp_path / "after")
    with store(tmp_path / "after", keep_prompts=False) as opened:
        assert kept.packed not in on_disk(tmp_path / "after")
        assert numbers(opened) == [1]


def test_prompts_that_may_not_be_kept_never_reach_the_disk(tmp_path: Path) -> None:
    with store(tmp_path, keep_prompts=False) as opened:
        opened.add(sighting(1))
        (found,) = opened.recent()
        assert found.packed == b""
        assert found.shape.digest
        data = on_disk(tmp_path)
    assert SECRET.encode() not in data
    assert remembered(sighting(1), keep_prompts=True).packed not in data


def test_only_the_user_can_read_the_files(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(mode=0o644)
    with store(tmp_path) as opened:
        opened.add(sighting(1))
        opened.recent()
        files = list(tmp_path.iterdir())
        assert {file.name for file in files} >= {FILE, f"{FILE}-wal"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("damage", ["no database", "half a page", "pages in the middle", "another version"])
def test_a_file_that_can_not_be_read_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    file = tmp_path / FILE
    with store(tmp_path) as opened:
        for number in range(50):
            opened.add(sighting(number))
    if damage == "no database":
        file.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    elif damage == "half a page":
        file.write_bytes(file.read_bytes()[:2000])
    elif damage == "pages in the middle":
        data = file.read_bytes()
        middle = len(data) // 2 // 4096 * 4096
        file.write_bytes(data[:middle] + b"\xa5" * 8192 + data[middle + 8192 :])
    else:
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA user_version = 99")
    with store(tmp_path) as opened:
        assert opened.recent() == []
        opened.add(sighting(1))
        assert numbers(opened) == [1]
    if damage != "another version":
        assert "damaged" in caplog.text


def test_another_process_that_has_the_file_is_told(tmp_path: Path) -> None:
    with store(tmp_path) as opened:
        opened.add(sighting(1))
        opened.recent()
        with pytest.raises(SettingsError, match=r"state_dir"):
            TrafficStore(tmp_path, max_requests=ALL, keep_prompts=True)
        assert numbers(opened) == [1]
