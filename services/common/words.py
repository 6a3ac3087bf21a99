"""The enumerations of the contract as plain Python, for cores that may not import protobuf.

Names and numbers are those of `protos/homeward/common/v1`; a test holds the two together.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

T = TypeVar("T", bound=IntEnum)


class Target(IntEnum):
    """Where a request may run."""

    CLOUD = 1
    SOVEREIGN = 2


class Purpose(IntEnum):
    """Why a leg was called."""

    PRODUCTION = 1
    SHADOW = 2
    NOISE = 3
    JUDGE = 4
    PROBE = 5


class Outcome(IntEnum):
    """How a leg ended."""

    OK = 1
    REJECTED = 2
    UNREACHABLE = 3
    TIMEOUT = 4
    BROKEN = 5
    CANCELLED = 6


class UsageSource(IntEnum):
    """Where token counts come from."""

    UPSTREAM = 1
    ESTIMATED = 2
    UNKNOWN = 3
    TOKENIZER = 4


class Evidence(IntEnum):
    """What named a workload, strongest first."""

    DECLARED = 1
    FINGERPRINT = 2
    EXAMPLES = 3
    TASK_TYPE = 4
    ABSTAINED = 5


class TaskType(IntEnum):
    """What kind of work a request is."""

    UNSPECIFIED = 0
    SUMMARIZATION = 1
    EXTRACTION = 2
    CLASSIFICATION = 3
    GENERATION = 4
    TRANSLATION = 5
    CONTEXT_QA = 6
    CODE = 7
    REASONING = 8
    OPEN_ENDED = 9
    TOOL_USE = 10


class Stage(IntEnum):
    """Where a workload stands in its migration."""

    OBSERVED = 1
    SHADOWED = 2
    CANARY = 3
    HOME = 4
    ROLLED_BACK = 5


class QualitySensitivity(IntEnum):
    """How much a worse answer would cost."""

    UNSPECIFIED = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


def word(kind: type[T], number: int, otherwise: T) -> T:
    """The word for a number of the contract; `otherwise` for one that only a later version knows."""
    try:
        return kind(number)
    except ValueError:
        return otherwise


def label(value: IntEnum) -> str:
    """The word as tables, headers and attributes spell it: `context_qa`, or empty if unspecified."""
    return value.name.lower() if value else ""
