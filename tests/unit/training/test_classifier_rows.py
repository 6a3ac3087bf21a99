"""The rows for the general classifier: whole, clean of the test rows, and named texts checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from services.common.words import Target, TaskType
from training.classifier import rows as data

STABLE = {
    TaskType.SUMMARIZATION,
    TaskType.EXTRACTION,
    TaskType.CLASSIFICATION,
    TaskType.GENERATION,
    TaskType.TRANSLATION,
    TaskType.CONTEXT_QA,
}
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def shingles(text: str, width: int = 5) -> frozenset[str]:
    """The runs of five words, or the whole of a shorter text."""
    words = re.findall(r"\w+", text.lower())
    return frozenset(" ".join(words[at : at + width]) for at in range(max(1, len(words) - width + 1)))


def user_text(row: data.Row) -> str:
    return "\n".join(content for role, content in row.messages if role != "system")


def near_duplicates(candidates: Iterable[data.Row], of: Iterable[data.Row]) -> set[str]:
    """Ids of the rows that share half of their shingles, or .8 of the shorter text's, with another row."""
    others = [shingles(user_text(row)) for row in of]
    where = defaultdict(list)
    for number, other in enumerate(others):
        for shingle in other:
            where[shingle].append(number)
    near = set()
    for row in candidates:
        own = shingles(user_text(row))
        for number, common in Counter(n for each in own for n in where.get(each, ())).items():
            other = others[number]
            if common >= 0.5 * (len(own) + len(other) - common) or common >= 0.8 * min(len(own), len(other)):
                near.add(row.id)
                break
    return near


@pytest.fixture(scope="module")
def everything() -> dict[str, list[data.Row]]:
    mirror = os.environ.get(data.MIRROR)
    return {
        "train": data.rows(Path(mirror) if mirror else None)[0],
        "tune": data.tune_rows(),
        "test_dev": data.test_dev_rows(),
    }


def test_each_label_is_a_task_type_of_ours_and_the_six_stable_ones_suggest_home(
    everything: dict[str, list[data.Row]],
) -> None:
    assert set(data.TASK_TYPES.values()) == set(TaskType) - {TaskType.UNSPECIFIED}
    assert data.TASK_TYPES["rag_qa"] is TaskType.CONTEXT_QA
    assert data.TASK_TYPES["routine_generation"] is TaskType.GENERATION
    assert data.TASK_TYPES["agentic"] is TaskType.TOOL_USE
    for part in everything.values():
        assert {row.task_type for row in part} == set(data.TASK_TYPES.values())
        assert all((row.target is Target.SOVEREIGN) == (row.task_type in STABLE) for row in part)


def test_a_row_has_messages_of_known_roles_the_last_by_the_user_and_an_id_of_its_own(
    everything: dict[str, list[data.Row]],
) -> None:
    every = [row for part in everything.values() for row in part]
    assert len({row.id for row in every}) == len(every)
    for row in every:
        assert {role for role, _ in row.messages} <= {"system", "user", "assistant"}
        assert row.messages[-1][0] == "user"
        assert row.licence
        assert row.group


@pytest.mark.parametrize("part", ["train", "tune"])
def test_no_row_to_learn_from_nearly_stands_in_the_test_rows(
    everything: dict[str, list[data.Row]], part: str
) -> None:
    assert near_duplicates(everything[part], everything["test_dev"]) == set()


def test_the_tune_rows_left_out_are_those_that_nearly_stand_in_the_test_rows(
    everything: dict[str, list[data.Row]],
) -> None:
    whole = list(data._shipped("tune.jsonl"))
    left_out = set((data.DATA / "near_test.txt").read_text().split())
    assert near_duplicates(whole, everything["test_dev"]) == left_out
    assert len(everything["tune"]) == len(whole) - len(left_out)


def test_rows_that_carry_a_canary_are_to_measure_on_and_never_to_learn_from(
    everything: dict[str, list[data.Row]],
) -> None:
    marked = {name: sum("canary" in row.licence for row in part) for name, part in everything.items()}
    assert marked == {"train": 0, "tune": 0, "test_dev": 128}
    named = json.dumps(list(data._lines("named.jsonl.gz")))
    assert "canary" not in named.lower()
    for row in everything["train"] + everything["tune"]:
        assert not re.search(r"canary guid|benchmark data should never", user_text(row), re.IGNORECASE)


def test_what_the_page_counts_is_what_the_files_have(everything: dict[str, list[data.Row]]) -> None:
    def table(title: str) -> dict[str, int]:
        section = page.split(f"## {title}\n")[1].split("\n## ")[0]
        rows_of = re.findall(r"^\| ([^|]+?) \|.*\| ([\d,]+) \|$", section, re.MULTILINE)
        return {source: int(count.replace(",", "")) for source, count in rows_of}

    page = (data.DATA / "README.md").read_text(encoding="utf-8")
    assert table("Given whole") == Counter(row.source for row in data._shipped("train.jsonl.gz"))
    assert table("Named") == Counter(each["source"] for each in data._lines("named.jsonl.gz"))
    assert table("To tune on") == Counter(row.source for row in data._shipped("tune.jsonl"))
    assert table("To measure on") == Counter(row.source for row in everything["test_dev"])


@pytest.mark.parametrize("name", ["train.jsonl.gz", "named.jsonl.gz"])
def test_a_compressed_file_carries_no_time_or_name(name: str) -> None:
    header = (data.DATA / name).read_bytes()[:10]
    assert header[3] == 0  # no file name
    assert header[4:8] == bytes(4)


def test_each_pointer_names_one_place_of_one_commit() -> None:
    pointers = list(data._lines("named.jsonl.gz"))
    places = {(each["repo"], each["path"], each.get("line"), each.get("key")) for each in pointers}
    # Two prompts of one text can stand in one place: with a system prompt and without.
    assert len(places) > 0.99 * len(pointers)
    assert {each["repo"]: each["commit"] for each in pointers}.keys() == {each["repo"] for each in pointers}
    for each in pointers:
        assert re.fullmatch(r"[0-9a-f]{40}", each["commit"])
        assert re.fullmatch(r"[0-9a-f]{64}", each["sha256"])
        assert ("line" in each) != ("key" in each)
        assert not each["path"].startswith("data/test/")
        assert not each["path"].endswith("testdata.jsonl")


LONG = "A long prompt. " * 600
FILES = {
    "prompts.jsonl": [{"prompt": "first"}, {"prompt": " Summarise this. \n"}, {"prompt": LONG}],
    "queries.jsonl": [
        {"instruction": "Reply to it.", "input": " A letter. "},
        {"instruction": "Hi", "input": ""},
    ],
    "critiques.jsonl": [{"usrmsg": "Grade:\n[Query]: What is\nthis?\n***\n[Response]: A thing.\n***"}],
    "task.json": {
        "Definition": ["Find the names. "],
        "Instances": [{"input": "-"}, {"input": "Ann met Bo."}],
    },
}
CASES: list[tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]] = [
    ("prompts.jsonl", {"line": 1, "form": "prompt"}, (("user", "Summarise this."),)),
    (
        "prompts.jsonl",
        {"line": 1, "form": "prompt", "system": "You help."},
        (("system", "You help."), ("user", "Summarise this.")),
    ),
    ("prompts.jsonl", {"line": 2, "form": "prompt"}, (("user", data.clip(LONG.strip())),)),
    ("queries.jsonl", {"line": 0, "form": "instruction"}, (("user", "Reply to it.\n\nA letter."),)),
    ("queries.jsonl", {"line": 1, "form": "instruction"}, (("user", "Hi"),)),
    ("critiques.jsonl", {"line": 0, "form": "query"}, (("user", "What is\nthis?"),)),
    ("task.json", {"key": 1, "form": "task"}, (("user", "Find the names. \n\nAnn met Bo."),)),
    (
        "task.json",
        {"key": 1, "form": "task_apart"},
        (("system", "Find the names."), ("user", "Ann met Bo.")),
    ),
]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository as `git clone` leaves it, of the owner `someone`."""
    folder = tmp_path / "mirror" / "someone" / "texts"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        entries = content if isinstance(content, list) else [content]
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in entries), encoding="utf-8")
    git("init", "-q", str(folder))
    git("-C", str(folder), "add", ".")
    git(*AUTHOR, "-C", str(folder), "commit", "-q", "-m", "texts")
    return folder


def pointers_into(commit: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"named-{number}",
            "repo": "someone/texts",
            "commit": commit,
            "path": path,
            "sha256": hashlib.sha256("\n".join(text for _, text in messages).encode()).hexdigest(),
            "label": "extraction",
            "tier": "sovereign",
            "source": "Texts",
            "source_label": "-",
            "licence": "none stated",
            "group": "texts",
            **place,
        }
        for number, (path, place, messages) in enumerate(CASES)
    ]


def write_data(folder: Path, pointers: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl.gz").write_bytes(gzip.compress(b""))
    lines = "".join(json.dumps(each) + "\n" for each in pointers)
    (folder / "named.jsonl.gz").write_bytes(gzip.compress(lines.encode()))


@pytest.mark.parametrize("layout", ["clone", "bare mirror"])
def test_a_named_text_is_read_at_its_commit_whatever_stands_there_now(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    commit = git("-C", str(clone), "rev-parse", "HEAD")
    git("-C", str(clone), "rm", "-q", "prompts.jsonl")
    git(*AUTHOR, "-C", str(clone), "commit", "-q", "-m", "moved on")
    mirror = tmp_path / "mirror"
    if layout == "bare mirror":
        mirror = tmp_path / "bare"
        git("clone", "-q", "--bare", str(clone), str(mirror / "someone+texts" / "repo"))
    write_data(tmp_path / "data", pointers_into(commit))
    monkeypatch.setattr(data, "DATA", tmp_path / "data")
    monkeypatch.setenv(data.MIRROR, str(mirror))

    found, missing = data.rows()

    assert missing == []
    by_id = {row.id: row for row in found}
    assert [by_id[f"named-{n}"].messages for n in range(len(CASES))] == [case[2] for case in CASES]
    assert {row.task_type for row in found} == {TaskType.EXTRACTION}


@pytest.mark.parametrize("mirror", [None, "empty", "another commit"])
def test_a_repository_that_is_not_at_hand_is_told_with_the_command_that_brings_it(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str | None
) -> None:
    monkeypatch.delenv(data.MIRROR, raising=False)
    write_data(tmp_path / "data", pointers_into("0123456789" * 4))
    monkeypatch.setattr(data, "DATA", tmp_path / "data")
    folders = {None: None, "empty": tmp_path / "nowhere", "another commit": tmp_path / "mirror"}

    found, missing = data.rows(folders[mirror])

    assert found == []
    assert len(missing) == 1
    assert f"{len(CASES)} rows of someone/texts" in missing[0]
    assert "git clone https://github.com/someone/texts someone/texts" in missing[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": "0" * 64}, "not what its checksum says"),
        ({"path": "gone.jsonl"}, "gone.jsonl is not in the repository"),
        ({"form": "riddle"}, "there is no form 'riddle'"),
    ],
)
def test_a_text_that_is_not_the_one_named_stops_the_reading(
    clone: Path, change: dict[str, str], says: str
) -> None:
    pointer = pointers_into(git("-C", str(clone), "rev-parse", "HEAD"))[0] | change
    with pytest.raises(ValueError, match=re.escape(says)):
        data.read_named(clone, [pointer])
