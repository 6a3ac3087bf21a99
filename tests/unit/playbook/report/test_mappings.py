"""The control mappings are whole, and what they call evidence exists and shows what they say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbook.cli import app
from playbook.report.document import Document, Section
from playbook.report.gathered import Gathered
from playbook.report.mappings import FILES, FOLDER, Law, MappingError, queries, read_laws
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


SHOWN: dict[tuple[str, str], set[str]] = {
    ("GDPR", "Art. 5(1)(b), (c)"): {"columns", "text_columns"},
    ("GDPR", "Art. 5(1)(e)"): {"name", "kept"},
    ("GDPR", "Art. 15–17, 20, 21"): {"columns", "text_columns"},
    ("GDPR", "Art. 28(1), (3)"): {"provider", "legs"},
    ("GDPR", "Art. 33, 34"): {"workload", "provider", "region", "first_time", "last_time"},
    ("HIPAA", "§ 164.308(a)(1)"): {"key_name", "workload", "target", "region", "first_time", "traced_legs"},
    ("HIPAA", "§ 164.312(a)"): {"key_name"},
    ("HIPAA", "§ 164.312(b)"): {"key_name", "workload", "target", "provider", "legs"},
    ("HIPAA", "§ 164.312(c)"): {"columns", "text_columns"},
    ("SOX", "17 CFR 210.2-06"): {"name", "kept"},
    ("EU AI Act", "Art. 3, 25: whose duty"): {"model", "workload", "first_time"},
    ("EU AI Act", "Art. 12"): {
        *("first_time", "last_time", "key_name", "model", "target", "policy_version", "traced_legs"),
    },
    ("EU AI Act", "Art. 26(6)"): {"name", "kept"},
    ("Risks", "Texts are kept too long"): {"columns", "text_columns"},
    ("Risks", "Somebody asks who may not"): {"key_name"},
}
"""Clauses with a query as evidence: the columns that show what they say."""


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


def test_a_query_that_is_evidence_shows_what_its_clause_says(laws: list[Law]) -> None:
    cited = {
        (law.name, clause.clause): [item[6:] for item in clause.evidence if item.startswith("query:")]
        for law in laws
        for clause in law.clauses
    }
    assert {key for key, names in cited.items() if names} == set(SHOWN)
    for key, columns in SHOWN.items():
        found = set().union(*map(_columns, cited[key]))
        assert columns <= found, (key, columns - found)


def test_the_example_has_the_columns_of_the_queries_that_are_evidence(
    laws: list[Law], example: Gathered
) -> None:
    for name in sorted(queries(laws)):
        for row in example.answers[name].rows:
            assert set(row) == _columns(name), name


def _columns(query: str) -> set[str]:
    """That a query returns, by the names of its outermost SELECT."""
    sql = (QUERIES / f"{query}.sql").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^SELECT\b(.*?)^FROM\b", sql, re.MULTILINE | re.DOTALL)
    while (flat := re.sub(r"\([^()]*\)", "", listed)) != listed:
        listed = flat
    return {item.split(" AS ")[-1].strip() for item in listed.split(",")}


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
