"""Hands out facts of what was gathered: no value leaves here without its reference. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbook.report.facts import Fact, Kind, Reference, Value, computed
from playbook.report.gathered import Gathered

IDENTITY: Mapping[str, tuple[str, ...]] = {
    "totals": (),
    "spend": ("workload", "target", "purpose"),
    "residency": ("workload", "purpose", "target", "provider", "upstream", "region"),
    "records": ("workload", "key_name", "target", "provider", "model", "policy_version"),
    "outside": (),
    "latency": ("kind", "workload", "target"),
    "traffic": ("workload", "target", "step_time"),
    "windows": ("workload", "lane", "epoch", "number"),
    "funnel": ("workload", "epoch"),
    "agreement": ("workload", "epoch"),
    "in_force": (),
    "examples": ("lane", "sample_id"),
    "pools": ("pool",),
    "retention": ("database", "name"),
    "text_columns": (),
}
"""Columns that tell the rows of a query apart."""


INVENTORY = ("inventory_usage", "inventory_legs", "inventory_days")
"""The queries from which a month's spend by workload follows."""
SECTION_DEPTH = {"compliance": 3}
"""Names of a section, where they are not two: `[compliance.workloads.triage]`."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row of an answer."""

    row: Mapping[str, Any]
    key: str
    reference: Reference

    def __getitem__(self, column: str) -> Any:
        return self.row[column]

    def fact(self, column: str, unit: str) -> Fact:
        """The value of a column."""
        return Fact(f"{self.key}/{column}", self.row.get(column), unit, self.reference)


class Book:
    """What was gathered."""

    def __init__(self, found: Gathered) -> None:
        self.gathered = found

    @property
    def workloads(self) -> Sequence[str]:
        """That the document is about."""
        return self.gathered.workloads

    def rows(self, query: str, **where: Any) -> list[Found]:
        """The rows of an answer whose columns have these values; none if it could not be asked.

        Args:
            query: its name, or `name/workload`.
            where: column and value.
        """
        asked = self.gathered.answers.get(query)
        if asked is None:
            return []
        identity, reference = IDENTITY[query.partition("/")[0]], self._reference(query)
        return [
            Found(row, "/".join([query, *(str(row[column]) for column in identity)]), reference)
            for row in asked.rows
            if all(row[column] == value for column, value in where.items())
        ]

    def fact(self, query: str, column: str, unit: str, **where: Any) -> Fact:
        """The value of a column in the only such row; not measured if there is none."""
        for row in self.rows(query, **where):
            return row.fact(column, unit)
        return self.missing(query, column, unit, **where)

    def missing(self, query: str, column: str, unit: str, **where: Any) -> Fact:
        """A value that the answer does not have."""
        return Fact(_key(query, column, where), None, unit, self._reference(query))

    def sum(self, query: str, column: str, unit: str, **where: Any) -> Fact:
        """The sum of a column over such rows: unknown if one is, zero of none (if it could be asked)."""
        return self.total(query, column, unit, self.rows(query, **where), **where)

    def total(self, query: str, column: str, unit: str, rows: Sequence[Found], **named: Any) -> Fact:
        """The sum of a column over rows that the caller has chosen; `named` says how, for the key."""
        values = [row[column] for row in rows]
        known = query in self.gathered.answers and None not in values
        return Fact(
            _key(query, f"sum of {column}", named),
            sum(values) if known else None,
            unit,
            self._reference(query),
        )

    def drawn(self, query: str, name: str, rows: Sequence[Found]) -> Fact:
        """What a picture was drawn from, as a hash of the rows."""
        told = json.dumps([dict(row.row) for row in rows], sort_keys=True, default=str)
        digest = hashlib.sha256(told.encode()).hexdigest()
        return Fact(f"picture/{name}", digest, "picture", self._reference(query))

    def setting(self, path: str, unit: str = "text", default: Value = None) -> Fact:
        """A setting by its path; lists are written as words, `default` stands for what is not set."""
        value: Any = self.gathered.settings
        for part in path.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, list):
            value = ", ".join(map(str, value)) or None
        if value in (None, "", {}):
            value = default
        return Fact(f"setting/{path}", value, unit, Reference(Kind.SETTING, section_of(path)))

    def decision(self, number: int) -> DecisionFound:
        """An entry of the journal."""
        for row in self.gathered.decisions:
            if row["decision_id"] == number:
                return _decision(row)
        raise KeyError(number)

    def decisions(self, workload: str) -> list[DecisionFound]:
        """A workload's, the oldest first; without those by which settings made it known."""
        return [
            _decision(row)
            for row in self.gathered.decisions
            if row["workload"] == workload and not (row["actor"] == "settings" and row["before"] is None)
        ]

    def decision_count(self, name: str, rows: Sequence[DecisionFound]) -> Fact:
        """How many entries, with all that the journal gave as reference."""
        last = self.gathered.decisions[-1] if self.gathered.decisions else None
        detail = "LedgerService.ListDecisions, all entries before the end of the period" + (
            f"; the last is {last['decision_id']} with hash {last['entry_sha256']}" if last else ""
        )
        reference = Reference(Kind.JOURNAL, "decisions", detail, rows=len(self.gathered.decisions))
        return Fact(f"journal/{name}", len(rows), "count", reference)

    def migration(self, workload: str) -> Mapping[str, Any] | None:
        """What shadow tells of a workload; None if it was away."""
        for item in self.gathered.migrations or ():
            if item["workload"] == workload:
                return item
        return None

    def shadow(self, workload: str, path: str, unit: str) -> Fact:
        """A value of what shadow tells, by its path."""
        value: Any = self.migration(workload)
        for part in path.split("/"):
            if isinstance(value, list):
                value = next((item for item in value if item.get("name", item.get("lane")) == part), None)
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        detail = "ShadowService.ListMigrations, as `homeward shadow show --json` prints it"
        reference = Reference(Kind.SHADOW, workload, detail, rows=1 if self.migration(workload) else 0)
        return Fact(f"shadow/{workload}/{path}", value, unit, reference)

    def inventory(self, key: str, value: Value, unit: str) -> Fact:
        """A value of the inventory, which is put together from several queries."""
        how = "put together as `homeward inventory show --json` does"
        asked = [self.asked_of(query) for query in INVENTORY]
        return computed(f"inventory/{key}", value, unit, how, asked, name="inventory")

    def asked_of(self, query: str) -> Fact:
        """That a query was asked, and how many rows it gave."""
        reference = self._reference(query)
        return Fact(f"{query}/rows", reference.rows, "count", reference)

    def _reference(self, query: str) -> Reference:
        asked = self.gathered.answers.get(query)
        if asked is None:
            return Reference(Kind.QUERY, query, "could not be asked", rows=0)
        return Reference(
            Kind.QUERY, query, asked.sql, tuple(sorted(asked.parameters.items())), len(asked.rows)
        )


@dataclass(frozen=True, slots=True)
class DecisionFound:
    """An entry of the journal, and facts of it."""

    row: Mapping[str, Any]
    reference: Reference

    @property
    def number(self) -> int:
        """Its place in the journal."""
        return int(self.row["decision_id"])

    def fact(self, column: str, unit: str) -> Fact:
        """The value of a column; `evidence.log_k` is one of its evidence."""
        value: Any = self.row
        for part in column.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return Fact(f"decision/{self.number}/{column}", value, unit, self.reference)


def _decision(row: Mapping[str, Any]) -> DecisionFound:
    reference = Reference(Kind.JOURNAL, f"decision {row['decision_id']}", f"entry {row['entry_sha256']}")
    return DecisionFound(row, reference)


def _key(query: str, column: str, where: Mapping[str, Any]) -> str:
    return "/".join([query, *(f"{name}={value}" for name, value in where.items()), column])


def section_of(path: str) -> str:
    """The section of the settings in which a value stands: `[workloads.triage]`."""
    parts = path.split("/")
    depth = SECTION_DEPTH.get(parts[0], 2)
    return f"[{'.'.join(parts[: min(depth, len(parts) - 1)])}]"


def words(items: Iterator[str] | Sequence[str]) -> str:
    """Names as words; `none` if there are none."""
    return ", ".join(items) or "none"
