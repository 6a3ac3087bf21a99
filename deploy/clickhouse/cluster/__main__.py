"""Prints the tables of a cluster, or writes them: `python -m deploy.clickhouse.cluster [--out DIR]`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from deploy.clickhouse.cluster.render import DEFAULT_CLUSTER, UnknownStatementError, render
from services.ledger.adapters.clickhouse import _APPLIED, MIGRATIONS, statements


def migrations(cluster: str = DEFAULT_CLUSTER, folder: Path = MIGRATIONS) -> dict[str, list[str]]:
    """The statements of each migration by the name of its file.

    The last of each notes that it has been applied, so that a ledger leaves the tables as they are.

    Raises:
        UnknownStatementError: there is no rule for a statement.
    """
    made: dict[str, list[str]] = {}
    # The table of applied migrations is in none of them.
    first = ["CREATE DATABASE IF NOT EXISTS homeward", _APPLIED.strip()]
    for file in sorted(folder.glob("[0-9]*.sql")):
        text = file.read_text(encoding="utf-8")
        number, digest = int(file.name.split("_")[0]), hashlib.sha256(text.encode()).hexdigest()
        applied = (
            "INSERT INTO homeward.schema_migrations (number, name, sha256)\n"  # noqa: S608  # no outside's text
            f"SELECT {number}, '{file.stem}', '{digest}'\n"
            f"WHERE {number} NOT IN (SELECT number FROM homeward.schema_migrations)"
        )
        rendered = [part for item in [*first, *statements(text), applied] for part in render(item, cluster)]
        made[file.name] = rendered
        first = []
    return made


def script(rendered: list[str]) -> str:
    """Statements as a file for `clickhouse-client --multiquery`."""
    return ";\n\n".join(rendered) + ";\n"


def main() -> int:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m deploy.clickhouse.cluster", description=__doc__)
    parser.add_argument(
        "--cluster", default=DEFAULT_CLUSTER, help="its name in remote_servers; default: the servers' macro"
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write a file for each migration to; default: print"
    )
    options = parser.parse_args()
    try:
        made = migrations(options.cluster)
    except UnknownStatementError as error:
        print(error, file=sys.stderr)
        return 1
    for name, rendered in made.items():
        if options.out is None:
            print(f"-- {name}\n\n{script(rendered)}")
        else:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / name).write_text(script(rendered), encoding="utf-8")
    if options.out is not None:
        print(f"{len(made)} files in {options.out}; run them in order: deploy/clickhouse/cluster/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
