"""`homeward report`: two files, and a check with exit code 1 if one number is not as they say."""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.commands import report as command
from playbook.report.gathered import Gathered

RUN = CliRunner(env={"COLUMNS": "100"})

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def book(example: Gathered, monkeypatch: pytest.MonkeyPatch) -> Gathered:
    """What is gathered in place of a running Homeward; the test may change it."""
    asked: list[Any] = []

    def gathered(_settings: Path, _environment: Any, workloads: Any, since: Any, until: Any) -> Gathered:
        asked.append((list(workloads), since, until))
        return copy.deepcopy(example)

    monkeypatch.setattr(command, "gather", gathered)
    monkeypatch.setattr(command, "ASKED", asked, raising=False)
    return example


def run(*arguments: str) -> Result:
    return RUN.invoke(app, ["report", *arguments])


def test_it_writes_both_files_and_they_hold(book: Gathered, tmp_path: Path) -> None:
    done = run("--out", str(tmp_path / "new"), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    page, printed = map(Path, told["files"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert printed.read_bytes().startswith(b"%PDF-")
    assert told["facts"] > 300
    assert 0 < told["unknown_facts"] < told["facts"]
    assert told["pages"] > 15
    for file in (page, printed):
        checked = run("--verify", str(file))
        assert checked.exit_code == 0, checked.output
        assert f"All {told['facts']} facts are as the document says." in checked.stdout
        assert command.ALIKE in checked.stdout
    # It was asked for the same as the document, not for what is now.
    assert command.ASKED[1][2].isoformat().startswith("2026-11-29T22:05:33")  # type: ignore[attr-defined]


def test_what_changed_is_named_with_exit_code_1(book: Gathered, tmp_path: Path) -> None:
    assert run("--case", "legal", "--out", str(tmp_path)).exit_code == 0
    book.answers["outside/bank-intent"].rows[0]["outside_legs"] = 7  # type: ignore[index]
    for ending in ("html", "pdf"):
        done = run("--verify", str(tmp_path / f"homeward-report.{ending}"))
        assert done.exit_code == 1
        assert "outside/bank-intent/outside_legs: the document says 0, now it is 7" in done.stdout
    told = json.loads(run("--verify", str(tmp_path / "homeward-report.pdf"), "--json").stdout)
    assert not told["holds"]
    assert {"outside/bank-intent/outside_legs", "outside/all"} <= {item["key"] for item in told["changes"]}


def test_a_page_that_was_edited_does_not_hold(book: Gathered, tmp_path: Path) -> None:
    assert run("--case", "engineering", "--out", str(tmp_path)).exit_code == 0
    file = tmp_path / "homeward-report.html"
    text = file.read_text(encoding="utf-8")
    shown = ">2,604</a>"
    assert shown in text
    file.write_text(text.replace(shown, ">9,604</a>"), encoding="utf-8")
    done = run("--verify", str(file))
    assert done.exit_code == 1
    assert "the document says 9,604, but carries 2,604: the file was edited" in done.stdout


def test_words_that_are_no_facts_are_not_taken_for_whole(book: Gathered, tmp_path: Path) -> None:
    assert run("--case", "legal", "--out", str(tmp_path)).exit_code == 0
    file = tmp_path / "homeward-report.html"
    text = file.read_text(encoding="utf-8")
    assert "It is no legal advice" in text
    file.write_text(text.replace("It is no legal advice", "It is legal advice"), encoding="utf-8")
    done = run("--verify", str(file))
    assert done.exit_code == 0
    assert command.UNLIKE in done.stdout
    assert json.loads(run("--verify", str(file), "--json").stdout)["same_file"] is False


def test_a_pdf_whose_facts_were_edited_does_not_hold(book: Gathered, tmp_path: Path) -> None:
    from playbook.report import carried

    assert run("--case", "engineering", "--out", str(tmp_path)).exit_code == 0
    file = tmp_path / "homeward-report.pdf"
    data = file.read_bytes()
    said = carried._attached(data)
    shown = '"value": 2604, "unit": "count", "text": "2,604"'
    assert shown in said
    edited = zlib.compress(
        said.replace(shown, shown.replace("2604", "9604").replace("2,604", "9,604")).encode()
    )
    place = next(found for found in carried._EMBEDDED.finditer(data))
    length = carried._LENGTH.search(place[1])
    assert length is not None
    head = place[0].replace(length[0], b"/Length %d" % len(edited))
    end = place.end() + int(length[1])
    file.write_bytes(data[: place.start()] + head + edited + data[end:])
    done = run("--verify", str(file))
    assert done.exit_code == 1
    assert "totals/requests: the document says 9,604, now it is 2,604" in done.stdout


def test_a_changed_setting_is_named(book: Gathered, tmp_path: Path) -> None:
    assert run("--case", "legal", "--out", str(tmp_path)).exit_code == 0
    book.settings["workloads"]["bank-intent"]["allowed"]["regions"] = ["eu-central"]
    done = run("--verify", str(tmp_path / "homeward-report.pdf"))
    assert done.exit_code == 1
    assert "setting/workloads/bank-intent/allowed/regions: the document says any, now it is eu-central" in (
        done.stdout
    )


def test_what_could_not_be_asked_is_told(book: Gathered, tmp_path: Path) -> None:
    book.problems.append("shadow at 127.0.0.1:1 does not tell what it probed (UNAVAILABLE)")  # type: ignore[attr-defined]
    done = run("--case", "engineering", "--out", str(tmp_path))
    assert done.exit_code == 0
    assert "Not asked: shadow at 127.0.0.1:1" in done.stdout
    assert "Next: read " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nobody"], 1, "no workload 'nobody'"),
        (["--case", "astrology"], 2, "astrology"),
        (["--verify", "missing.pdf"], 1, "missing.pdf can't be read"),
        (["--verify", "homeward.toml"], 1, "is no document of `homeward report`"),
        (["--since", "2999-01-01"], 2, "not over yet"),
    ],
)
def test_mistakes_are_told(book: Gathered, arguments: list[str], code: int, says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    assert says in " ".join(done.output.split())
