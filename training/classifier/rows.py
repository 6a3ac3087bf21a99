"""The labelled prompts that the general classifier is trained, tuned and measured on.

`data/classifier/train.jsonl.gz` has the rows that may be passed on. The others are only named, in
`named.jsonl.gz`: repository, commit, path, place in the file and the checksum of the text. They join the
rows when their repository is at hand under `HOMEWARD_TRAINING_MIRROR`, as `OWNER/NAME` (a clone) or
`OWNER+NAME/repo` (a bare mirror).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from services.common.words import Target, TaskType

DATA = Path(__file__).parents[2] / "data" / "classifier"
MIRROR = "HOMEWARD_TRAINING_MIRROR"

TASK_TYPES: Mapping[str, TaskType] = {
    "summarization": TaskType.SUMMARIZATION,
    "extraction": TaskType.EXTRACTION,
    "classification": TaskType.CLASSIFICATION,
    "routine_generation": TaskType.GENERATION,
    "translation": TaskType.TRANSLATION,
    "rag_qa": TaskType.CONTEXT_QA,
    "code": TaskType.CODE,
    "reasoning": TaskType.REASONING,
    "open_ended": TaskType.OPEN_ENDED,
    "agentic": TaskType.TOOL_USE,
}
"""The labels of the files in our words."""
TARGETS: Mapping[str, Target] = {"sovereign": Target.SOVEREIGN, "frontier": Target.CLOUD}

CLIP_CHARS, HEAD_CHARS, TAIL_CHARS = 6000, 4500, 1500
"""A longer text is its head, a mark, its tail: as in the rows that are given whole."""


QUERY = re.compile(r"\[Query\]: (.*?)\n\*\*\*\n\[Response\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and what kind of work it is."""

    id: str
    messages: tuple[tuple[str, str], ...]
    """(role, content), in order."""
    task_type: TaskType
    target: Target
    """Where the task type suggests to run it; what a workload may do is its owner's decision."""
    source: str
    source_label: str
    """The source's own word for it."""
    licence: str
    group: str
    """Template, task or scenario: rows to be split and pooled together."""
    tools: tuple[dict[str, Any], ...] = ()


def rows(mirror: Path | None = None) -> tuple[list[Row], list[str]]:
    """The training rows.

    Args:
        mirror: Folder with the named repositories; `HOMEWARD_TRAINING_MIRROR` if not given.

    Returns:
        The rows, first those in the repository; and a line for each named repository that is not at hand,
        with the command that brings it.

    Raises:
        ValueError: A named text is not what its checksum says.
    """
    found = list(_shipped("train.jsonl.gz"))
    missing: list[str] = []
    folder = mirror or (Path(os.environ[MIRROR]) if os.environ.get(MIRROR) else None)
    pointers = sorted(_lines("named.jsonl.gz"), key=lambda each: (each["repo"], each["path"]))
    for repo, group in groupby(pointers, key=lambda each: each["repo"]):
        named = list(group)
        git = _git_folder(folder, repo, named[0]["commit"])
        if git is None:
            missing.append(
                f"{len(named):,} rows of {repo} are left out: in the folder that {MIRROR} names, "
                f"`git clone https://github.com/{repo} {repo}` brings them (commit {named[0]['commit'][:12]})"
            )
        else:
            found += read_named(git, named)
    return found, missing


def tune_rows() -> list[Row]:
    """The rows to tune and calibrate on, but for those that nearly stand in the test rows."""
    near = set((DATA / "near_test.txt").read_text(encoding="utf-8").split())
    return [row for row in _shipped("tune.jsonl") if row.id not in near]


def test_dev_rows() -> list[Row]:
    """The rows to measure on; nothing is ever trained, tuned or chosen on them."""
    return list(_shipped("test_dev.jsonl"))


def read_named(git: Path, pointers: list[dict[str, Any]]) -> list[Row]:
    """The rows that `pointers`, all into one repository, name.

    Args:
        git: The repository: a clone or a bare mirror.
        pointers: Rows of `named.jsonl.gz`, those of one file next to each other.

    Returns:
        A row for each pointer, in order.

    Raises:
        ValueError: A text is not what its checksum says, or a file is not there.
    """
    found = []
    with subprocess.Popen(
        ["git", "-C", str(git), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for (commit, path), group in groupby(pointers, key=lambda each: (each["commit"], each["path"])):
            content = _show(process.stdin, process.stdout, f"{commit}:{path}")
            entries = content.split("\n") if path.endswith(".jsonl") else [content]
            for pointer in group:
                messages = _messages(pointer, json.loads(entries[pointer.get("line", 0)]))
                text = "\n".join(content for _, content in messages)
                if hashlib.sha256(text.encode()).hexdigest() != pointer["sha256"]:
                    place = f"{pointer['repo']} {commit[:12]}:{path}"
                    raise ValueError(f"{pointer['id']}: the text in {place} is not what its checksum says")
                found.append(_row(pointer, messages))
    return found


def _messages(pointer: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the row says, put together from the entry of its file as the pointer's `form` tells."""
    before = (("system", pointer["system"]),) if "system" in pointer else ()
    match pointer["form"]:
        case "prompt":  # self-instruct's copy of P3
            text = entry["prompt"].strip()
        case "instruction":  # Auto-J's scenario classifier
            text = "\n\n".join(
                part.strip() for part in (entry["instruction"], entry["input"]) if part.strip()
            )
        case "query":  # Auto-J's critiques: the query stands in the critic's prompt
            text = re.findall(r"\[Query\]: (.*?)\n\*\*\*\n\[Response\]", entry["usrmsg"], re.DOTALL)[
                0
            ].strip()
        case "task":  # SuperNI: definition and input in one message
            text = f"{entry['Definition'][0]}\n\n{entry['Instances'][pointer['key']]['input']}".strip()
        case "task_apart":  # SuperNI: the definition as the system prompt
            before = (("system", entry["Definition"][0].strip()),)
            text = entry["Instances"][pointer["key"]]["input"].strip()
        case form:
            raise ValueError(f"{pointer['id']}: there is no form {form!r}")
    return (*before, ("user", clip(text)))


def clip(text: str) -> str:
    """The text as the rows have it: head and tail if it is long."""
    return text if len(text) <= CLIP_CHARS else f"{text[:HEAD_CHARS]}\n[...]\n{text[-TAIL_CHARS:]}"


def _row(record: Mapping[str, Any], messages: tuple[tuple[str, str], ...]) -> Row:
    return Row(
        id=record["id"],
        messages=messages,
        task_type=TASK_TYPES[record["label"]],
        target=TARGETS[record["tier"]],
        source=record["source"],
        source_label=record["source_label"],
        licence=record["licence"],
        group=record["group"],
        tools=tuple(record.get("tools", ())),
    )


def _shipped(name: str) -> Iterator[Row]:
    for record in _lines(name):
        yield _row(record, tuple((each["role"], each["content"]) for each in record["messages"]))


def _lines(name: str) -> Iterator[dict[str, Any]]:
    path = DATA / name
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return (json.loads(line) for line in content.decode().split("\n") if line)


def _git_folder(mirror: Path | None, repo: str, commit: str) -> Path | None:
    """Where the repository is at hand with that commit, if it is."""
    if mirror is None:
        return None
    for place in (repo, f"{repo.replace('/', '+')}/repo"):
        folder = mirror / place
        asked = ["git", "-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}"]
        if folder.is_dir() and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return folder
    return None


def _show(ask: IO[bytes], answer: IO[bytes], name: str) -> str:
    """One file from `git cat-file --batch`."""
    ask.write(f"{name}\n".encode())
    ask.flush()
    header = answer.readline().split()
    if len(header) != 3:
        raise ValueError(f"{name} is not in the repository")
    content = answer.read(int(header[2]))
    answer.read(1)  # the line feed after the content
    return content.decode()
