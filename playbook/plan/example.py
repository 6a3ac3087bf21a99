"""A made-up organisation, so that plan and finance can be read before there is anything to measure.

It never meets the book: its spend is computed from a data file, and each of its names says that it is one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from playbook.finance.gather import Book, Config
from playbook.finance.inputs import Source
from playbook.inventory.gather import put_together
from playbook.inventory.lines import inventory
from playbook.inventory.saving import PUBLISHED, by_settings
from playbook.inventory.spend import Group, Tokens
from playbook.plan.gather import Gathered, gather
from playbook.plan.schedule import Phase
from services.ledger.core.pools import hourly_cost

FILE = Path(__file__).with_name("example.toml")
ORIGIN = Source("setting", "made up, nobody spent it: playbook/plan/example.toml")
PROVIDER, MODEL = "example-cloud", "example-model"
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Example:
    """What the command shows, and what it says of it."""

    title: str
    found: Gathered


def example(
    today: date, *, renewal: date | None = None, first: Phase = "inventory", file: Path = FILE
) -> Example:
    """The example, decided on a day.

    Args:
        today: the day of the decision; use ends the day before.
        renewal: comes before that of the file.
        first: the phase that comes first; those before are done.
        file: the organisation.
    """
    told = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    config = Config.model_validate(told["settings"])
    days = [today - timedelta(days=past) for past in range(told["days"], 0, -1)]
    groups = [_group(item, told, days) for item in told["workloads"]]
    pools = {
        name: (hourly_cost(pool).total, pool.gpus, Fraction(pool.output_weight))
        for name, pool in config.pools.items()
    }
    spend = put_together(groups, [("usage", PROVIDER, days)])
    book = Book(inventory(spend, {}, by_settings(pools) or PUBLISHED), origin=ORIGIN)
    day = renewal or today + timedelta(days=told["renewal_days"])
    return Example(told["title"], gather(config, today, renewal=day, first=first, book=book))


def _group(item: Mapping[str, Any], told: Mapping[str, Any], days: list[date]) -> Group:
    """A workload's use, as imported pages have it."""
    share = told["weekend_share"]
    counts = [round(item["requests"] * (share if day.weekday() >= SATURDAY else 1)) for day in days]
    requests = sum(counts)
    tokens = Tokens(input=requests * item["input_tokens"], output=requests * item["output_tokens"])
    a_request = item["input_tokens"] + item["output_tokens"]
    # Dollars per million tokens are thousands of nano-dollars a token.
    cost = 1000 * (tokens.input * told["usd_per_mtok_input"] + tokens.output * told["usd_per_mtok_output"])
    return Group(
        source="usage",
        workload=item["name"],
        fingerprint="",
        provider=PROVIDER,
        model=MODEL,
        who_kind="",
        who="",
        models=(MODEL,),
        coarse=False,
        daily=tuple((day, count, count * a_request) for day, count in zip(days, counts, strict=True)),
        requests=requests,
        unknown_requests=0,
        tokens=tokens,
        cost_nanos=round(cost),
        priced_rows=len(days),
        unpriced_rows=0,
        unpriced_tokens=0,
        currencies=(),
        task_types={item["task_type"]: requests},
    )
