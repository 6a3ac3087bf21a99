"""What was registered is there after a restart, a kill, and a full disk; and a bad file is told at once."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.classifier.adapters.store import FILE, Registration, Store
from services.classifier.core.registration import Submission, workload
from services.classifier.core.registry import Workload
from services.common.errors import DomainError, Reason
from services.common.fingerprint import AmbiguousError, Shape, shape_of_system_prompt
from services.common.seen import Seen
from services.common.settings import SettingsError
from services.common.words import QualitySensitivity, TaskType

ROOT = Path(__file__).parents[4]

EXAMPLES = tuple(
    Seen("You ünderstand.\ud800", (f"turn {n}\0", "😀"), ("b", "a"), '{"type": "object"}', 9_000_000_000 + n)
    for n in range(5)
)
SUBMISSION = Submission(
    name="triage",
    owner="Zoë ☎",
    task_type=TaskType.EXTRACTION,
    data_class="personal",
    quality_sensitivity=QualitySensitivity.HIGH,
    description="",
    shapes=(
        shape_of_system_prompt("You triage the tickets of Contoso with great care."),
        Shape(tool_names=("a", "b"), schema_digest=b"\0" * 16),
        Shape(template_head="sort this one for me please", template_tail="thank you"),
    ),
    examples=EXAMPLES,
)


def registration(number: int, submission: Submission = SUBMISSION, version: int = 1) -> Registration:
    return Registration(
        request_id=number.to_bytes(16, "big"),
        submission=submission,
        version=version,
        table_version=number + 1,
        registered_unix_us=1_764_000_000_000_000 + number,
        held_out_count=62,
        right_before=48,
        right_after=57,
    )


def named(name: str, prompt: str = "") -> Submission:
    shapes = (shape_of_system_prompt(prompt or f"You are the desk for {name}."),)
    return replace(SUBMISSION, name=name, shapes=shapes, examples=())


def from_settings(name: str, prompt: str = "") -> Workload:
    return replace(workload(named(name, prompt), 1), from_settings=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "classifier"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store(folder)
    yield opened
    opened.close()


def reopened(store: Store, folder: Path) -> Store:
    store.close()
    return Store(folder)


def test_a_registration_comes_back_as_it_was_written(store: Store, folder: Path) -> None:
    assert store.registry(()).version == 1
    store.append(registration(1))
    again = reopened(store, folder)
    registry = again.registry(())
    assert registry.version == 2
    assert registry.workloads == (workload(SUBMISSION, 1),)
    assert registry.get("triage").examples == EXAMPLES
    assert again.same(registration(1).request_id, SUBMISSION) == registration(1)
    again.close()


def test_of_each_name_the_last_version_counts_and_all_are_kept(store: Store, folder: Path) -> None:
    store.registry(())
    store.append(registration(1, named("a")))
    store.append(registration(2, named("b")))
    assert (store.next_version("a"), store.next_version("c")) == (2, 1)
    store.append(registration(3, replace(named("a"), owner="new"), version=2))
    again = reopened(store, folder)
    found = [(item.name, item.version, item.owner) for item in again.registry(()).workloads]
    assert found == [("a", 2, "new"), ("b", 1, SUBMISSION.owner)]
    first = again.same(registration(1).request_id, named("a"))
    assert first is not None
    assert first.workload == workload(named("a"), 1)
    again.close()


def test_the_same_call_is_known_again_and_the_same_id_with_another_content_is_refused(store: Store) -> None:
    assert store.same(registration(1).request_id, SUBMISSION) is None
    store.append(registration(1))
    assert store.same(registration(1).request_id, SUBMISSION) == registration(1)
    for other in (replace(SUBMISSION, owner="else"), replace(SUBMISSION, examples=EXAMPLES[1:])):
        with pytest.raises(DomainError) as caught:
            store.same(registration(1).request_id, other)
        assert caught.value.reason is Reason.INVALID_REQUEST
        assert caught.value.metadata["field"] == "request_id"


@pytest.mark.parametrize(
    "clash",
    [
        replace(registration(2), request_id=registration(1).request_id, version=2),
        replace(registration(2), version=1),
        replace(registration(1), request_id=b"x" * 16, version=2),
    ],
)
def test_what_can_not_be_written_is_told_and_changes_nothing(
    store: Store, folder: Path, clash: Registration
) -> None:
    store.append(registration(1))
    with pytest.raises(DomainError) as caught:
        store.append(clash)
    assert caught.value.reason is Reason.STORAGE_UNAVAILABLE
    assert caught.value.metadata["store"] == "workloads"
    store.append(registration(2, named("b")))
    again = reopened(store, folder)
    assert [(item.name, item.version) for item in again.registry(()).workloads] == [("b", 1), ("triage", 1)]
    again.close()


def test_the_version_grows_with_the_settings_too_and_only_when_they_change(
    store: Store, folder: Path
) -> None:
    versions = []
    for settings in (
        (),
        (),
        (from_settings("a"), from_settings("b")),
        (from_settings("b"), from_settings("a")),
        (from_settings("a"), from_settings("b", "Another.")),
    ):
        versions.append(store.registry(settings).version)
        store = reopened(store, folder)
    assert versions == [1, 1, 2, 2, 3]
    store.append(registration(3))
    store = reopened(store, folder)
    assert store.registry(settings).version == 4
    assert store.registry(()).version == 5
    store.close()


def test_the_settings_win_over_what_was_registered_and_may_not_clash_with_it(store: Store) -> None:
    store.append(registration(1, named("a")))
    registry = store.registry((from_settings("a", "From the file."),))
    assert registry.get("a").from_settings
    assert len(registry.workloads) == 1
    with pytest.raises(AmbiguousError, match="'a' and 'b' have the same system prompt"):
        store.registry((from_settings("b", "You are the desk for a."),))


def test_the_files_are_for_their_user_alone(store: Store, folder: Path) -> None:
    store.append(registration(1))
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}
    assert set(modes.values()) == {"0o600"}
    assert FILE in modes


def test_a_file_that_others_could_read_is_closed_to_them(store: Store, folder: Path) -> None:
    store.close()
    (folder / FILE).chmod(0o644)
    Store(folder).close()
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_two_processes_can_not_have_it(store: Store, folder: Path) -> None:
    store.append(registration(1))
    code = "import sys; from pathlib import Path; from services.classifier.adapters.store import Store;"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} Store(Path(sys.argv[1]))", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"SettingsError: {folder / FILE}: is in use: another classifier has it" in done.stderr


def damage(file: Path, how: str) -> None:
    if how == "other bytes":
        file.write_bytes(b"What is this?" * 1000)
    elif how == "torn page":
        data = bytearray(file.read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        file.write_bytes(data)
    else:
        with sqlite3.connect(file) as db:
            db.execute(how)
        db.close()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("other bytes", "is damaged (file is not a database); put a backup in its place"),
        ("torn page", "is damaged ("),
        (
            "UPDATE registration SET content = replace(content, 'triage', 'triagE')",
            "is damaged (the registration of 'triage', version 1, is not what was written)",
        ),
        ("PRAGMA user_version = 2", "is of a newer Homeward (version 2, this one knows 1)"),
    ],
)
def test_a_file_that_can_not_be_used_is_told_and_left_as_it_is(
    store: Store, folder: Path, how: str, told: str
) -> None:
    store.append(registration(1))
    store.close()
    damage(folder / FILE, how)
    before = (folder / FILE).read_bytes()
    with pytest.raises(SettingsError) as caught:
        Store(folder)
    assert str(caught.value).startswith(f"{folder / FILE}: {told}")
    assert (folder / FILE).read_bytes() == before


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SettingsError, match=r"can't be opened .*see \[classifier\] state_dir"):
        Store(tmp_path / "taken")


REGISTER_FOR_EVER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/unit/classifier/adapters")
from test_store import registration, named
from services.classifier.adapters.store import Store

store = Store(Path(sys.argv[1]))
for number in range(1, 1_000_000):
    store.append(registration(number, named(f"w{number}")))
    print(number, flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", REGISTER_FOR_EVER, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 30:
            process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    store = Store(folder)
    numbers = sorted(int(item.name[1:]) for item in store.registry(()).workloads)
    # All that were acknowledged; the one after may have been written without its answer getting out.
    assert numbers in (list(range(1, acknowledged + 1)), list(range(1, acknowledged + 2)))
    assert acknowledged >= 30
    store.close()


def test_a_copy_of_the_folder_is_a_backup(store: Store, folder: Path, tmp_path: Path) -> None:
    store.append(registration(1))
    store.close()
    shutil.copytree(folder, tmp_path / "backup")
    copied = Store(tmp_path / "backup")
    assert [item.name for item in copied.registry(()).workloads] == ["triage"]
    copied.close()
