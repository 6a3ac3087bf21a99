"""`homeward report`: two files, and a check with exit code 1 if one number is not as they say."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.commands import report as command
from playbook.report.gathered import Gathered
from playbook.report.mappings import read_laws

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


def _without_marks(text: str) -> str:
    return re.sub(r' data-fact="[^"]*"', "", text).replace(">2,604</a>", ">9,999</a>")


def _one_mark_less(text: str) -> str:
    return text.replace(' data-fact="totals/requests"', "", 1)


def _words(text: str) -> str:
    return text.replace("It is no legal advice", "It is legal advice")


def _picture(text: str) -> str:
    return re.sub(r"data:image/svg\+xml;base64,[^\"]+", "data:image/svg+xml;base64,PHN2Zy8+", text, count=1)


def _query(text: str) -> str:
    return text.replace("<pre><code>-- ", "<pre><code>-- Nothing: ", 1)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_without_marks, "fewer than it should: the file was edited"),
        (_one_mark_less, "totals/requests: the document says 2,604, but 1 time fewer than it should"),
        (_words, "it was changed after it was written"),
        (_picture, "it was changed after it was written"),
        (_query, "it was changed after it was written"),
    ],
)
def test_a_page_that_was_edited_beside_its_facts_does_not_hold(
    book: Gathered, tmp_path: Path, edit: Callable[[str], str], says: str
) -> None:
    assert run("--out", str(tmp_path)).exit_code == 0
    file = tmp_path / "homeward-report.html"
    text = file.read_text(encoding="utf-8")
    assert edit(text) != text
    file.write_text(edit(text), encoding="utf-8")
    done = run("--verify", str(file))
    assert done.exit_code == 1
    assert says in done.stdout
    told = json.loads(run("--verify", str(file), "--json").stdout)
    assert (told["holds"], told["same_file"]) == (False, None)


def _edited_page(data: bytes) -> bytes:
    """The PDF with other words on one of its pages, and all that it carries as it was."""
    for found in re.finditer(rb"<<[^\n]*?/Length (\d+)[^\n]*?>>\s*stream\r?\n", data):
        length = re.search(rb"/Length (\d+)", found[0])
        assert length is not None
        try:
            shown = zlib.decompress(data[found.end() : found.end() + int(length[1])])
        except zlib.error:
            continue
        if b" Tf" in shown and b"TJ" in shown:
            edited = zlib.compress(shown.replace(b"TJ", b"pop", 1))
            head = found[0].replace(length[0], b"/Length %d" % len(edited))
            return data[: found.start()] + head + edited + data[found.end() + int(length[1]) :]
    raise AssertionError("no page has a text")


def test_a_pdf_whose_pages_were_edited_does_not_hold(book: Gathered, tmp_path: Path) -> None:
    from playbook.report.carried import read

    assert run("--case", "engineering", "--out", str(tmp_path)).exit_code == 0
    file = tmp_path / "homeward-report.pdf"
    data = file.read_bytes()
    edited = _edited_page(data)
    assert read(edited) == read(data)
    file.write_bytes(edited)
    done = run("--verify", str(file))
    assert done.exit_code == 1
    assert "it was changed after it was written" in done.stdout
    assert "facts are as the document says, but it is not what it was." in done.stdout


@pytest.mark.parametrize("ending", ["html", "pdf"])
@pytest.mark.parametrize(
    "change",
    [
        lambda book: dataclasses.replace(book, version="0.0.9"),
        lambda book: dataclasses.replace(book, written_with={"typst": "0.1", "machine": "Plan9 vax"}),
    ],
    ids=["another version", "another machine"],
)
def test_a_file_that_another_installation_wrote_is_neither_whole_nor_edited(
    book: Gathered,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: Callable[[Gathered], Gathered],
    ending: str,
) -> None:
    """Its numbers hold, but whoever writes another version into an edited file must not have it pass."""
    other = change(book)
    with monkeypatch.context() as there:
        there.setattr(command, "gather", lambda *_: copy.deepcopy(other))
        assert run("--case", "finance", "--out", str(tmp_path)).exit_code == 0
    file = str(tmp_path / f"homeward-report.{ending}")
    done = run("--verify", file)
    assert done.exit_code == command.UNPROVEN, done.output
    assert "facts are as the document says." in done.stdout
    assert "can't be held against them here" in done.stdout
    told = json.loads(run("--verify", file, "--json").stdout)
    assert (told["holds"], told["same_file"], told["changes"]) == (None, False, [])


def test_words_that_changed_are_named_by_their_section(
    book: Gathered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("--case", "legal", "--out", str(tmp_path)).exit_code == 0
    laws = read_laws()
    other = dataclasses.replace(laws[0].clauses[0], remains="Nothing.")
    laws[0] = dataclasses.replace(laws[0], clauses=(other, *laws[0].clauses[1:]))
    monkeypatch.setattr(command, "read_laws", lambda: laws)
    done = run("--verify", str(tmp_path / "homeward-report.pdf"))
    assert done.exit_code == 1
    assert f"mapping/{laws[0].name}: the document says " in done.stdout


def test_what_could_not_be_asked_then_is_another_word_now(book: Gathered, tmp_path: Path) -> None:
    book.problems.append("the journal was cut off")  # type: ignore[attr-defined]
    assert run("--case", "finance", "--out", str(tmp_path)).exit_code == 0
    book.problems.clear()  # type: ignore[attr-defined]
    done = run("--verify", str(tmp_path / "homeward-report.html"))
    assert done.exit_code == 1
    assert "words/summary: " in done.stdout
    assert "a text that is no fact has changed" in done.stdout


def test_rows_that_no_fact_shows_are_named(book: Gathered, tmp_path: Path) -> None:
    assert run("--case", "finance", "--out", str(tmp_path)).exit_code == 0
    book.answers["pools"].parameters["grace_s"] = 1  # type: ignore[index]
    done = run("--verify", str(tmp_path / "homeward-report.html"))
    assert done.exit_code == 1
    assert re.search(r"reference/Q\d+: .*now it has another parameters", done.stdout)


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
