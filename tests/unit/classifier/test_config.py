"""The workloads of the settings, as the registry has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.classifier.config import Classifier, load_classifier, registered
from services.common.fingerprint import shape_of_system_prompt
from services.common.settings import SettingsError
from services.common.words import QualitySensitivity, TaskType


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "homeward.toml"


def prompts(count: int) -> str:
    return str([f"Sort this ticket into one of seven queues: {chr(97 + n) * 5}" for n in range(count)])


def test_a_workload_of_the_settings_has_its_prompts_and_examples(file: Path) -> None:
    file.write_text(
        f"""
        [workloads.triage]
        owner = "care"
        task_type = "context_qa"
        quality_sensitivity = "high"
        system_prompts = ["You triage the tickets of Contoso."]
        examples = {prompts(6)}
        [workloads.bare]
        owner = "ops"
        """
    )
    triage, bare = registered(load_classifier(file, {}))
    assert (triage.name, triage.version, triage.from_settings) == ("triage", 1, True)
    assert (triage.task_type, triage.quality_sensitivity) == (TaskType.CONTEXT_QA, QualitySensitivity.HIGH)
    assert triage.shapes[0] == shape_of_system_prompt("You triage the tickets of Contoso.")
    assert triage.shapes[1].template_head == "sort this ticket into one of seven queues"
    assert [len(example.turns) for example in triage.examples] == [1] * 6
    assert (bare.task_type, bare.quality_sensitivity) == (
        TaskType.UNSPECIFIED,
        QualitySensitivity.UNSPECIFIED,
    )
    assert (bare.data_class, bare.shapes, bare.examples) == ("unrestricted", (), ())


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            f"examples = {prompts(4)}",
            "workloads.a.examples: expected none, or 5 to 50 different prompts, got 4",
        ),
        (
            "examples = ['x', 'x', 'x', 'x', 'x']",
            "workloads.a.examples: expected none, or 5 to 50 different prompts, got 1",
        ),
        (f"examples = {prompts(51)}", "workloads.a.examples: "),
        ("examples = ['a', 'b', 'c', 'd', ' ']", "workloads.a.examples.4: "),
        ("system_prompts = ['']", "workloads.a.system_prompts.0: "),
        (
            "system_prompts = ['Same.']\n[workloads.b]\nowner = 'x'\nsystem_prompts = [' Same.']",
            "workloads 'a' and 'b' have the same system prompt",
        ),
    ],
)
def test_what_the_settings_may_not_have_is_told(file: Path, toml: str, line: str) -> None:
    file.write_text(f"[workloads.a]\nowner = 'x'\n{toml}\n")
    with pytest.raises(SettingsError) as caught:
        load_classifier(file, {})
    assert str(caught.value).startswith(f"{file}: {line}")


def test_the_defaults_keep_no_prompts(file: Path) -> None:
    file.write_text("")
    assert load_classifier(file, {}).classifier == Classifier()
    assert Classifier().keep_unnamed_prompts is False
