"""What a workload has saved so far, from the book; unknown where a cost is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

QUERY = Path(__file__).parent / "queries" / "saved.sql"


@dataclass(frozen=True, slots=True)
class Saved:
    """A workload's figures of all time; amounts in nano-dollars."""

    workload: str
    home_requests: int
    """Production requests that the sovereign target answered."""
    home_unknown: int
    """Of its production legs there, those whose cost is unknown yet."""
    home_known_requests: int
    """Requests whose cost is known, at least."""
    home_nanos: int
    """What the known ones cost, without idle hours."""
    cloud_requests: int
    """Production requests in the cloud whose cost is known."""
    cloud_nanos: int
    cloud_unknown: int
    """Production legs in the cloud whose cost is unknown."""
    experiment_nanos: int
    """What shadow, noise, judge and probe legs cost, as far as it is known."""
    experiment_unknown: int
    """Of these, how many legs have no known cost."""

    @property
    def nanos(self) -> int | None:
        """Saved, idle hours of pools left out; negative if home is dearer. None is unknown: a price, or no
        pool's period is closed yet."""
        if not self.home_requests:
            return 0
        if not self.cloud_requests or not self.home_known_requests:
            return None
        return (
            round(Fraction(self.cloud_nanos, self.cloud_requests) * self.home_known_requests)
            - self.home_nanos
        )

    @property
    def why(self) -> str:
        """What is not in it, or why it is unknown; empty if all is known."""
        if not self.home_requests:
            return ""
        if not self.cloud_requests:
            return "no request of it in the cloud has a known cost: `homeward ledger unknown`"
        if not self.home_unknown:
            return ""
        if self.nanos is None:
            return "its pool's period is not closed, or it has none: `homeward ledger pools`"
        return f"without {self.home_unknown:,} legs whose pool's period is not closed"


def read_saved(client: Client) -> dict[str, Saved]:
    """By workload: those that have been answered at home, or compared.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    found = client.query(QUERY.read_text(encoding="utf-8")).named_results()
    return {row["workload"]: Saved(**row) for row in found}


def document(item: Saved | None) -> Mapping[str, Any]:
    """As JSON: null is unknown."""
    if item is None:
        return {"nanos": None, "why": "the book has no figures of it"}
    return {
        "nanos": item.nanos,
        "why": item.why or None,
        "home_requests": item.home_requests,
        "home_nanos": item.home_nanos,
        "home_unknown_legs": item.home_unknown,
        "cloud_nanos_per_request": item.cloud_nanos // item.cloud_requests if item.cloud_requests else None,
        "experiment_nanos": item.experiment_nanos,
        "experiment_unknown_legs": item.experiment_unknown,
    }
