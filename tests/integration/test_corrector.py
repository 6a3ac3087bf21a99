"""Corrections against a real ClickHouse and a real journal, at times of the test's own choosing."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from services.common.settings import Budget, ClickHouse
from services.ledger.adapters import corrections as adapter
from services.ledger.adapters.clickhouse import connect, migrate
from services.ledger.adapters.corrections import CorrectionStore
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.closing import PoolCloser
from services.ledger.config import PoolSettings, PriceSettings
from services.ledger.core import book
from services.ledger.core.booking import BookedOtherwiseError
from services.ledger.core.corrections import Scope
from services.ledger.repricing import Repriced, Repricer
from tests.support.stack import SECRETS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

US = 10**6
HOUR_S = 3600
NOON_S = 1_793_620_800
"""2026-11-02 12:00 UTC."""
POOL = PoolSettings(upstreams=["home"], hosting_usd_per_month=Decimal("1461"), period_s=HOUR_S, settle_s=300)
"""Two dollars an hour."""
COST = 2 * 10**9
DEMO = Budget(limit_usd=Decimal(1000), period="day", key="demo")


@pytest.fixture(scope="module")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouse]:
    """A ClickHouse with the book's tables, and no ledger."""
    async with Stack(tmp_path_factory.mktemp("corrector")) as stack:
        await stack.start("clickhouse")
        settings = ClickHouse(
            url=f"http://127.0.0.1:{stack.ports['clickhouse']}", password=SECRETS.clickhouse_password
        )
        with closing(connect(settings)) as client:
            migrate(client)
        yield settings
        # It would wait for the connections that clients keep.
        await stack.kill("clickhouse")


class House:
    """A journal of its own and a pool of its own in the ClickHouse of all."""

    def __init__(self, settings: ClickHouse, url: str) -> None:
        self.now_s = NOON_S
        self.pool = f"rack-{uuid.uuid4().hex[:8]}"
        self.provider = f"acme-{uuid.uuid4().hex[:8]}"
        self.url = url
        self.database = Database(self.url)
        self.entries = Entries(self.database)
        self.budgets = Budgets(self.database, {"demo": DEMO})
        self.settings = settings
        self.client: Client = connect(settings)
        self.store = CorrectionStore(self.client)
        self.stopping = threading.Event()
        # Entries of other tests' journals have the same numbers, so each house begins with its own.
        self.client.command("TRUNCATE TABLE homeward.legs")
        self.client.command("TRUNCATE TABLE homeward.corrections")

    def close(self) -> None:
        self.store.close()
        self.database.close()

    def clock(self) -> int:
        return self.now_s * US

    def closer(self, settings: PoolSettings = POOL, entries: Entries | None = None) -> PoolCloser:
        return PoolCloser(entries or self.entries, {self.pool: settings}, self.clock)

    def repricer(self, prices: dict[str, str], *, stopping: threading.Event | None = None) -> Repricer:
        """With a price of input tokens, in dollars a million, for each model."""
        listed = [
            PriceSettings(
                provider=self.provider,
                model=model,
                input_usd_per_mtok=Decimal(usd),
                output_usd_per_mtok=Decimal(usd),
            )
            for model, usd in prices.items()
        ]
        return Repricer(self.entries, PriceList(listed), self.budgets, self.clock, stopping or self.stopping)

    def close_due(self, closer: PoolCloser | None = None) -> None:
        (closer or self.closer()).close_due(self.store, self.pool, self.stopping)

    def take(self, legs: Sequence[dict[str, Any]], *, confirm: bool = True) -> list[str]:
        """Legs as the shipper books them: an entry, and rows of unknown cost."""
        drafted = book.draft(book.Kind.LEGS, uuid.uuid4().hex, [])
        entry = self.entries.append(drafted, now_unix_us=self.clock())
        rows = [self._row(leg) | {"entry_id": entry.entry_id} for leg in legs]
        self.client.insert("homeward.legs", [list(row.values()) for row in rows], column_names=list(rows[0]))
        if confirm:
            self.entries.confirm(entry.entry_id)
        return [str(row["leg_id"]) for row in rows]

    def _row(self, leg: dict[str, Any]) -> dict[str, Any]:
        counts = leg.get("counts", (100, 0, 0, 50, 0))
        at_home = leg.get("at_home", True)
        names = ("input", "cached_input", "cache_write", "output", "reasoning")
        return {
            "leg_id": uuid.uuid4(),
            "start_time": round(leg["start_s"] * US),
            "workload": leg.get("workload", "triage"),
            "key_name": "demo",
            "purpose": "production",
            "target": "sovereign" if at_home else "cloud",
            "pool": self.pool if at_home else "",
            "provider": "homeward-home" if at_home else self.provider,
            "model": leg.get("model", "large"),
            "latency_us": round(leg.get("latency_s", 1) * US),
            "price_source": "pool" if at_home else "unknown",
            **{f"{name}_tokens": count for name, count in zip(names, counts, strict=True)},
        }

    def periods(self) -> list[dict[str, Any]]:
        query = "SELECT *, toUnixTimestamp(period_start) AS start_s FROM homeward.pool_periods FINAL"
        found = self.client.query(f"{query} WHERE pool = '{self.pool}' ORDER BY period_start")
        return list(found.named_results())

    def costs(self, leg_ids: Sequence[str]) -> list[int | None]:
        rows = self.client.query("SELECT toString(leg_id), cost_nanos FROM homeward.leg_costs").result_rows
        found = {row[0]: row[1] for row in rows}
        return [found[leg_id] for leg_id in leg_ids]

    def rows(self) -> int:
        return int(self.client.query("SELECT count() FROM homeward.corrections").result_rows[0][0])

    def kinds(self, kind: book.Kind) -> list[str]:
        return [entry.draft.batch for entry in self.entries.read(0, 1000) if entry.draft.kind is kind]

    def check_sums(self) -> None:
        """Legs and idle add up to the pool's cost in every period, and the journal has the same."""
        query = (
            "SELECT sum(cost_nanos) FROM homeward.leg_costs WHERE start_time >= {start:DateTime}"
            f" AND start_time < {{start:DateTime}} + {{length:UInt32}} AND pool = '{self.pool}'"
        )
        for row in self.periods():
            asked = {"start": row["period_start"], "length": row["period_s"]}
            [(borne,)] = self.client.query(query, parameters=asked).result_rows
            assert (borne or 0) == row["leg_cost_nanos"]
            assert row["leg_cost_nanos"] + row["idle_nanos"] == row["cost_nanos"]
            assert row["idle_nanos"] >= 0
        checked = list(self.entries.check())
        assert [item.problem for item in checked] == [None] * len(checked)
        owed = -sum(
            posting.amount_nanos
            for item in checked
            for posting in (item.entry.draft.postings if item.entry else ())
            if posting.account == book.pool(self.pool)
        )
        assert owed == sum(row["cost_nanos"] for row in self.periods())


@pytest.fixture
def house(clickhouse: ClickHouse, tmp_path: Path) -> Iterator[House]:
    made = House(clickhouse, sqlite(tmp_path))
    yield made
    made.close()


@pytest.fixture
def shared_house(clickhouse: ClickHouse, database_url: str) -> Iterator[House]:
    """One on each kind of journal."""
    made = House(clickhouse, database_url)
    yield made
    made.close()


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'journal.sqlite'}"


async def test_periods_follow_without_a_gap_also_over_time_in_which_no_ledger_ran(house: House) -> None:
    [first] = house.take([{"start_s": NOON_S + 100, "latency_s": 1800}])
    house.now_s = NOON_S + HOUR_S + 299
    house.close_due()
    assert house.periods() == []
    house.now_s += 1
    house.close_due()
    assert [row["idle_nanos"] for row in house.periods()] == [COST // 2]
    assert house.costs([first]) == [COST // 2]

    house.now_s = NOON_S + 8 * HOUR_S + 300
    house.close_due(house.closer())
    periods = house.periods()
    assert [row["start_s"] for row in periods] == [NOON_S + hour * HOUR_S for hour in range(8)]
    assert [row["idle_nanos"] for row in periods[1:]] == [COST] * 7
    house.check_sums()


async def test_a_pool_without_legs_costs_nothing_yet(house: House) -> None:
    house.now_s = NOON_S + 10 * HOUR_S
    house.close_due()
    assert house.periods() == []


async def test_late_legs_lead_to_the_same_as_all_at_once(
    house: House, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    early: list[dict[str, Any]] = [
        {"start_s": NOON_S + at, "counts": (at, 3, 0, 77, 5)} for at in range(10, 1500, 300)
    ]
    # The last one reaches into the next period, which is closed without it first.
    late: list[dict[str, Any]] = [
        {"start_s": NOON_S + 20, "counts": (7, 0, 0, 1000, 0), "workload": "minutes"},
        {"start_s": NOON_S + HOUR_S - 10, "latency_s": 100},
    ]
    next_: list[dict[str, Any]] = [{"start_s": NOON_S + HOUR_S + 50, "latency_s": 100}]
    ids = house.take(early + next_)
    closer = house.closer()
    house.now_s = NOON_S + 2 * HOUR_S + 300
    house.close_due(closer)
    ids += house.take(late)
    house.now_s += HOUR_S
    house.close_due(closer)
    house.check_sums()

    (tmp_path / "other").mkdir()
    stepwise, periods = house.costs(ids), figures(house.periods())
    assert periods[1][1] == 150 * US
    with closing(House(clickhouse, sqlite(tmp_path / "other"))) as at_once:
        other = at_once.take(early + next_ + late)
        at_once.now_s = house.now_s
        at_once.close_due()
        assert at_once.costs(other) == stepwise
        assert figures(at_once.periods()) == periods
        assert all(batch.endswith("/1") for batch in at_once.kinds(book.Kind.POOL_PERIOD))
    assert sum(batch.endswith("/2") for batch in house.kinds(book.Kind.POOL_PERIOD)) == 2


def figures(periods: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("start_s", "busy_us", "cost_nanos", "leg_cost_nanos", "idle_nanos", "leg_count")
    return [tuple(row[name] for name in names) for row in periods]


async def test_nothing_closes_twice_without_a_new_leg(house: House) -> None:
    house.take([{"start_s": NOON_S + 100}])
    house.now_s = NOON_S + HOUR_S + 300
    for _ in range(3):
        house.close_due(house.closer())
    house.now_s += HOUR_S
    house.close_due(house.closer())
    batches = house.kinds(book.Kind.POOL_PERIOD)
    assert [batch.rsplit("/", 1)[1] for batch in batches] == ["1", "1"]
    assert house.rows() == 1


async def test_a_leg_from_before_the_first_period_has_its_own_period_closed(house: House) -> None:
    house.take([{"start_s": NOON_S + 100}])
    house.now_s = NOON_S + HOUR_S + 300
    house.close_due()
    [older] = house.take([{"start_s": NOON_S - 2 * HOUR_S + 5, "latency_s": 36}])
    house.now_s += HOUR_S
    house.close_due()
    assert [row["start_s"] for row in house.periods()] == [NOON_S - 2 * HOUR_S, NOON_S, NOON_S + HOUR_S]
    assert house.costs([older]) == [COST // 100]
    house.check_sums()


async def test_what_is_not_yet_confirmed_is_not_read_and_comes_late(house: House) -> None:
    house.take([{"start_s": NOON_S + 100}])
    ids = house.take([{"start_s": NOON_S + 200}], confirm=False)
    closer = house.closer()
    house.now_s = NOON_S + HOUR_S + 300
    house.close_due(closer)
    assert [row["leg_count"] for row in house.periods()] == [1]
    house.entries.confirm(house.entries.unconfirmed(book.Kind.LEGS)[0].entry_id)
    house.now_s += HOUR_S
    house.close_due(closer)
    assert [row["leg_count"] for row in house.periods()] == [2, 0]
    assert house.costs(ids) != [None]
    house.check_sums()


async def test_a_closed_period_keeps_its_cost_when_the_figures_change(house: House) -> None:
    house.take([{"start_s": NOON_S + 100}])
    house.now_s = NOON_S + HOUR_S + 300
    house.close_due()
    dearer = POOL.model_copy(update={"people_usd_per_month": Decimal("730.5"), "period_s": 2 * HOUR_S})
    house.take([{"start_s": NOON_S + 300}])
    house.now_s = NOON_S + 4 * HOUR_S + 300
    house.close_due(house.closer(dearer))
    periods = house.periods()
    assert [(row["start_s"] - NOON_S, row["period_s"]) for row in periods] == [
        (0, HOUR_S),
        (HOUR_S, HOUR_S),
        (2 * HOUR_S, 2 * HOUR_S),
    ]
    assert [row["cost_nanos"] for row in periods] == [COST, COST * 3 // 2, COST * 3]
    assert periods[0]["leg_count"] == 2
    house.check_sums()


async def test_a_period_that_another_ledger_has_closed_with_another_length_leaves_no_gap(
    house: House,
) -> None:
    house.take([{"start_s": NOON_S + 100}])
    house.now_s = NOON_S + HOUR_S + 300
    house.close_due()
    # Seen by one who looked before that.
    house.client.command("TRUNCATE TABLE homeward.pool_periods")
    house.now_s = NOON_S + 4 * HOUR_S + 300
    house.close_due(house.closer(POOL.model_copy(update={"period_s": 2 * HOUR_S})))
    batches = house.kinds(book.Kind.POOL_PERIOD)
    assert [batch.split("T")[1] for batch in batches] == ["12:00:00Z/1", "13:00:00Z/1", "14:00:00Z/1"]


async def test_several_ledgers_on_one_journal_close_each_period_once(shared_house: House) -> None:
    shared_house.take([{"start_s": NOON_S + at, "counts": (at, 0, 0, 9, 0)} for at in range(0, 20_000, 500)])
    shared_house.now_s = NOON_S + 6 * HOUR_S + 300
    problems: list[Exception] = []
    start = threading.Barrier(3)

    def ledger() -> None:
        try:
            with closing(Database(shared_house.url)) as database:
                store = CorrectionStore(connect_again(shared_house))
                start.wait()
                shared_house.closer(entries=Entries(database)).close_due(
                    store, shared_house.pool, threading.Event()
                )
                store.close()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=ledger) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert problems == []
    assert len(shared_house.kinds(book.Kind.POOL_PERIOD)) == 6
    assert shared_house.rows() == 40
    shared_house.check_sums()


def connect_again(house: House) -> Client:
    return connect(house.settings)


async def test_rows_that_do_not_give_their_entry_any_more_stay_away(house: House) -> None:
    house.take([{"start_s": NOON_S + 100}, {"start_s": NOON_S + 200}])
    house.client.command("ALTER TABLE homeward.corrections ADD CONSTRAINT held CHECK 0")
    house.now_s = NOON_S + HOUR_S + 300
    with pytest.raises(DatabaseError):
        house.close_due()
    house.client.command("ALTER TABLE homeward.corrections DROP CONSTRAINT held")
    house.client.command(
        f"ALTER TABLE homeward.legs DELETE WHERE start_time = toDateTime({NOON_S + 200}, 'UTC')"
        " SETTINGS mutations_sync = 1"
    )
    [entry] = house.entries.unconfirmed(book.Kind.POOL_PERIOD)
    with pytest.raises(BookedOtherwiseError, match="its entry in the journal has 2"):
        house.closer().complete(house.store, entry)
    assert house.rows() == 0
    assert house.entries.unconfirmed(book.Kind.POOL_PERIOD) == [entry]


def scope(house: House, **changes: Any) -> Scope:
    return Scope((NOON_S - HOUR_S) * US, (NOON_S + HOUR_S) * US, provider=house.provider, **changes)


def cloud(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"start_s": NOON_S + at, "at_home": False, **changes} for at in range(count)]


async def test_a_large_scope_is_booked_in_pages_and_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PAGE_LEGS", 10)
    names = ("triage", "", "minutes")
    ids = [house.take(cloud(15, workload=name))[0] for name in names]
    stays = house.take(cloud(4, model="nobody-knows"))
    request_id = uuid.uuid4().bytes
    repricer = house.repricer({"large": "2"})
    would = repricer.preview(house.store, scope(house))
    done = repricer.reprice(house.store, scope(house), request_id, "test")
    # 150 tokens at $2 a million are 300,000 nano-dollars.
    assert (would.leg_count, would.difference_nanos, would.unknown_count) == (45, 45 * 300_000, 4)
    assert (done.leg_count, done.found_count) == (45, 45)
    assert (done.difference_nanos, done.unknown_count) == (45 * 300_000, 4)
    assert house.costs(ids + stays) == [300_000] * 3 + [None] * 4
    batches = house.kinds(book.Kind.REPRICING)
    assert batches == [f"reprice/{request_id.hex()}/{number}" for number in range(len(batches))]
    assert len(batches) == 5
    assert repricer.reprice(house.store, scope(house), request_id, "test") == done
    assert repricer.reprice(house.store, scope(house), uuid.uuid4().bytes, "test") == Repriced(
        unknown_count=4
    )
    assert house.rows() == 45
    house.check_sums()


async def test_a_request_that_was_cut_off_goes_on_behind_its_last_entry(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PAGE_LEGS", 10)
    ids = house.take(cloud(35))
    request_id = uuid.uuid4().bytes

    class EndsAtTheThirdLook(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 3

    cut_off = house.repricer({"large": "2"}, stopping=EndsAtTheThirdLook())
    with pytest.raises(Exception, match="about to stop"):
        cut_off.reprice(house.store, scope(house), request_id, "test")
    assert len(house.kinds(book.Kind.REPRICING)) == 2
    done = house.repricer({"large": "2"}).reprice(house.store, scope(house), request_id, "test")
    assert (done.leg_count, done.difference_nanos) == (35, 35 * 300_000)
    assert len(house.kinds(book.Kind.REPRICING)) == 4
    assert house.costs(ids) == [300_000] * 35


async def test_another_price_is_booked_as_a_difference_and_unknown_only_leaves_it(house: House) -> None:
    ids = house.take(cloud(3))
    house.repricer({"large": "2"}).reprice(house.store, scope(house), uuid.uuid4().bytes, "test")
    cheaper = house.repricer({"large": "1.5"})
    only = cheaper.reprice(house.store, scope(house, unknown_only=True), uuid.uuid4().bytes, "test")
    assert only == Repriced()
    done = cheaper.reprice(house.store, scope(house), uuid.uuid4().bytes, "test")
    assert (done.leg_count, done.found_count, done.difference_nanos) == (3, 0, -3 * 75_000)
    assert house.costs(ids) == [225_000] * 3
    [standing] = house.budgets.standing(NOON_S)
    assert standing.page.spent_nanos == 3 * 225_000


async def test_two_requests_at_once_do_not_both_book_the_same_difference(shared_house: House) -> None:
    ids = shared_house.take(cloud(300))
    start = threading.Barrier(2)
    results: list[Repriced] = []

    def ledger() -> None:
        store = CorrectionStore(connect_again(shared_house))
        repricer = shared_house.repricer({"large": "2"})
        start.wait()
        results.append(repricer.reprice(store, scope(shared_house), uuid.uuid4().bytes, "test"))
        store.close()

    threads = [threading.Thread(target=ledger) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(result.leg_count for result in results) == [0, 300]
    assert shared_house.costs(ids) == [300_000] * 300


async def test_corrections_that_were_not_seen_are_waited_for(house: House) -> None:
    ids = house.take(cloud(2))
    # An older entry is on its way, so what comes after it is not read yet.
    house.take(cloud(1, model="other"), confirm=False)
    first = house.repricer({"large": "2"})
    first.reprice(house.store, scope(house), uuid.uuid4().bytes, "test")

    class Arrives(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            [legs] = house.entries.unconfirmed(book.Kind.LEGS)
            house.entries.confirm(legs.entry_id)
            return False

    second = house.repricer({"large": "3"}, stopping=Arrives())
    done = second.reprice(house.store, scope(house), uuid.uuid4().bytes, "test")
    assert (done.leg_count, done.found_count, done.difference_nanos) == (2, 0, 2 * 150_000)
    assert house.costs(ids) == [450_000] * 2
