"""Puts the sums of ClickHouse together: groups become workloads, and a window's cost becomes a month's.

A provider's month is its window's cost by the days of which something is known. Days without rows within a
week, or within an export of buckets, are days on which nobody used it; a longer gap is one that no import
covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from statistics import fmean, pstdev
from typing import Any

from playbook.inventory.spend import Bill, Group, Kind, Rest, Source, Spend, Tokens, Window, Workload

MAX_GROUPS = 5000
"""Groups of a provider that are read one by one; what is smaller is summed."""
DAYS_PER_MONTH = Fraction(3044, 100)
MAX_GAP_DAYS = 7
"""A provider without rows for longer was not covered, unless an export is of those days; for shorter, nobody
used it."""


def group_of(row: Mapping[str, Any]) -> Group:
    """A group of a row of the queries."""
    return Group(
        source=row["source"],
        workload=row["workload"],
        fingerprint=row["fingerprint"],
        provider=row["provider"],
        model=row["model"],
        who_kind=row["who_kind"],
        who=row["who"],
        models=tuple(sorted(filter(None, row["models"]))),
        coarse=bool(row["coarse"]),
        daily=tuple(tuple(item) for item in row["daily"]),
        requests=row["requests"],
        unknown_requests=row["unknown_requests"],
        tokens=Tokens(
            row["input_tokens"], row["cached_input_tokens"], row["cache_write_tokens"], row["output_tokens"]
        ),
        cost_nanos=row["cost_nanos"],
        priced_rows=row["priced_rows"],
        unpriced_rows=row["unpriced_rows"],
        unpriced_tokens=row["unpriced_tokens"],
        currencies=tuple(sorted(row["currencies"])),
        task_types=dict(row["task_types"]),
    )


def put_together(
    groups: Iterable[Group],
    days: Iterable[tuple[Source, str, Iterable[date]]],
    registered: Iterable[str] = (),
    *,
    cut_off: Mapping[str, Rest] | None = None,
    bills: Sequence[Bill] = (),
) -> Spend:
    """The workloads, the dearest first, those of unknown price after them by tokens.

    Args:
        groups: of all sources.
        days: source, provider, and the days of which there are rows, or that an export is of.
        registered: names of registered workloads.
        cut_off: by provider, groups that are not in `groups`; their months are computed here.
        bills: of providers whose tokens and bills are both there.
    """
    by_source: dict[tuple[Source, str], set[date]] = {}
    for source, provider, some in days:
        by_source.setdefault((source, provider), set()).update(some)
    known_days = {
        provider: covered(set().union(*(by_source[key] for key in by_source if key[1] == provider)))
        for provider in sorted({provider for _, provider in by_source})
    }
    windows = {
        provider: Window(provider, some[0], some[-1], len(some)) for provider, some in known_days.items()
    }
    parts: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        parts.setdefault(group.key, []).append(group)
    known = set(registered)
    workloads = [_workload(items, windows, known_days, known) for items in parts.values()]
    rest = [
        Rest(
            item.groups,
            item.cost_nanos,
            item.tokens,
            item.unpriced_tokens,
            month_of(item.cost_nanos, windows[provider].days),
        )
        for provider, item in (cut_off or {}).items()
    ]
    return Spend(
        workloads=tuple(sorted(workloads, key=_dearest_first)),
        rest=Rest(
            sum(item.groups for item in rest),
            sum(item.cost_nanos for item in rest),
            sum(item.tokens for item in rest),
            sum(item.unpriced_tokens for item in rest),
            sum(item.month_nanos for item in rest),
        ),
        windows=tuple(windows.values()),
        bills=tuple(bills),
        left_out_legs=_both(by_source, "legs", ("usage", "cost")),
        left_out_costs=_both(by_source, "cost", ("usage",)),
    )


def month_of(amount: int, days: int) -> int:
    """What an amount of some days is in a month of 30.44; rounded half to even."""
    return round(Fraction(amount) * DAYS_PER_MONTH / days)


def covered(days: Iterable[date]) -> list[date]:
    """The days that are covered: from the first to the last, without gaps of more than a week."""
    found: list[date] = []
    for day in sorted(days):
        if found:
            gap = (day - found[-1]).days - 1
            if 0 < gap <= MAX_GAP_DAYS:
                found += [found[-1] + timedelta(days=past) for past in range(1, gap + 1)]
        found.append(day)
    return found


def day_of(number: int) -> date:
    """A day as ClickHouse counts them, from 1970-01-01."""
    return date(1970, 1, 1) + timedelta(days=number)


def _both(
    by_source: Mapping[tuple[Source, str], set[date]], which: Source, others: Sequence[Source]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for (source, provider), days in by_source.items():
        if source == which:
            common = days & set().union(*(by_source.get((other, provider), set()) for other in others))
            if common:
                found[provider] = len(common)
    return found


def _dearest_first(item: Workload) -> tuple[bool, int, int, str]:
    return (item.month_nanos is None, -(item.month_nanos or 0), -item.month_tokens.total, item.name)


def _workload(
    groups: Sequence[Group],
    windows: Mapping[str, Window],
    known_days: Mapping[str, Sequence[date]],
    registered: set[str],
) -> Workload:
    first = groups[0]
    tokens = sum((group.tokens for group in groups), Tokens())
    priced = any(group.priced_rows for group in groups)
    counted = [group for group in groups if group.requests is not None]
    name, kind = _named(first, registered)
    types: dict[str, int] = {}
    for group in groups:
        for word, count in group.task_types.items():
            types[word] = types.get(word, 0) + count
    types.pop("", None)
    common = max(sorted(types), key=lambda word: types[word], default="")
    days = {group.provider: windows[group.provider].days for group in groups}
    all_days = sorted(set().union(*(known_days[provider] for provider in days)))
    first_day, active, variation = _stability(groups, all_days)

    def month(amount: int, group: Group) -> int:
        return month_of(amount, days[group.provider])

    return Workload(
        name=name,
        kind=kind,
        sources=tuple(sorted({group.source for group in groups})),
        providers=tuple(sorted({group.provider for group in groups if group.provider})),
        models=tuple(sorted({model for group in groups for model in group.models})),
        requests=sum(group.requests or 0 for group in counted) if counted else None,
        unknown_requests=sum(group.unknown_requests for group in groups),
        tokens=tokens,
        cost_nanos=sum(group.cost_nanos for group in groups) if priced else None,
        unpriced_tokens=sum(group.unpriced_tokens for group in groups),
        unpriced_rows=sum(group.unpriced_rows for group in groups),
        month_nanos=sum(month(group.cost_nanos, group) for group in groups) if priced else None,
        month_requests=sum(month(group.requests or 0, group) for group in counted) if counted else None,
        month_tokens=sum(
            (
                Tokens(
                    month(group.tokens.input, group),
                    month(group.tokens.cached_input, group),
                    month(group.tokens.cache_write, group),
                    month(group.tokens.output, group),
                )
                for group in groups
            ),
            Tokens(),
        ),
        first_day=first_day,
        days=sum(day >= first_day for day in all_days) if first_day else max(days.values()),
        active_days=active,
        variation=variation,
        task_type=common,
        task_type_share=types[common] / sum(types.values()) if common and sum(types.values()) else None,
        currencies=tuple(sorted({word for group in groups for word in group.currencies})),
        extrapolated=any(windows[group.provider].extrapolated for group in groups),
    )


def _named(group: Group, registered: set[str]) -> tuple[str, Kind]:
    model = f" · {group.model}" if group.model else ""
    if group.workload:
        return group.workload, "registered" if group.workload in registered else "named"
    if group.fingerprint:
        return f"prompt {group.fingerprint[:8]}{model}", "prompt"
    if group.who:
        kind: Kind = (
            "project" if group.who_kind == "project" else "key" if group.who_kind == "key" else "user"
        )
        return f"{group.who}{model}", kind
    return group.model or "(no name)", "model"


def _stability(groups: Sequence[Group], days: Sequence[date]) -> tuple[date | None, int | None, float | None]:
    """First day of use, days of use, and how much the covered days vary from the first."""
    if any(group.coarse for group in groups):
        return None, None, None
    by_tokens = any(requests is None for group in groups for _, requests, _ in group.daily)
    volume: dict[date, int] = {}
    for group in groups:
        for day, requests, tokens in group.daily:
            volume[day] = volume.get(day, 0) + (tokens if by_tokens or requests is None else requests)
    used = sorted(day for day, amount in volume.items() if amount)
    if not used:
        return None, None, None
    series = [volume.get(day, 0) for day in days if day >= used[0]]
    return used[0], len(used), pstdev(series) / fmean(series) if len(series) > 1 else None
