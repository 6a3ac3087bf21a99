"""What ClickHouse tells of itself means, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from playbook.doctor.checks import Here, clock, disk
from playbook.doctor.facts import ClickHouse
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.words import listed
from playbook.lines import without_secrets

CLICKHOUSE = "ClickHouse"
TESTED = (26, 7)
"""The version that the tests and `make run` use (deploy/local/clickhouse/package.json)."""


def clickhouse(
    found: ClickHouse, carried: Mapping[int, str], names: Mapping[int, str], here: Here, limits: Limits
) -> list[Finding]:
    """The server of the book.

    Args:
        found: what it says.
        carried: SHA-256 by number of the migrations that this command's ledger carries.
        names: their names by number.
    """
    if found.problem:
        todo = (
            "set HOMEWARD_CLICKHOUSE__USER and HOMEWARD_CLICKHOUSE__PASSWORD, or call this where `make run`"
            " was started"
            if found.refused
            else "start it (`make run` does), or correct [clickhouse] url"
        )
        return [
            Finding(
                CLICKHOUSE,
                "answers",
                State.FAILED,
                f"{without_secrets(found.url)} as {found.user!r}: {found.problem}",
                todo,
            )
        ]
    told = [
        Finding(CLICKHOUSE, "answers", State.OK, f"{without_secrets(found.url)} as {found.user!r}"),
        _version(found),
        _migrations(found, carried, names, here),
    ]
    if found.clock is not None:
        told.append(clock(CLICKHOUSE, found.clock, limits))
    told += [disk(CLICKHOUSE, item, limits) for item in found.disks]
    if found.disks_problem:
        told.append(
            Finding(
                CLICKHOUSE,
                "disk",
                State.UNKNOWN,
                found.disks_problem,
                f"GRANT SELECT ON system.disks TO {found.user}, or look at its machine",
            )
        )
    told += [_once(found), *_health(found, limits), *_analyst(found)]
    return told


def _version(found: ClickHouse) -> Finding:
    parts = found.version.split(".")
    number = tuple(int(part) for part in parts[:2]) if all(part.isdigit() for part in parts[:2]) else ()
    if found.tokens is False:
        return Finding(
            CLICKHOUSE,
            "version",
            State.FAILED,
            f"{found.version} lacks the settings by which a batch that is sent again counts once",
            f"upgrade it to {'.'.join(map(str, TESTED))} or newer",
        )
    if number < TESTED:
        return Finding(
            CLICKHOUSE,
            "version",
            State.WARNING,
            f"{found.version or 'unknown'}; Homeward is tested with {'.'.join(map(str, TESTED))}",
            "upgrade it, or run Homeward's tests on it",
        )
    return Finding(CLICKHOUSE, "version", State.OK, found.version)


def _migrations(
    found: ClickHouse, carried: Mapping[int, str], names: Mapping[int, str], here: Here
) -> Finding:
    check, start = (
        "migrations",
        f"start a ledger, which applies them: `python -m services.ledger {here.settings}`",
    )
    if found.migrations is None:
        why = found.migrations_problem or "they can't be read"
        return Finding(CLICKHOUSE, check, State.FAILED, f"no table of migrations: {why}", start)
    missing = sorted(set(carried) - set(found.migrations))
    if missing:
        told = listed([names[number] for number in missing], most=3)
        return Finding(CLICKHOUSE, check, State.FAILED, f"{len(missing)} not applied: {told}", start)
    changed = [number for number, digest in carried.items() if found.migrations[number] != digest]
    if changed:
        return Finding(
            CLICKHOUSE,
            check,
            State.FAILED,
            f"{listed([names[number] for number in changed], most=3)} was applied with another text",
            "run the version that applied it: a ledger of this one refuses to start on it",
        )
    newer = sorted(set(found.migrations) - set(carried))
    if newer:
        return Finding(
            CLICKHOUSE,
            check,
            State.WARNING,
            f"{len(newer)} more than this command knows, up to number {newer[-1]}",
            "upgrade this command: its tables are older than the server's",
        )
    return Finding(CLICKHOUSE, check, State.OK, f"all {len(carried)} applied, up to {names[max(carried)]}")


def _once(found: ClickHouse) -> Finding:
    check = "batches count once"
    if not found.windows:
        return Finding(
            CLICKHOUSE, check, State.UNKNOWN, "its tables are not there", "see to the migrations first"
        )
    without = [table for table, window in found.windows.items() if not window]
    if without:
        return Finding(
            CLICKHOUSE,
            check,
            State.FAILED,
            f"no deduplication window on {listed(without)}: a batch that is sent again would count twice",
            f"ALTER TABLE homeward.{without[0]} MODIFY SETTING non_replicated_deduplication_window = 10000",
        )
    window = min(found.windows.values())
    return Finding(CLICKHOUSE, check, State.OK, f"each table of the book knows its last {window:,} batches")


def _health(found: ClickHouse, limits: Limits) -> list[Finding]:
    told = []
    if found.most_parts is not None:
        many = found.most_parts >= limits.parts_warning
        told.append(
            Finding(
                CLICKHOUSE,
                "parts",
                State.WARNING if many else State.OK,
                f"at most {found.most_parts:,} in a partition",
                "it merges slower than is inserted: give it CPU and disk, and look at system.merges"
                if many
                else "",
            )
        )
    if found.stuck_mutations:
        told.append(
            Finding(
                CLICKHOUSE,
                "mutations",
                State.FAILED,
                f"{found.stuck_mutations:,} fail again and again",
                "SELECT * FROM system.mutations WHERE NOT is_done, which says why",
            )
        )
    return told


def _analyst(found: ClickHouse) -> list[Finding]:
    check = "analyst"
    if not found.analyst:
        return [
            Finding(
                CLICKHOUSE,
                check,
                State.UNKNOWN,
                "this command knows no user that only reads",
                "make one as deploy/clickhouse/cluster/README.md says; `make run` has its own",
            )
        ]
    if found.analyst_problem:
        return [
            Finding(
                CLICKHOUSE,
                check,
                State.FAILED,
                f"{found.analyst!r}: {found.analyst_problem}",
                "look at its password, and GRANT SELECT, SHOW ON homeward.*, SELECT, SHOW ON otel.* to it",
            )
        ]
    if found.analyst_writes:
        return [
            Finding(
                CLICKHOUSE,
                check,
                State.FAILED,
                f"{found.analyst!r} may write to the book",
                f"REVOKE INSERT, ALTER, DROP, TRUNCATE ON homeward.* FROM {found.analyst}",
            )
        ]
    if found.analyst_writes is None:
        return [
            Finding(
                CLICKHOUSE,
                check,
                State.UNKNOWN,
                f"{found.analyst!r} reads; whether it may write is not told",
                f"SHOW GRANTS FOR {found.analyst}",
            )
        ]
    return [Finding(CLICKHOUSE, check, State.OK, f"{found.analyst!r} reads, and may not write")]
