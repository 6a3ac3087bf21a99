"""The shipped folder: small enough for a repository, and a card that says what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.small_llama.scoring import wilson
from training.small_llama.workloads import workloads

MODEL = Path(__file__).parents[3] / "models" / "small-llama"
REPORT: dict[str, Any] = json.loads((MODEL / "evaluation.json").read_text(encoding="utf-8"))
CARD = (MODEL / "README.md").read_text(encoding="utf-8")
CELLS = [
    (version, workload, form)
    for version in ("1", "2")
    for workload in ("voice-domain", "bank-intent")
    for form in ("json", "tool")
]


def test_the_folder_stays_far_below_the_40_mb_that_a_repository_may_carry() -> None:
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) < 20 * 2**20


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_is_its_network_alone_and_ends_where_the_tokenizer_says(version: str) -> None:
    assert {file.name for file in (MODEL / version).iterdir()} == {
        "genai_config.json",
        "model.onnx",
        "model.onnx.data",
    }
    settings = json.loads((MODEL / version / "genai_config.json").read_text(encoding="utf-8"))["model"]
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == config["eos_token_id"]
    assert settings["vocab_size"] == config["vocab_size"]
    assert settings["context_length"] == config["max_position_embeddings"]


@pytest.mark.parametrize(("version", "workload", "form"), CELLS)
def test_the_card_quotes_the_measurement(version: str, workload: str, form: str) -> None:
    cell = REPORT["versions"][version][workload][form]
    low, high = cell["accuracy_wilson_95"]
    row = f"| {version} | `{workload}` | {form} | {cell['right']:,} of {cell['rows']:,} | "
    row += f"{cell['accuracy']:.3f} ({low:.3f} to {high:.3f}) | {cell['validity']:.4f} |"
    assert row in CARD.splitlines()


@pytest.mark.parametrize(("version", "workload", "form"), CELLS)
def test_the_measurement_is_of_the_whole_test_split(version: str, workload: str, form: str) -> None:
    cell = REPORT["versions"][version][workload][form]
    assert REPORT["split"] == "test"
    assert cell["rows"] == len(workloads()[workload].rows("test"))
    assert cell["accuracy_wilson_95"] == pytest.approx(wilson(cell["right"], cell["rows"]), abs=1e-4)
    assert cell["right"] <= cell["valid"] <= cell["rows"]


def test_version_2_is_clearly_worse_and_still_answers_in_form() -> None:
    for workload in ("voice-domain", "bank-intent"):
        good, bad = (REPORT["versions"][version][workload]["json"] for version in ("1", "2"))
        assert bad["accuracy_wilson_95"][1] < good["accuracy_wilson_95"][0] - 0.05
        assert bad["validity"] > 0.99
