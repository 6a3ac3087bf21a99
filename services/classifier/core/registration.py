"""What a registration must be like: complete, told apart from all others, and no harm to any of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from services.classifier.core.registry import Registry, Workload
from services.common.errors import DomainError, Reason, invalid_request
from services.common.fingerprint import DIGEST_BYTES, AmbiguousError, Shape, shapes_of_examples
from services.common.fingerprint.shape import MAX_ENDS, MAX_SHAPES, MIN_ENDS, normalised
from services.common.fingerprint.sketch import HASHES
from services.common.seen import MAX_TOOL_NAME_CHARS, MAX_TOOL_NAMES, Seen
from services.common.settings import MAX_EXAMPLES, MIN_EXAMPLES
from services.common.words import QualitySensitivity, TaskType

MAX_OWNER_CHARS = 200
"""A person, a team, a mail address: it stands in a column of lists."""
MAX_DESCRIPTION_CHARS = 1000
"""A sentence, or a few. Every router gets the whole table after each registration."""
MAX_TEMPLATE_CHARS = MAX_ENDS * 64
"""Of a template's head, and of its tail: the words that one has at the most, if they are long ones."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REQUEST_ID_BYTES = 16

T = TypeVar("T", bound=IntEnum)


@dataclass(frozen=True, slots=True)
class Submission:
    """What an owner hands in."""

    name: str
    owner: str
    task_type: TaskType
    data_class: str
    quality_sensitivity: QualitySensitivity
    description: str
    shapes: tuple[Shape, ...]
    """The fixed parts that are given as such."""
    examples: tuple[Seen, ...]
    """Within the contract's limits: `services.common.seen.cut` has been at them."""


def word(kind: type[T], number: int, field: str) -> T:
    """The enumeration's word for a number of the contract.

    Raises:
        DomainError: INVALID_REQUEST, if it has none.
    """
    try:
        return kind(number)
    except ValueError:
        expected = f"a {kind.__name__} that the contract has"
        raise invalid_request(field, expected, f"the number {number}") from None


def check_request_id(request_id: bytes) -> None:
    """Raises DomainError INVALID_REQUEST unless it is as long as a UUID."""
    if len(request_id) != _REQUEST_ID_BYTES:
        raise invalid_request("request_id", "a UUID as 16 bytes", f"{len(request_id)} bytes")


def check(submission: Submission, data_classes: Collection[str], in_settings: Collection[str]) -> None:
    """Checks what can be seen without the other workloads.

    Args:
        data_classes: the names that the settings declare; `unrestricted` is always one.
        in_settings: the names of the workloads that the settings register.

    Raises:
        DomainError: INVALID_REQUEST, or WORKLOAD_IN_SETTINGS.
    """
    name = submission.name
    if not _NAME.fullmatch(name):
        raise invalid_request(
            "workload.name", "lower-case words joined by hyphens, 1 to 63 characters", repr(name[:80])
        )
    if name in in_settings:
        raise DomainError(
            Reason.WORKLOAD_IN_SETTINGS,
            f"the settings register {name!r}; change [workloads.{name}] there, or take another name",
            workload=name,
        )
    _check_text("workload.owner", submission.owner, MAX_OWNER_CHARS, "a person or team")
    if submission.description:
        _check_text("workload.description", submission.description, MAX_DESCRIPTION_CHARS, "a sentence")
    known = sorted({*data_classes, "unrestricted"})
    if submission.data_class not in known:
        raise invalid_request(
            "workload.data_class",
            f"one of {', '.join(known)} (others are declared as [data_classes.NAME] in the settings)",
            repr(submission.data_class[:80]) if submission.data_class else "nothing",
        )
    for index, shape in enumerate(submission.shapes):
        _check_shape(f"workload.fingerprints[{index}]", shape)
    _check_examples(submission.examples)
    if not submission.shapes and not submission.examples:
        raise invalid_request(
            "workload", "one with a system prompt, a fingerprint or examples: what else would name it", "bare"
        )


def workload(submission: Submission, version: int) -> Workload:
    """The workload that a checked submission makes.

    Raises:
        DomainError: INVALID_REQUEST, if it has more than 64 fixed parts.
    """
    examples = tuple(dict.fromkeys(submission.examples))
    shapes = tuple(dict.fromkeys((*submission.shapes, *shapes_of_examples(examples))))
    if len(shapes) > MAX_SHAPES:
        raise invalid_request(
            "workload.fingerprints",
            f"at most {MAX_SHAPES} together with those of the examples; make two workloads of it",
            str(len(shapes)),
        )
    return Workload(
        name=submission.name,
        owner=submission.owner,
        task_type=submission.task_type,
        data_class=submission.data_class,
        quality_sensitivity=submission.quality_sensitivity,
        description=submission.description,
        version=version,
        shapes=shapes,
        examples=examples,
        from_settings=False,
    )


def next_registry(registry: Registry, new: Workload) -> Registry:
    """The table with the workload in it.

    Raises:
        DomainError: WORKLOAD_AMBIGUOUS.
    """
    try:
        return registry.with_workload(new)
    except AmbiguousError as error:
        other = error.other if error.name == new.name else error.name
        raise DomainError(
            Reason.WORKLOAD_AMBIGUOUS,
            f"{other!r} has the same {error.part}, so nothing would tell the two apart: register one of them"
            f" for both, or leave out of {new.name!r} what is {other!r}'s",
            workload=new.name,
            other=other,
            part=error.part,
        ) from None


def _check_text(field: str, text: str, most: int, what: str) -> None:
    expected = f"{what}, on one line, 1 to {most} characters"
    if not text.strip():
        raise invalid_request(field, expected, "nothing")
    if len(text) > most:
        raise invalid_request(field, expected, f"{len(text)} characters")
    # A line break or an escape would spoil lists and logs.
    if _CONTROL.search(text):
        raise invalid_request(field, expected, "a text with control characters")


def _check_shape(field: str, shape: Shape) -> None:
    """An empty part means that it does not count, so a shape without parts would stand for nothing."""
    lengths: Mapping[str, tuple[int, int, str]] = {
        "digest": (len(shape.digest), DIGEST_BYTES, "bytes"),
        "masked_digest": (len(shape.masked_digest), DIGEST_BYTES, "bytes"),
        "schema_digest": (len(shape.schema_digest), DIGEST_BYTES, "bytes"),
        "sketch": (len(shape.sketch), HASHES, "numbers"),
    }
    for part, (length, right, unit) in lengths.items():
        if length not in (0, right):
            raise invalid_request(f"{field}.{part}", f"{right} {unit} or none", str(length))
    if len(shape.tool_names) > MAX_TOOL_NAMES:
        raise invalid_request(f"{field}.tool_names", f"at most {MAX_TOOL_NAMES}", str(len(shape.tool_names)))
    for name in shape.tool_names:
        if not 0 < len(name) <= MAX_TOOL_NAME_CHARS:
            raise invalid_request(
                f"{field}.tool_names", f"1 to {MAX_TOOL_NAME_CHARS} characters each", f"{len(name)}"
            )
    if list(shape.tool_names) != sorted(set(shape.tool_names)):
        raise invalid_request(f"{field}.tool_names", "sorted, each once", "another order")
    for part, text in (("template_head", shape.template_head), ("template_tail", shape.template_tail)):
        if len(text) > MAX_TEMPLATE_CHARS:
            raise invalid_request(
                f"{field}.{part}", f"at most {MAX_TEMPLATE_CHARS} characters", f"{len(text)}"
            )
        if text != normalised(text):
            expected = "words in lower case with one space between them, without signs, each number a 0"
            raise invalid_request(f"{field}.{part}", expected, "in another spelling, which no request has")
    if shape.template_head and (count := len(shape.template_head.split())) < MIN_ENDS:
        raise invalid_request(
            f"{field}.template_head", f"none or at least {MIN_ENDS} words: many requests begin alike", count
        )
    if not (shape.digest or shape.tool_names or shape.schema_digest or shape.template_head):
        raise invalid_request(
            field, "one with a digest, tools, a schema or a template", "one that no request would have"
        )


def _check_examples(examples: tuple[Seen, ...]) -> None:
    expected = f"none, or {MIN_EXAMPLES} to {MAX_EXAMPLES} different requests"
    if len(examples) > MAX_EXAMPLES:
        raise invalid_request("examples", expected, str(len(examples)))
    different = len(set(examples))
    if examples and different < MIN_EXAMPLES:
        raise invalid_request("examples", expected, str(different))
    for index, example in enumerate(examples):
        if not any(text.strip() for text in (example.system_prompt, *example.turns)):
            raise invalid_request(f"examples[{index}]", "a request with text", "one without")
