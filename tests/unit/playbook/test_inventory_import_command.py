"""`homeward inventory import`: what it says, without storing anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from playbook.commands.inventory_import import import_

RUN = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
APP = typer.Typer()
APP.command("import")(import_)
HEAD = "time,model,input_tokens,output_tokens\n"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "homeward.toml"
    path.write_text('[clickhouse]\nurl = "http://127.0.0.1:1"\npassword = "x"\n')
    return path


def run(settings: Path, *arguments: str | Path) -> Result:
    return RUN.invoke(APP, [*map(str, arguments), "--settings", str(settings)])


def csv(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(HEAD + text)
    return path


def test_a_dry_run_tells_rows_days_dollars_unknown_prices_and_bad_rows(
    tmp_path: Path, settings: Path
) -> None:
    path = csv(
        tmp_path,
        "2026-01-01,gpt-4o,1000000,0\n2026-01-02,my-own,5,5\n2026-01-02,[red]gpt-4o,x,5\n2026-01-03,gpt-4o,0,1\n",
    )
    told = run(settings, path, "--dry-run")
    assert told.exit_code == 0
    assert "3 rows of plain_csv would be imported" in told.output
    assert "3 days with rows, 2026-01-01" in told.output
    assert "2.50001 USD for 2 of 3 rows" in told.output
    assert "1 rows  my-own: nobody says whose model it is" in told.output
    assert (
        "line 4: input tokens is no number (time=2026-01-02, input_tokens=x, output_tokens=5)" in told.output
    )
    assert "Next: the same command without --dry-run." in told.output


def test_json_has_the_same_figures(tmp_path: Path, settings: Path) -> None:
    path = csv(tmp_path, "2026-01-01,gpt-4o,1000000,0\n2026-01-02,,5,5\n")
    document = json.loads(run(settings, path, path, "--dry-run", "--json").output)
    assert document["dry_run"] is True
    first, second = document["files"]
    assert first == second
    assert first["cost_nanos"] == 2_500_000_000
    assert first["unknown_prices"] == [
        {"provider": "", "model": "", "reason": "the export names no model", "rows": 1}
    ]
    assert (first["rows"], first["bad_rows"], first["days"], first["left_out"]) == (2, 0, 2, {})


def test_the_command_says_which_price_applies_where_the_file_does_not(tmp_path: Path, settings: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2026-01-01 00:00:00.1234567,1000000,0\n")
    assert "unknown for 1 of 1 rows" in run(settings, path, "--dry-run").output
    told = run(settings, path, "--dry-run", "--model", "gpt-4o", "--provider", "openai")
    assert "2.50 USD for 1 of 1 rows" in told.output


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n1,2\n", "columns a, b"), (None, "can't be read"), ("", "is empty")],
)
def test_a_file_that_can_not_be_imported_is_told_in_a_line(
    tmp_path: Path, settings: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    told = run(settings, path, "--dry-run")
    assert told.exit_code == 1
    assert message in told.stderr
    assert not told.stdout


def test_without_clickhouse_nothing_is_imported_and_the_line_says_so(tmp_path: Path, settings: Path) -> None:
    told = run(settings, csv(tmp_path, "2026-01-01,gpt-4o,1,1\n"))
    assert told.exit_code == 1
    assert "does not answer" in told.stderr


def test_a_cut_off_file_is_told_to_be_brought_again(tmp_path: Path, settings: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text('{"object": "page", "data": [{"object": "bucket", "start_time": 1735689600')
    told = run(settings, path, "--dry-run")
    assert "NOT WHOLE: the file is cut off here" in told.output
    assert "Next: bring the whole file" in told.output
