"""The answers to the questions of `docs/analysts.md`, in plain Python over the legs that were booked."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.analyst_rows import PERIOD_S, POOL_HOUR_NANOS, Book, Row
from tests.support.analyst_shadow import WORKLOADS, day_of, time_of

PARAMETERS = {"input_usd_per_mtok": "0.19", "output_usd_per_mtok": "0.79", "workload": "ticket-triage"}
"""Of the queries that have some."""
Rows = list[tuple[Any, ...]]


def slowest(book: Book) -> Row:
    """The slowest answered request of a workload in the last day."""
    rows = book.since(book.now - timedelta(days=1), "production")
    workload = PARAMETERS["workload"]
    return max((r for r in rows if r.workload == workload and r.outcome == "ok"), key=lambda r: r.latency_us)


def groups(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """The rows by a key, in its order."""
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(sorted(found.items()))


def usd(nanos: float | None) -> Decimal | None:
    """Nano-dollars as the views show them."""
    return None if nanos is None else Decimal(int(nanos)) / 10**9


def cost(rows: Iterable[Row]) -> int | None:
    """Nano-dollars of the legs whose cost is known; None if there are none."""
    known = [row.cost_nanos for row in rows if row.cost_nanos is not None]
    return sum(known) if known else None


def unknown(rows: Iterable[Row]) -> int:
    """How many have no known cost."""
    return sum(row.cost_nanos is None for row in rows)


def ok(rows: Iterable[Row]) -> list[Row]:
    """The answered ones."""
    return [row for row in rows if row.outcome == "ok"]


def rank(values: Iterable[int | None], quantile: float) -> Any:
    """The exact percentile in milliseconds, to be met within 1 %."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return pytest.approx(known[math.floor(quantile * (len(known) - 1))] / 1000, rel=0.0101)


def by_cost(rows: Rows, column: int) -> Rows:
    """Dearest first, unknown ones last."""
    return sorted(rows, key=lambda row: (row[column] is None, -(row[column] or 0)))


def spend_by_workload(book: Book) -> Rows:
    month = book.since(book.month)
    whole = cost(month)
    assert whole
    made: Rows = []
    for workload, rows in groups(month, lambda row: row.workload).items():
        production = [row for row in rows if row.purpose == "production"]
        others = [row for row in rows if row.purpose != "production"]
        share = pytest.approx((cost(rows) or 0) / whole)
        counts = (workload, len(ok(production)), len(rows), unknown(rows))
        made.append((*counts, usd(cost(rows)), usd(cost(production) or 0), usd(cost(others) or 0), share))
    return by_cost(made, 4)


def unknown_share(book: Book) -> Rows:
    month = book.since(book.today - timedelta(days=29))
    made: Rows = []
    for (pool, model), rows in groups(month, lambda row: (row.pool, row.model)).items():
        lost = [row for row in rows if row.cost_nanos is None]
        uncounted = sum(row.tokens is None for row in lost)
        rest = len(lost) - uncounted
        provider = "homeward-home" if pool else "homeward-stand-in"
        share = pytest.approx(len(lost) / len(month))
        made.append((provider, model, len(lost), share, uncounted, 0 if pool else rest, rest if pool else 0))
    return sorted((row for row in made if row[2]), key=lambda row: (-row[2], row[0], row[1]))


def home_and_cloud(book: Book) -> Rows:
    month = book.since(book.month)
    idle = sum(nanos for hour, nanos in book.idle.items() if hour >= book.month)
    pool_cost = cost(row for row in month if row.pool) or 0
    made: Rows = []
    chosen = [row for row in month if row.purpose in ("production", "shadow")]
    for key, rows in groups(chosen, lambda row: (row.workload, row.purpose, row.target)).items():
        requests, tokens = len(ok(rows)), sum(row.all_tokens for row in rows)
        whole = Decimal(cost(rows) or 0) * len(rows) / (len(rows) - unknown(rows)) / 10**9
        mine = Decimal(idle * (cost(rows) or 0) // pool_cost) / 10**9 if key[2] == "sovereign" else 0
        prices = [
            amount * per
            for per in (Decimal(1000) / requests, Decimal(10**6) / tokens)
            for amount in (whole, whole + mine)
        ]
        made.append(
            (
                *key,
                requests,
                unknown(rows),
                *(pytest.approx(price, abs=Decimal("0.000002")) for price in prices),
            )
        )
    return made


def experiments(book: Book) -> Rows:
    rows_of = groups(
        book.since(book.month, "shadow", "noise", "judge"), lambda row: (row.workload, row.purpose)
    )
    return [(*key, len(rows), unknown(rows), usd(cost(rows))) for key, rows in rows_of.items()]


def answer_times(book: Book) -> Rows:
    since = book.now.replace(minute=0, second=0) - timedelta(days=7)
    rows_of = groups(ok(book.since(since, "production")), lambda row: (row.workload, row.target))
    return [
        (
            *(
                *key,
                len(rows),
                rank((row.latency_us for row in rows), 0.5),
                rank((row.latency_us for row in rows), 0.95),
            ),
            rank((row.ttft_us for row in rows), 0.95),
        )
        for key, rows in rows_of.items()
    ]


def growth(book: Book) -> Rows:
    middle = book.today - timedelta(days=7)
    both = [row for row in book.since(middle - timedelta(days=7)) if row.start < book.today]
    made: Rows = []
    for key_name, rows in groups(both, lambda row: row.key_name).items():
        late = cost(row for row in rows if row.start >= middle) or 0
        early = cost(row for row in rows if row.start < middle) or 0
        made.append((key_name, usd(late), usd(early), usd(late - early), unknown(rows)))
    return sorted(made, key=lambda row: (-row[3], row[0]))


def idle(book: Book) -> Rows:
    hours = [hour for hour in book.idle if hour >= book.month]
    if not hours:
        return []
    busy = sum(book.busy_us[hour] for hour in hours) / len(hours) / PERIOD_S / 1e6
    whole, unused = POOL_HOUR_NANOS * len(hours), sum(book.idle[hour] for hour in hours)
    return [("rack", len(hours), usd(whole), usd(unused), pytest.approx(busy))]


def other_price(book: Book) -> Rows:
    last = [
        row for row in book.since(book.last_month, "production") if row.start < book.month and not row.pool
    ]
    made: Rows = []
    for workload, rows in groups(last, lambda row: row.workload).items():
        tokens = [row.tokens for row in rows if row.tokens]
        dollars = sum(sum(item[:3]) for item in tokens) * Decimal(PARAMETERS["input_usd_per_mtok"])
        dollars += sum(sum(item[3:]) for item in tokens) * Decimal(PARAMETERS["output_usd_per_mtok"])
        made.append((workload, unknown(rows), usd(cost(rows)), dollars / 10**6))
    return by_cost(made, 2)


def funnel(book: Book) -> Rows:
    since = book.today - timedelta(days=29)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in ok(book.since(since, "production")):
        counts[row.workload][0] += 1
    for sample in groups((row for row in book.rows if row.sample_id), lambda row: row.sample_id).values():
        first = min(sample, key=lambda row: row.start)
        if first.start < since:
            continue
        shadow = [row.outcome for row in sample if row.purpose == "shadow"]
        counts[first.workload][1] += 1
        counts[first.workload][2] += any(outcome != "unreachable" for outcome in shadow)
        counts[first.workload][3] += "ok" in shadow
    return [(workload, *count) for workload, count in sorted(counts.items())]


def losses(book: Book) -> Rows:
    steps = ("eligible", "sampled", "sent", "answered", "scored")
    found: dict[tuple[Any, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for count, workload in book.shadow.counts:
        name = count.step if count.step in steps else f"{count.step}/{count.reason}"
        found[day_of(count.minute_unix_us, book.now), workload][name] += count.count
    for item in book.shadow.finished:
        if item.lane:
            continue
        day = found[day_of(item.request_unix_us, book.now), item.workload]
        if item.reason == "late":
            day["late/late"] += 1
            continue
        day["answered"] += 1
        day["failed/timeout" if item.reason else "scored"] += 1
    return [
        (
            day.date(),
            workload,
            *(counts[step] for step in steps),
            {key: counts[key] for key in sorted(counts) if key not in steps and counts[key]},
        )
        for (day, workload), counts in sorted(found.items(), key=lambda item: item[0])
        if day > book.today - timedelta(days=14)
    ]


def sample_prices(book: Book) -> Rows:
    spent = groups(book.since(book.month, "shadow", "noise", "judge"), lambda row: row.workload)
    made: Rows = []
    for workload in WORKLOADS:
        scored = sum(
            not item.reason and not item.lane and item.workload == workload
            for item in book.shadow.finished
            if day_of(item.request_unix_us, book.now) >= book.month
        )
        legs = spent.get(workload, [])
        price = pytest.approx((cost(legs) or 0) / 1e9 / scored)
        made.append((workload, scored, usd(cost(legs)), unknown(legs), price))
    return made


def verdicts(book: Book) -> Rows:
    found = [
        (
            item.window.epoch,
            item.lane,
            time_of(item.window.start_unix_us, book.now),
            item.window.n,
            item.window.log_k,
            item.window.lower_bound,
            item.window.upper_bound,
            str(item.window.verdict),
            item.window.histogram_sha256,
        )
        for item in book.shadow.windows
        if item.experiment.workload == PARAMETERS["workload"]
    ]
    return sorted(found, key=lambda row: (-row[2].timestamp(), row[1]))[:20]


def trace(book: Book) -> Rows:
    row = slowest(book)
    took, parent = row.latency_us / 1000, "0" * 15 + "1"
    later = row.start + timedelta(milliseconds=1)
    return [
        (row.start, "shop", "POST", parent, "", pytest.approx(took, abs=1e-3), "Unset"),
        (later, "router", "chat", "0" * 15 + "2", parent, pytest.approx(took), "Ok"),
    ]


def outcomes(book: Book) -> Rows:
    words = ("ok", "timeout", "unreachable", "broken", "rejected", "cancelled")
    since = book.now - timedelta(days=1)
    first = (
        since
        if since == since.replace(minute=0, second=0)
        else since.replace(minute=0, second=0) + timedelta(hours=1)
    )
    rows_of = groups(book.since(first), lambda row: (row.hour, "home" if row.pool else "cloud"))
    return [
        (
            *key,
            len(rows),
            *(pytest.approx(sum(row.outcome == word for row in rows) / len(rows)) for word in words),
        )
        for key, rows in rows_of.items()
    ]


ANSWERS: dict[str, Callable[[Book], Rows]] = {
    "What did we spend this month, by workload?": spend_by_workload,
    "Which share of our legs has no known cost, and why?": unknown_share,
    "What does a request cost at home, and what in the cloud?": home_and_cloud,
    "What did experiments cost?": experiments,
    "How long do answers take at each target?": answer_times,
    "Which keys' spend grew most?": growth,
    "What do idle GPUs cost?": idle,
    "What would last month have cost at another price?": other_price,
    "How far do requests get in an experiment?": funnel,
    "Why did samples of an experiment get no further?": losses,
    "What does a scored sample cost?": sample_prices,
    "What did the evidence say, window by window?": verdicts,
    "What happened in a workload's slowest request?": trace,
    "How do legs end at each upstream?": outcomes,
    "Do the sums agree with the legs?": lambda _: [],
}
