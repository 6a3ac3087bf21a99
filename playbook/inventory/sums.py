"""Reads what was spent from ClickHouse, which does the summing: groups and days come out, never rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from playbook.asked import Asked
from playbook.clickhouse_client import ask
from playbook.inventory.gather import MAX_GROUPS, day_of, group_of, put_together
from playbook.inventory.saving import Basis, Served, measured
from playbook.inventory.spend import Bill, Rest, Spend

QUERIES = Path(__file__).parents[1] / "queries"
USAGE, LEGS, DAYS, BILL = "inventory_usage", "inventory_legs", "inventory_days", "inventory_bill"
"""The queries, by their files."""
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2149, 6, 5)
"""What ClickHouse's Date can hold."""


def ask_spend(
    client: Client, since: date | None = None, until: date | None = None, *, max_groups: int = MAX_GROUPS
) -> dict[str, Asked]:
    """What was spent on the days from `since` to `until`, both included, by each query's name.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    given = {
        "since": (since or FIRST_DAY).isoformat(),
        "until": (until or LAST_DAY).isoformat(),
        "groups": max_groups,
    }
    return {name: ask(client, QUERIES / f"{name}.sql", given) for name in (USAGE, LEGS, DAYS, BILL)}


def spend_of(asked: Mapping[str, Asked], registered: Iterable[str]) -> Spend:
    """The same, put together."""
    groups = [asked[name].rows for name in (USAGE, LEGS)]
    cut_off: dict[str, Rest] = {}
    for part in groups:
        for provider, rest in _cut_off(part).items():
            before = cut_off.get(provider, Rest())
            cut_off[provider] = Rest(
                before.groups + rest.groups,
                before.cost_nanos + rest.cost_nanos,
                before.tokens + rest.tokens,
                before.unpriced_tokens + rest.unpriced_tokens,
            )
    return put_together(
        [group_of(row) for part in groups for row in part],
        [(row["source"], row["provider"], map(day_of, row["days"])) for row in asked[DAYS].rows],
        registered,
        cut_off=cut_off,
        bills=[Bill(**row) for row in asked[BILL].rows],
    )


def read_measured(client: Client, left_out: Collection[str] = (), until: date | None = None) -> Basis | None:
    """What the pools were measured to cost, without those that are left out; None if none has served enough.

    Args:
        until: the last day (UTC) that counts; None: all.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    query = (QUERIES / "inventory_pools.sql").read_text(encoding="utf-8")
    return measured(
        [
            Served(
                pool=row["pool"],
                cost_nanos=row["cost"],
                leg_cost_nanos=row["leg_cost"],
                input_tokens=row["input"],
                output_tokens=row["output"],
                output_weight=Fraction(row["output_weight"]).limit_denominator(1000),
            )
            for row in client.query(query, parameters={"until": until or LAST_DAY}).named_results()
            if row["pool"] not in left_out
        ]
    )


def _cut_off(rows: Sequence[Mapping[str, Any]]) -> dict[str, Rest]:
    """By provider: its totals less the groups that are given."""
    found: dict[str, Rest] = {}
    for row in rows:
        tokens = sum(
            row[name]
            for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens")
        )
        before = found.get(row["provider"]) or Rest(
            row["provider_groups"],
            row["provider_cost_nanos"],
            row["provider_tokens"],
            row["provider_unpriced_tokens"],
        )
        found[row["provider"]] = Rest(
            before.groups - 1,
            before.cost_nanos - row["cost_nanos"],
            before.tokens - tokens,
            before.unpriced_tokens - row["unpriced_tokens"],
        )
    return {provider: rest for provider, rest in found.items() if rest.groups}
