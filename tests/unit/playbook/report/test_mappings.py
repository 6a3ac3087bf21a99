"""The control mappings are whole, and what they call evidence exists."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbook.cli import app
from playbook.report.document import Document, Section
from playbook.report.mappings import FILES, FOLDER, Law, MappingError, read_laws
from services.common.settings import SECTIONS

ROOT = Path(__file__).parents[4]
QUERIES = ROOT / "playbook" / "report" / "queries"
CLAUSES = {
    "GDPR": ("Art. 5", "Art. 28", "Art. 30", "Art. 32", "Art. 35", "Art. 44–49"),
    "HIPAA": ("§ 164.308", "§ 164.312(a)", "§ 164.312(b)", "§ 164.312(c)", "§ 164.312(d), (e)"),
    "SOX": ("§ 302, § 404: change",),
    "EU AI Act": ("Art. 12", "Art. 26", "Art. 50"),
    "Risks": ("Data leave the region", "A wrong answer is acted on"),
}


def test_all_laws_are_there_with_their_clauses(laws: list[Law]) -> None:
    assert [law.name for law in laws] == list(CLAUSES)
    for law in laws:
        told = [clause.clause for clause in law.clauses]
        for clause in CLAUSES[law.name]:
            assert any(item.startswith(clause) for item in told), (law.name, clause)


def test_each_evidence_exists(laws: list[Law], whole: tuple[Document, object]) -> None:
    sections = {item.name for section in whole[0].sections for item in _sections(section)}
    for law in laws:
        for clause in law.clauses:
            assert clause.evidence, (law.name, clause.clause)
            for item in clause.evidence:
                kind, _, what = item.partition(":")
                found = {
                    "journal": lambda _: True,
                    "query": lambda what: (QUERIES / f"{what}.sql").exists(),
                    "section": lambda what: what in sections,
                    "settings": lambda what: what in SECTIONS,
                    "document": lambda what: (ROOT / what).exists(),
                    "command": _is_command,
                }[kind](what)
                assert found, (law.name, clause.clause, item)


def _is_command(told: str) -> bool:
    words = [word for word in told.split()[1:] if word.islower() and not word.startswith("-")]
    return CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def _sections(section: Section) -> Iterator[Section]:
    yield section
    for part in section.sections:
        yield from _sections(part)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('remains = "Set periods', 'remained = "Set periods', "clause Art. 5(1)(e): remains is missing"),
        ('asks = "Pseudonymise and', 'asked = "Pseudonymise and', "clause Art. 32(1)(a): asks is missing"),
        ('reviewed = ""', 'shows = "everything"', "shows 'everything'"),
        ('"journal"', '"rumour:x"', "evidence 'rumour:x'"),
        ('name = "GDPR"', "name = 1", "name is missing"),
        ("[[clauses]]", "[[clauses]", "gdpr.toml"),
        ('evidence = ["section:dpia"]', 'evidence = ["section:dpia"]\nnote = "x"', "unknown note"),
    ],
)
def test_a_mistake_in_a_mapping_is_told_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    shutil.copytree(FOLDER, tmp_path / "laws")
    file = tmp_path / "laws" / FILES[0]
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(MappingError) as told:
        read_laws(tmp_path / "laws")
    assert says in str(told.value)
