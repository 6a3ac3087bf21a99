"""Groups of spend for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from playbook.inventory.spend import Group, Tokens

DOLLAR_NANOS = 1_000_000_000
TOKENS_A_REQUEST = 100
OUTPUT_PART = 6
"""One token of so many is of the answer."""


def project(who: str, usd: int | None, task_type: str, days: Sequence[date], requests_a_day: int) -> Group:
    """A project that uses gpt-4o alike on each day; its price is unknown without dollars."""
    requests = requests_a_day * len(days)
    tokens = requests * TOKENS_A_REQUEST
    output = tokens // OUTPUT_PART
    return Group(
        source="usage",
        workload="",
        fingerprint="",
        provider="openai",
        model="gpt-4o",
        who_kind="project",
        who=who,
        models=("gpt-4o",),
        coarse=False,
        daily=tuple((day, requests_a_day, requests_a_day * TOKENS_A_REQUEST) for day in days),
        requests=requests,
        unknown_requests=0,
        tokens=Tokens(input=tokens - output, output=output),
        cost_nanos=(usd or 0) * DOLLAR_NANOS,
        priced_rows=0 if usd is None else len(days),
        unpriced_rows=len(days) if usd is None else 0,
        unpriced_tokens=tokens if usd is None else 0,
        currencies=(),
        task_types={task_type: requests},
    )
