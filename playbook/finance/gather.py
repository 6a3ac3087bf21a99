"""Reads the inputs of the finance model: the settings first, then the book, each with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

from clickhouse_connect.driver.client import Client

from deploy.local.config import Local
from playbook.asked import Asked
from playbook.clickhouse_client import UNREACHABLE, ask, connect, read_store
from playbook.commands.inventory_show import InventoryConfig, basis_of, registry_of
from playbook.finance.inputs import Case, Input, Name, Source, known, nanos, unknown
from playbook.finance.published import (
    CHANGE_HIGH,
    CHANGE_LOW,
    CHANGE_SOURCE,
    DISCOUNT,
    DISCOUNT_RANGE,
    DISCOUNT_SOURCE,
    ENGINEERING_HIGH_USD,
    ENGINEERING_LOW_USD,
    ENGINEERING_SOURCE,
)
from playbook.inventory.lines import Inventory, Line, inventory
from playbook.inventory.ranking import Candidate
from playbook.inventory.saving import PUBLISHED_HIGH, PUBLISHED_LOW, PUBLISHED_SOURCE
from playbook.inventory.sums import DAYS, LAST_DAY, LEGS, USAGE, ask_spend, spend_of
from playbook.lines import without_secrets
from playbook.plan.movers import RATES
from playbook.plan.settings import Estimate, Finance, Plan
from services.common.settings import ClickHouse
from services.ledger.config import PoolSettings
from services.ledger.core.pools import HOURS_PER_MONTH, hourly_cost
from services.shadow.config import Shadow

QUERIES = Path(__file__).parents[1] / "queries"
EXPERIMENTS = "finance_experiments"
SPENT = (USAGE, LEGS, DAYS)
"""The queries from which a month's spend follows; the bills are only shown beside it."""
ORIGIN = Source("measured", ", ".join(f"{name}.sql" for name in SPENT))
WINDOW_SPREAD, EXTRAPOLATED_SPREAD = Fraction(10, 100), Fraction(25, 100)
"""How far a month may lie from the next, each way: of a window of four weeks and more, and of a shorter one.
An assumption, and told as one."""
RATE_SPREAD = 2
"""How many times fewer or more requests may be compared than were so far."""
HORIZON_MONTHS = 36


class Config(InventoryConfig):
    """What must be known of the settings."""

    plan: Plan = Plan()
    finance: Finance = Finance()
    clickhouse: ClickHouse = ClickHouse()
    local: Local = Local()
    shadow: Shadow = Shadow()


@dataclass(frozen=True, slots=True)
class Experiments:
    """A row of `finance_experiments.sql`; amounts in nano-dollars."""

    experiment_nanos: int
    experiment_legs: int
    unknown_legs: int
    production_nanos: int
    workloads: int
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class Book:
    """What the book says, as far as it can be read."""

    inventory: Inventory | None = None
    experiments: Experiments | None = None
    """None if no leg of an experiment in the cloud is booked."""
    problem: str = ""
    """Why nothing is known."""
    origin: Source = ORIGIN
    """Of the spend: an example's is not measured, and says so."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """The queries that sources name, without `.sql`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the plan says of time."""

    weeks: tuple[Fraction, Fraction]
    """From the first day of work until all is at home: with fast phases, and with slow ones."""
    months_to_renewal: Fraction | None
    """From that day; None is unknown."""


def read_book(config: Config, until: date | None = None) -> Book:
    """Reads the book; if ClickHouse does not tell, all of it is unknown.

    Args:
        config: the settings.
        until: the last day that counts; None: all.
    """
    store = read_store(config.clickhouse, config.local.state_dir)
    registry = registry_of(config)
    try:
        with closing(connect(store)) as client:
            spent = ask_spend(client, None, until)
            compared = _ask_experiments(client, until or LAST_DAY)
            found = inventory(spend_of(spent, registry), registry, basis_of(client, config, until))
            return Book(
                found,
                _experiments(compared),
                asked={**{name: spent[name] for name in SPENT}, EXPERIMENTS: compared},
            )
    except UNREACHABLE:
        return Book(problem=f"ClickHouse at {without_secrets(store.url)} does not tell what is spent")


def read_until(config: Config, today: date) -> tuple[Book, date]:
    """Reads the book up to the last whole day, for a part of one would count as a whole one; of a book that
    begins today, up to now.

    Args:
        config: the settings.
        today: the day after the last whole one.

    Returns:
        What the book says, and its last day.
    """
    last = today - timedelta(days=1)
    found = read_book(config, last)
    if found.inventory is None or found.inventory.spend.month_nanos:
        return found, last
    return read_book(config, today), today


def _ask_experiments(client: Client, until: date) -> Asked:
    return ask(client, QUERIES / f"{EXPERIMENTS}.sql", {"until": until.isoformat()})


def _experiments(asked: Asked) -> Experiments | None:
    (row,) = asked.rows
    return Experiments(**row) if row["experiment_legs"] else None


def case_of(book: Book, config: Config, moving: Sequence[Line], timing: Timing) -> Case:
    """All inputs.

    Args:
        book: what is measured.
        config: what is set comes before it.
        moving: the lines of the workloads that are planned to move.
        timing: of the plan.
    """
    pools = {name: pool for name, pool in config.pools.items() if pool.gpus and hourly_cost(pool).total}
    found: dict[Name, Input] = {
        Name.CLOUD: _cloud(book),
        Name.MOVES: _moves(book, moving, config.plan.workloads),
        Name.CHANGE: unknown(Name.CHANGE, CHANGE_SOURCE, CHANGE_LOW, CHANGE_HIGH),
        Name.RENEWS: _renews(timing, config.plan.note),
        Name.ENGINEERING: unknown(
            Name.ENGINEERING, ENGINEERING_SOURCE, nanos(ENGINEERING_LOW_USD), nanos(ENGINEERING_HIGH_USD)
        ),
        Name.PARALLEL: _parallel(book, config),
        Name.WEEKS: known(
            Name.WEEKS,
            (timing.weeks[0] + timing.weeks[1]) / 2,
            Source("setting", "`homeward plan`: [plan] phase_weeks_low to phase_weeks_high, and forecasts"),
            *timing.weeks,
        ),
        Name.DISCOUNT: known(Name.DISCOUNT, DISCOUNT, Source("published", DISCOUNT_SOURCE), *DISCOUNT_RANGE),
        **_at_home(book, pools, moving, config.finance),
    }
    return {name: _set(name, config.finance) or found[name] for name in Name}


SETTINGS: Mapping[Name, str] = {
    Name.CLOUD: "cloud_usd_per_month",
    Name.MOVES: "share_that_moves",
    Name.CHANGE: "renewal_change",
    Name.RUNNING: "running_usd_per_month",
    Name.HOME_SHARE: "home_share",
    Name.INFRASTRUCTURE: "infrastructure_usd",
    Name.ENGINEERING: "engineering_usd",
    Name.PARALLEL: "parallel_share",
    Name.DISCOUNT: "discount_rate",
}
"""The keys of `[finance]`; what is not here follows from `[plan]`."""


def _set(name: Name, settings: Finance) -> Input | None:
    """The input as `[finance]` has it; None if it does not."""
    key = SETTINGS.get(name)
    found: Estimate | None = getattr(settings, key) if key else None
    if found is None:
        return None
    scale = nanos if "usd" in (key or "") else Fraction
    low, value, high = (None if end is None else scale(end) for end in (found.low, found.value, found.high))
    least, most = (value if low is None else low), (value if high is None else high)
    text = f"[finance] {key}" + (f": {found.note}" if found.note else "")
    if value is None:
        return unknown(name, text, least, most)
    return known(name, value, Source("setting", text), least, most)


def _cloud(book: Book) -> Input:
    spend = book.inventory.spend if book.inventory else None
    if spend is None or spend.month_nanos <= 0:
        why = book.problem or "the book has no priced spend: `homeward inventory import FILE`"
        if spend is not None and spend.month_nanos < 0:
            why = f"{book.origin.text}: credits are more than what is spent, so no month follows from it"
        return unknown(Name.CLOUD, why)
    rough = any(window.extrapolated for window in spend.windows)
    spread = EXTRAPOLATED_SPREAD if rough else WINDOW_SPREAD
    windows = "; ".join(
        f"{window.provider or 'no provider'} {window.first} to {window.last}" for window in spend.windows
    )
    text = f"{book.origin.text}: {windows}; range ±{float(100 * spread):.0f} % is assumed"
    if spend.unpriced_tokens:
        text += f"; {spend.unpriced_tokens:,} tokens have no price and are not in it"
    value = Fraction(spend.month_nanos)
    return known(
        Name.CLOUD, value, Source(book.origin.kind, text), value * (1 - spread), value * (1 + spread)
    )


def _moves(book: Book, moving: Sequence[Line], wanted: Sequence[str]) -> Input:
    """The planned workloads' share; at least without the dearest, whose verdict may be REJECTED; at most with
    those that may be candidates, or all if something planned has no price."""
    if book.inventory is None or book.inventory.spend.month_nanos <= 0:
        return unknown(Name.MOVES, "the spend is unknown, and so is what moves of it", 0, 1)
    whole, origin = book.inventory.spend.month_nanos, book.origin
    listed = {line.workload.name for line in book.inventory.lines}
    strange = [name for name in wanted if name not in listed]
    beside = f"; the inventory does not have {', '.join(strange)}" if strange else ""
    planned = len(moving) + len(strange)
    unpriced = len(strange) + sum(line.workload.month_nanos is None for line in moving)
    if unpriced and unpriced == planned:
        return unknown(Name.MOVES, f"{origin.text}: what is planned has no price{beside}", 0, 1)
    amounts = [_paid(line) for line in moving]
    names = {line.workload.name for line in moving}
    maybe = [line for line in book.inventory.candidates(Candidate.MAYBE) if line.workload.name not in names]
    unsure = sum(map(_paid, maybe))
    most = Fraction(1) if unpriced else _share(sum(amounts) + unsure, whole)
    if not planned and unsure:
        text = f"{origin.text}: none is a candidate yet; at most those that may be one"
        return unknown(Name.MOVES, text, 0, most)
    text = f"{origin.text}: {planned} planned; at least without the dearest of them, at most " + (
        f"all, for {unpriced} of them have no price{beside}"
        if unpriced
        else "with those that may be candidates"
    )
    least = _share(sum(amounts) - max(amounts, default=0), whole)
    return known(Name.MOVES, _share(sum(amounts), whole), Source(origin.kind, text), least, most)


def _paid(line: Line) -> int:
    """Nano-dollars a month, as far as they are known; a credit does not make the move of others smaller."""
    return max(0, line.workload.month_nanos or 0)


def _share(part: int, whole: int) -> Fraction:
    """Credits may leave less of the whole than some of its parts cost."""
    return min(Fraction(1), Fraction(part, whole))


def _renews(timing: Timing, note: str) -> Input:
    if timing.months_to_renewal is None:
        text = "[plan] renewal is not set; any time within three years"
        return unknown(Name.RENEWS, text, 0, HORIZON_MONTHS)
    text = "[plan] renewal, from the first day" + (f": {note}" if note else "")
    if timing.months_to_renewal < 0:
        text += (
            "; it lies before that day: if the book's prices are the new ones already, set [finance]"
            " renewal_change to 0"
        )
    return known(Name.RENEWS, max(Fraction(0), timing.months_to_renewal), Source("setting", text))


def _at_home(
    book: Book, pools: Mapping[str, PoolSettings], moving: Sequence[Line], settings: Finance
) -> dict[Name, Input]:
    """What a home costs: by the GPU pools of the settings, else by `[finance]`, else as a published share of
    the cloud's cost."""
    if not pools and (settings.running_usd_per_month or settings.home_share):
        return _told_at_home(settings)
    if not pools:
        told = Source("published", f"within the share of the cloud's cost: {PUBLISHED_SOURCE}")
        text = f"no GPUs in [pools]; {PUBLISHED_SOURCE}"
        return {
            Name.RUNNING: known(Name.RUNNING, 0, told),
            Name.HOME_SHARE: unknown(Name.HOME_SHARE, text, PUBLISHED_LOW, PUBLISHED_HIGH),
            Name.INFRASTRUCTURE: known(Name.INFRASTRUCTURE, 0, told),
        }
    costs = [hourly_cost(pool) for pool in pools.values()]
    running = nanos(sum((item.total - item.hardware for item in costs), Fraction(0)) * HOURS_PER_MONTH)
    hardware = sum((Fraction(pool.hardware_usd) for pool in pools.values()), Fraction(0))
    names = ", ".join(f"[pools.{name}]" for name in pools)
    # Rates have the write-off in them, but hardware is paid once: as infrastructure.
    owned = nanos(sum((item.hardware for item in costs), Fraction(0)) * HOURS_PER_MONTH)
    tokens = sum(line.saving.home.high for line in moving if line.saving and line.saving.basis != "published")
    needed = tokens - owned
    text = f"{names}: power, hosting and people"
    if book.inventory and needed > running:
        less = ", less the write-off of hardware" if owned else ""
        text += (
            f"; at most what the moving tokens cost at the dearest rate{less}: {book.inventory.basis.source}"
        )
    return {
        Name.RUNNING: known(Name.RUNNING, running, Source("setting", text), running, max(running, needed)),
        Name.HOME_SHARE: known(
            Name.HOME_SHARE, 0, Source("setting", f"{names}: a pool costs the same whatever it serves")
        ),
        Name.INFRASTRUCTURE: known(
            Name.INFRASTRUCTURE, nanos(hardware), Source("setting", f"{names}: hardware_usd")
        ),
    }


def _told_at_home(settings: Finance) -> dict[Name, Input]:
    """What is left to know of a home that `[finance]` tells of: nothing is counted twice, and hardware that
    nobody mentions is not taken for free."""
    if settings.running_usd_per_month is None:
        told = Source("setting", "within [finance] home_share")
        return {
            Name.RUNNING: known(Name.RUNNING, 0, told),
            Name.INFRASTRUCTURE: known(Name.INFRASTRUCTURE, 0, told),
        }
    told = Source("setting", "[finance] running_usd_per_month is all that a month costs at home")
    text = "home is told by [finance] running_usd_per_month, hardware by nobody: 0 if it is rented"
    return {
        Name.HOME_SHARE: known(Name.HOME_SHARE, 0, told),
        Name.INFRASTRUCTURE: unknown(Name.INFRASTRUCTURE, text),
    }


def _parallel(book: Book, config: Config) -> Input:
    found = book.experiments
    if found and found.production_nanos > 0:
        share = Fraction(found.experiment_nanos, found.production_nanos)
        text = (
            f"{EXPERIMENTS}.sql: {found.experiment_legs:,} legs of {found.workloads} workloads,"
            f" {found.first_day} to {found.last_day}; at least half and at most twice as many are assumed"
        )
        if found.unknown_legs:
            text += f"; {found.unknown_legs:,} legs of unknown cost are not in it"
        return known(Name.PARALLEL, share, Source("measured", text), share / RATE_SPREAD, share * RATE_SPREAD)
    rate = Fraction(RATES[0]).limit_denominator(1000)
    share = rate * (1 + Fraction(config.shadow.control_share).limit_denominator(10**6))
    text = "nothing is measured yet: the default of `shadow start --rate`, with [shadow] control_share"
    return known(Name.PARALLEL, share, Source("setting", text), share / RATE_SPREAD, share * RATE_SPREAD)
