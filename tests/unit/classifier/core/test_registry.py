"""The registry names a request by its fixed parts, and abstains from the rest."""

from __future__ import annotations

import pytest

from services.classifier.core.registry import ABSTAIN, AmbiguousError, Registry, Workload
from services.common.fingerprint import fingerprint
from services.common.words import Evidence, QualitySensitivity, TaskType


def workload(name: str, *prompts: str) -> Workload:
    return Workload(name, "x", TaskType.CLASSIFICATION, "unrestricted", QualitySensitivity.LOW, "", prompts)


@pytest.mark.parametrize("said", ["You triage.", " You\n triage.\t", "You triage.\n\n"])
def test_a_registered_system_prompt_names_its_workload_whatever_its_white_space(said: str) -> None:
    registry = Registry([workload("triage", "You  triage."), workload("other", "Else.")], version=3)
    answer = registry.classify(fingerprint(said))
    assert (answer.workload, answer.evidence, answer.confidence) == ("triage", Evidence.FINGERPRINT, 1.0)


@pytest.mark.parametrize("digest", [b"", fingerprint("You triage!"), fingerprint("")])
def test_anything_else_is_abstained_from(digest: bytes) -> None:
    assert Registry([workload("triage", "You triage.")], version=1).classify(digest) is ABSTAIN


def test_two_workloads_with_one_system_prompt_are_refused_by_name() -> None:
    with pytest.raises(AmbiguousError, match="'a' and 'b'"):
        Registry([workload("b", "Same."), workload("a", "Same .".replace(" .", "."))], version=1)
