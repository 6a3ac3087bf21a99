"""`homeward classifier evaluate`, on the real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playbook.cli import app

RUN = CliRunner()
TEST_ROWS = Path(__file__).parents[3] / "data" / "classifier" / "test_dev.jsonl"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file's first rows, in a folder of their own that the command is called from."""
    file = tmp_path / "mine.jsonl"
    file.write_text(
        "".join(TEST_ROWS.read_text(encoding="utf-8").splitlines(keepends=True)[:40]), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return file


def test_from_any_folder_it_prints_one_json_object_and_says_what_is_next(rows: Path) -> None:
    done = RUN.invoke(app, ["classifier", "evaluate", rows.name, "--json"])
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["n"] == 40
    assert sum(map(sum, report["confusion"]["matrix"])) + sum(report["confusion"]["no_guess"]) == 40
    # Chance is a tenth, and the most frequent label a quarter.
    assert report["accuracy"] > 0.5
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert "homeward workload add" in report["next_step"]
    assert done.stderr == ""


def test_for_people_it_prints_a_page_that_ends_with_what_is_next(rows: Path) -> None:
    done = RUN.invoke(app, ["classifier", "evaluate", str(rows)])
    assert done.exit_code == 0, done.output
    for part in ("task type right", "By source:", "Confusion", "ms p50"):
        assert part in done.stdout
    assert "homeward workload add" in done.stdout.strip().splitlines()[-1]


def test_a_row_without_a_label_is_told_with_its_line(rows: Path) -> None:
    lines = rows.read_text(encoding="utf-8").splitlines()
    lines[6] = json.dumps({"messages": [{"role": "user", "content": "hello"}], "tier": "frontier"})
    rows.write_text("\n".join(lines), encoding="utf-8")
    done = RUN.invoke(app, ["classifier", "evaluate", str(rows)])
    assert done.exit_code == 1
    told, step = done.stderr.strip().splitlines()
    assert f"{rows}, line 7: `label` must be one of" in told
    assert step == f"Next: correct {rows}."


def test_a_folder_without_a_model_is_told(rows: Path, tmp_path: Path) -> None:
    done = RUN.invoke(app, ["classifier", "evaluate", str(rows), "--model", str(tmp_path)])
    assert done.exit_code == 1
    assert "encoder.onnx is missing" in done.stderr


def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    assert RUN.invoke(app, ["classifier", "evaluate", "nowhere.jsonl"]).exit_code == 2
