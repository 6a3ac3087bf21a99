"""The contract's enumerations as plain Python: they must say what the protos say."""

import re
from enum import IntEnum
from types import ModuleType

import pytest
from homeward.common.v1 import leg_pb2, policy_pb2, usage_pb2, workload_pb2

from services.common import words

PROTOS: dict[type[IntEnum], ModuleType] = {
    words.Target: leg_pb2,
    words.Purpose: leg_pb2,
    words.Outcome: leg_pb2,
    words.UsageSource: usage_pb2,
    words.Evidence: workload_pb2,
    words.TaskType: workload_pb2,
    words.QualitySensitivity: workload_pb2,
    words.Stage: policy_pb2,
}


@pytest.mark.parametrize("enum", PROTOS, ids=lambda enum: enum.__name__)
def test_an_enum_has_the_names_and_numbers_of_its_proto(enum: type[IntEnum]) -> None:
    proto = getattr(PROTOS[enum], enum.__name__)
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.__name__).upper() + "_"
    contract = {name.removeprefix(prefix): number for name, number in proto.items()}
    # Most of our enums leave UNSPECIFIED out, because a core never has it.
    assert {"UNSPECIFIED": 0} | {member.name: member.value for member in enum} == contract


def test_every_enum_is_compared() -> None:
    enums = {
        item
        for item in vars(words).values()
        if isinstance(item, type) and issubclass(item, IntEnum) and item is not IntEnum
    }
    assert enums == set(PROTOS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (words.TaskType.CONTEXT_QA, "context_qa"),
        (words.Target.CLOUD, "cloud"),
        (words.Stage.ROLLED_BACK, "rolled_back"),
        (words.TaskType.UNSPECIFIED, ""),
        (words.QualitySensitivity.UNSPECIFIED, ""),
    ],
)
def test_a_label_is_the_lower_case_name_and_empty_if_unspecified(value: IntEnum, text: str) -> None:
    assert words.label(value) == text


@pytest.mark.parametrize("kind", [words.TaskType, words.Evidence, words.Stage])
def test_a_number_that_only_a_later_version_knows_has_another_word(kind: type[IntEnum]) -> None:
    first, *_ = kind
    assert [words.word(kind, item.value, first) for item in kind] == list(kind)
    assert words.word(kind, 9_999, first) is first
