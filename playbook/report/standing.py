"""What was found of each workload, as facts that several cases tell: stage, verdict, costs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from playbook.report.book import Book, DecisionFound, Found
from playbook.report.facts import Fact, computed

ROLLED_BACK = "ROLLED_BACK"
TARGETS = frozenset({"cloud", "sovereign"})
THOUSAND = 1_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """The comparison of a workload, from the book alone."""

    windows: Sequence[Found]
    """Of the lane that decides, oldest first; at least one."""
    controls: dict[str, Found]
    """The last window of each control lane."""

    @property
    def last(self) -> Found:
        """The state at the last close."""
        return self.windows[-1]

    @property
    def verdict(self) -> str:
        """COLLECTING, READY or REJECTED; a verdict stands for its epoch."""
        return str(self.last["verdict"])

    @property
    def decided(self) -> Found | None:
        """The window with which the verdict fell; None if it has not."""
        return next((row for row in self.windows if row["verdict"] != "COLLECTING"), None)

    @property
    def needed(self) -> Fact:
        """What ln K must reach for READY in this epoch."""
        alpha, epoch = self.last.fact("alpha", "number"), self.last.fact("epoch", "count")
        value = math.log(2.0 ** self.last["epoch"] / self.last["alpha"])
        name = f"ln K that {self.last['workload']} needs"
        return computed(f"{self.last.key}/needed", value, "log", "ln(2^epoch / α)", [alpha, epoch], name=name)


def evidence_of(book: Book, workload: str) -> Evidence | None:
    """Its comparison; None if no window has closed."""
    rows = book.rows("windows", workload=workload)
    windows = [row for row in rows if row["lane"] == ""]
    if not windows:
        return None
    lanes = {row["lane"]: row for row in rows if row["lane"] in ("cloud", "degraded")}
    return Evidence(windows, lanes)


def stage_of(book: Book, workload: str) -> Fact | None:
    """Where it stands by the last entry of the journal; None if no entry is about it."""
    moves = book.decisions(workload)
    return moves[-1].fact("to", "text") if moves else None


def rollbacks(book: Book, workload: str) -> list[DecisionFound]:
    """Its ways back, the oldest first."""
    return [item for item in book.decisions(workload) if item.row["to"] == ROLLED_BACK]


def home_share(book: Book, workload: str) -> Fact:
    """Share of its answered requests that the model at home answered, over the whole period."""
    home = book.sum("spend", "ok_legs", "count", workload=workload, purpose="production", target="sovereign")
    cloud = book.sum("spend", "ok_legs", "count", workload=workload, purpose="production", target="cloud")
    whole = (home.number or 0) + (cloud.number or 0)
    value = None if home.number is None or not whole else home.number / whole
    return computed(
        f"home share/{workload}",
        value,
        "share",
        "answered at home / all answered",
        [home, cloud],
        name=f"answered at home: {workload}",
    )


def request_cost(book: Book, workload: str, target: str) -> Fact:
    """What a thousand answered requests cost there, of those whose cost is known; those of the comparison
    where applications had none."""
    one = _one_request(book, workload, target)
    value = None if one.number is None else round(one.number * THOUSAND)
    key = f"thousand requests/{workload}/{target}"
    how = "mean known cost of an answered request × 1,000"
    where = "at home" if target == "sovereign" else "in the cloud"
    return computed(key, value, "nanos", how, [one], name=f"1,000 requests {where}: {workload}")


def partly_known(book: Book, workload: str, target: str) -> bool:
    """Whether that is of some requests only, for the cost of others is unknown."""
    row = _priced(book, workload, target)
    return row is not None and row["unknown_legs"] > 0


def _one_request(book: Book, workload: str, target: str) -> Fact:
    row = _priced(book, workload, target)
    if row is None:
        return book.missing("spend", "nanos_per_request", "nanos", workload=workload, target=target)
    return row.fact("nanos_per_request", "nanos")


def _priced(book: Book, workload: str, target: str) -> Found | None:
    """The calls by which a request's cost is known; None if none has one."""
    for purpose in ("production", "shadow"):
        rows = book.rows("spend", workload=workload, target=target, purpose=purpose)
        if rows and rows[0]["nanos_per_request"] is not None:
            return rows[0]
    return None


def unknown_costs(book: Book, workload: str) -> Fact:
    """How many of its calls, whatever for, have no known cost."""
    return book.sum("spend", "unknown_legs", "count", workload=workload)


def experiment_cost(book: Book, workload: str) -> Fact:
    """What comparing it cost, as far as it is known."""
    rows = [row for row in book.rows("spend", workload=workload) if row["purpose"] != "production"]
    # Of no known cost the total is unknown, not 0.
    known = [row for row in rows if row["known_nanos"] is not None] or rows
    return book.total("spend", "known_nanos", "nanos", known, workload=workload, purpose="experiments")


def came_back(book: Book, workload: str) -> bool:
    """Whether the last entry of the journal took it back to the cloud."""
    stage = stage_of(book, workload)
    return stage is not None and stage.value == ROLLED_BACK


def compared(book: Book) -> list[str]:
    """Workloads with a closed window."""
    return [name for name in book.workloads if evidence_of(book, name) is not None]


def outside(book: Book) -> Fact:
    """Legs outside of what their data class allows, of all workloads."""
    facts = [book.fact(f"outside/{name}", "outside_legs", "count") for name in book.workloads]
    if not facts:
        return book.missing("outside", "outside_legs", "count")
    values = [fact.value for fact in facts]
    value = None if None in values else sum(int(value) for value in values if value is not None)
    how = "sum over the workloads"
    return computed("outside/all", value, "count", how, facts, name="calls outside of their data class")


def forbids_nothing(book: Book, workload: str) -> bool:
    """Whether its data class allows all targets and regions, so that none of its calls could be outside."""
    allowed = book.gathered.settings.get("workloads", {}).get(workload, {}).get("allowed")
    return allowed is not None and set(allowed["targets"]) >= TARGETS and not allowed["regions"]


def back_in_force(book: Book, number: int) -> Fact:
    """Seconds from a rollback's decision to the first request that began in the cloud and after which none
    began at home; not measured if none came."""
    return book.fact(f"in_force/{number}", "seen_s", "s")
