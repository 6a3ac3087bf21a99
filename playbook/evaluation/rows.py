"""Labelled requests from a file: one JSON object a line, in the form of `data/classifier/test_dev.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playbook import requests
from services.common.errors import DomainError, Reason
from services.common.seen import Seen
from services.common.words import Target, TaskType, label

TASK_TYPES: tuple[TaskType, ...] = tuple(TaskType)[1:]
"""In the order of their numbers, which is that of `Reading.task_types`."""

_TASK_TYPE_OF: Mapping[str, TaskType] = {
    **{label(task_type): task_type for task_type in TASK_TYPES},
    # What public data sets call them.
    "rag_qa": TaskType.CONTEXT_QA,
    "routine_generation": TaskType.GENERATION,
    "agentic": TaskType.TOOL_USE,
}
_TARGET_OF: Mapping[str, Target] = {
    "sovereign": Target.SOVEREIGN,
    "cloud": Target.CLOUD,
    "frontier": Target.CLOUD,
}


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A request and what people say of it."""

    seen: Seen
    task_type: TaskType
    target: Target
    source: str
    """Where it comes from; `unknown` if the row does not say."""


def read_rows(file: Path) -> list[LabelledRow]:
    """The rows of a file, in its order.

    Raises:
        DomainError: INVALID_REQUEST with the line of the first row that is wrong.
        OSError: the file can't be read.
    """
    found = [_labelled(row, f"{file}, line {number}") for number, row in requests.rows(file)]
    if not found:
        raise _wrong(f"{file} has no rows; put one JSON object on each line")
    return found


def _labelled(row: Mapping[str, Any], place: str) -> LabelledRow:
    try:
        seen = requests.seen_of(row)
    except DomainError as error:
        raise _wrong(f"{place}: {error.message}") from None
    return LabelledRow(
        seen=seen,
        task_type=_TASK_TYPE_OF[_word(row, "label", _TASK_TYPE_OF, place)],
        target=_TARGET_OF[_word(row, "tier", _TARGET_OF, place)],
        source=str(row.get("source") or "unknown"),
    )


def _word(row: Mapping[str, Any], field: str, allowed: Mapping[str, object], place: str) -> str:
    value = row.get(field)
    if isinstance(value, str) and value in allowed:
        return value
    got = f"{value!r}" if field in row else "nothing"
    raise _wrong(f"{place}: `{field}` must be one of {', '.join(allowed)}, not {got}")


def _wrong(message: str) -> DomainError:
    return DomainError(Reason.INVALID_REQUEST, message)
