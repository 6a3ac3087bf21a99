"""Labelled requests from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from playbook.evaluation.rows import TASK_TYPES, read_rows
from services.common.errors import DomainError, Reason
from services.common.words import Target, TaskType, label

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sum up: a b c"}]
ROW: dict[str, Any] = {"messages": MESSAGES, "label": "summarization", "tier": "sovereign", "source": "made"}


def written(folder: Path, *rows: Any) -> Path:
    """A file of these rows; a text is a line as it is."""
    file = folder / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *((label(task_type), task_type) for task_type in TASK_TYPES),
        ("rag_qa", TaskType.CONTEXT_QA),
        ("routine_generation", TaskType.GENERATION),
        ("agentic", TaskType.TOOL_USE),
    ],
)
def test_a_task_type_has_our_spelling_or_the_public_one(
    tmp_path: Path, word: str, expected: TaskType
) -> None:
    assert read_rows(written(tmp_path, ROW | {"label": word}))[0].task_type is expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("sovereign", Target.SOVEREIGN), ("frontier", Target.CLOUD), ("cloud", Target.CLOUD)],
)
def test_a_target_has_our_spelling_or_the_public_one(tmp_path: Path, word: str, expected: Target) -> None:
    assert read_rows(written(tmp_path, ROW | {"tier": word}))[0].target is expected


def test_a_row_is_seen_as_the_classifier_sees_a_request(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
    rows = read_rows(written(tmp_path, ROW | {"tools": tools}, "", {**ROW, "source": None}))
    assert [row.source for row in rows] == ["made", "unknown"]
    assert rows[0].seen.system_prompt == "Be brief."
    assert rows[0].seen.turns == ("Sum up: a b c",)
    assert rows[0].seen.tool_names == ("look_up",)


def test_the_public_form_of_tools_is_read_too(tmp_path: Path) -> None:
    # The Berkeley leaderboard's rows have a function without the envelope around it.
    row = read_rows(written(tmp_path, ROW | {"tools": [{"name": "look_up", "parameters": {}}]}))[0]
    assert row.seen.tool_names == ("look_up",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "no JSON"),
        ("[]", "must be a JSON object, not list"),
        ({name: value for name, value in ROW.items() if name != "label"}, "`label` must be one of summ"),
        ({name: value for name, value in ROW.items() if name != "label"}, "not nothing"),
        ({name: value for name, value in ROW.items() if name != "tier"}, "`tier` must be one of sovereign"),
        (ROW | {"label": "poetry"}, "not 'poetry'"),
        (ROW | {"label": ["code"]}, "not ['code']"),
        (ROW | {"tier": None}, "not None"),
        ({"label": "code", "tier": "frontier"}, "messages"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(tmp_path: Path, row: Any, said: str) -> None:
    file = written(tmp_path, ROW, row, ROW)
    with pytest.raises(DomainError) as caught:
        read_rows(file)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert f"{file}, line 2" in caught.value.message
    assert said in caught.value.message


@pytest.mark.parametrize(("content", "said"), [(b"\n\n", "has no rows"), (b"\xff\xfe{", "line 1: no UTF-8")])
def test_a_file_without_rows_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(DomainError, match=said):
        read_rows(file)
