"""The ledger's migrations as statements for a cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.clickhouse.cluster.__main__ import migrations
from deploy.clickhouse.cluster.render import SHARDING, UnknownStatementError, render
from services.ledger.adapters.clickhouse import MIGRATIONS, statements
from tests.support.stack import ROOT

FILES = sorted(file.name for file in MIGRATIONS.glob("*.sql"))
RENDERED = migrations()
PLAIN = {name: statements((MIGRATIONS / name).read_text()) for name in FILES}


def starting(file: str, words: str) -> list[str]:
    """The statements of a rendered migration that begin with some words."""
    return [statement for statement in RENDERED[file] if statement.startswith(words)]


def test_every_migration_is_rendered_in_order() -> None:
    assert list(RENDERED) == FILES


@pytest.mark.parametrize("file", FILES)
def test_every_table_is_replicated_on_all_servers_under_a_path_of_its_own(file: str) -> None:
    for statement in RENDERED[file]:
        assert statement.startswith("INSERT") or statement.count(" ON CLUSTER '{cluster}'") == 1
        assert not re.search(r"\b(?!Replicated)\w*MergeTree\b", statement)
        assert "non_replicated" not in statement
    local = [text for text in starting(file, "CREATE TABLE") if "MergeTree" in text]
    path = r"MergeTree\('(/clickhouse/tables/\{shard\}/\w+/\w+)', '\{replica\}'"
    paths = [re.findall(path, text) for text in local]
    assert all(len(path) == 1 for path in paths)
    assert len({path[0] for path in paths}) == len(paths)


@pytest.mark.parametrize("file", FILES)
def test_each_table_has_a_distributed_one_of_its_old_name_over_it(file: str) -> None:
    plain = [
        re.findall(r"^CREATE TABLE IF NOT EXISTS (\S+)", text)[0]
        for text in PLAIN[file]
        if "CREATE TABLE" in text
    ]
    made = [
        re.findall(r"^CREATE TABLE IF NOT EXISTS (\S+)", text)[0] for text in starting(file, "CREATE TABLE")
    ]
    extra = ["homeward.schema_migrations"] if file == FILES[0] else []
    assert made == [name + end for name in extra + plain for end in ("_local", "")]
    for name in extra + plain:
        (text,) = starting(file, f"CREATE TABLE IF NOT EXISTS {name} ")
        database, table = name.split(".")
        engine = f"ENGINE = Distributed('{{cluster}}', '{database}', '{table}_local', {SHARDING[name]})"
        assert f" AS {name}_local\n{engine}" in text


@pytest.mark.parametrize("file", FILES)
def test_what_is_inserted_is_summed_up_where_it_lies(file: str) -> None:
    for statement in starting(file, "CREATE MATERIALIZED VIEW"):
        tables = re.findall(r"\b(?:TO|FROM|JOIN) (\w+\.\w+)", statement)
        assert len(tables) == 2
        assert all(table.endswith("_local") for table in tables)


@pytest.mark.parametrize("file", FILES)
def test_columns_are_changed_in_both_tables_the_local_one_first(file: str) -> None:
    plain = [text for text in PLAIN[file] if text.startswith("ALTER TABLE")]
    changed = [text.split()[2] for text in starting(file, "ALTER TABLE")]
    expected = []
    for text in plain:
        name = text.split()[2]
        expected += [f"{name}_local", name] if "COLUMN" in text else [f"{name}_local"]
    assert changed == expected


def test_the_deduplication_window_outlasts_the_spool() -> None:
    (legs,) = starting("0001_legs.sql", "CREATE TABLE IF NOT EXISTS homeward.legs_local")
    week = 7 * 24 * 3600
    assert (
        f"replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = {week}" in legs
    )


def test_an_engines_own_arguments_stay() -> None:
    (periods,) = starting("0004_book.sql", "CREATE TABLE IF NOT EXISTS homeward.pool_periods_local")
    path = "/clickhouse/tables/{shard}/homeward/pool_periods"
    assert f"ENGINE = ReplicatedReplacingMergeTree('{path}', '{{replica}}', entry_id)" in periods


def test_legs_meet_their_corrections_on_the_shard() -> None:
    (costs,) = starting("0004_book.sql", "CREATE OR REPLACE VIEW homeward.leg_costs")
    assert "FROM homeward.legs AS legs" in costs
    assert "FROM homeward.corrections_local" in costs


def test_rows_that_a_migration_inserts_are_there_when_it_is_over() -> None:
    inserts = [text for texts in RENDERED.values() for text in texts if text.startswith("INSERT")]
    assert len(inserts) >= len(FILES)
    assert all(text.endswith("distributed_foreground_insert = 1") for text in inserts)
    assert all(text.count("\nSETTINGS ") == 1 for text in inserts)


def test_another_name_of_the_cluster_stands_everywhere() -> None:
    text = "\n".join(item for rendered in migrations("west").values() for item in rendered)
    assert "{cluster}" not in text
    assert "ON CLUSTER 'west'" in text
    assert "Distributed('west'" in text


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "CREATE TABLE IF NOT EXISTS homeward.new (a Int8)\nENGINE = MergeTree ORDER BY a",
            "no sharding key",
        ),
        ("CREATE TABLE IF NOT EXISTS homeward.legs (a Int8)\nENGINE = Memory", "no MergeTree"),
        ("CREATE TABLE homeward.legs (a Int8)\nENGINE = MergeTree ORDER BY a", "no rule"),
        ("OPTIMIZE TABLE homeward.legs", "no rule"),
        ("ALTER TABLE homeward.legs ADD COLUMN a Int8, ADD INDEX b a TYPE minmax", "split it"),
        (
            "CREATE OR REPLACE VIEW homeward.v AS SELECT 1 FROM homeward.legs AS l"
            "\nLEFT JOIN (SELECT * FROM homeward.usage) AS u ON 1",
            "different shards",
        ),
    ],
)
def test_a_statement_without_a_rule_is_refused(statement: str, problem: str) -> None:
    with pytest.raises(UnknownStatementError, match=problem):
        render(statement)


def test_parentheses_in_quotes_are_none() -> None:
    view = (
        "CREATE OR REPLACE VIEW homeward.v AS SELECT 1 FROM homeward.legs AS l"
        "\nJOIN (SELECT ')', '\\')' FROM homeward.corrections) AS c ON 1"
        " WHERE 1 IN (SELECT 1 FROM homeward.usage)"
    )
    (made,) = render(view)
    assert "FROM homeward.corrections_local) AS c" in made
    assert made.endswith("(SELECT 1 FROM homeward.usage)")


def test_the_command_prints_or_writes_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.clickhouse.cluster"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line[3:] for line in printed.splitlines() if line.startswith("-- 0")] == FILES
    subprocess.run([*command, "--out", str(tmp_path / "made")], cwd=ROOT, check=True, capture_output=True)
    written = sorted((tmp_path / "made").iterdir())
    assert [file.name for file in written] == FILES
    for file in written:
        assert statements(file.read_text()) == RENDERED[file.name]
        assert file.read_text().rstrip() in printed
