"""What shadow finds, in the book: each row once, and the verdict that an auditor gets from it bit for bit."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.httputil import default_pool_manager
from grpc import aio
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

import playbook.triplets
from playbook.replay import read_triplets
from playbook.triplets import NothingToExportError, export
from services.common.settings import ClickHouse
from services.shadow import shipping
from services.shadow.adapters import spend
from services.shadow.adapters.clickhouse import Book
from services.shadow.adapters.spend import Spend
from services.shadow.adapters.store import Count, Finished, Sample, Store
from services.shadow.core.experiment import Experiment
from services.shadow.core.funnel import Funnel
from services.shadow.core.verdict import Verdict, Window, windows
from services.shadow.shipping import COUNTS, TRIPLETS, VERDICT_LANES, WINDOWS, Shipping
from tests.support import analyst_rows
from tests.support.analyst_rows import Row
from tests.support.stack import SECRETS, WAIT_S, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND_US = 10**6
WINDOW_US = 600 * SECOND_US
START = datetime(2026, 10, 31, 23, tzinfo=UTC)
START_US = int(START.timestamp()) * SECOND_US
WINDOW_COUNT = 12
"""Two hours, the second of which is of another month."""
END_US = START_US + WINDOW_COUNT * WINDOW_US
NOW_US = END_US + 60 * SECOND_US
"""When all windows have closed."""
ID = bytes(range(16))
EXPERIMENT = Experiment(
    experiment_id=ID,
    workload="ticket-triage",
    scorer="exact_match@1",
    margin=0.2,
    alpha=0.05,
    window_us=WINDOW_US,
    watermark_us=30 * SECOND_US,
    min_windows=3,
    strata=("tools",),
    stratum_values=("tools",),
    rate_ppm=100_000,
    reverse_rate_ppm=10_000,
    daily_cost_cap_nanos=0,
    cluster_by="conversation",
    epoch=1,
    register_unix_us=START_US - 1,
    start_unix_us=START_US,
    salt=bytes(16),
)


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse with the ledger's tables."""
    async with Stack(tmp_path_factory.mktemp("shadow-book")) as running:
        await running.start("clickhouse", "ledger")
        await running.has_tables()
        yield running
        default_pool_manager().clear()


def writer(stack: Stack) -> ClickHouse:
    """Where shadow writes."""
    url = f"http://127.0.0.1:{stack.ports['clickhouse']}"
    return ClickHouse(url=url, user="homeward", password=SECRETS.clickhouse_password)


def finished(rng: Random, sample_id: bytes, experiment: Experiment) -> list[Finished]:
    """What a sample may have become: a triplet, and now and then one of a control lane."""
    asked_us = rng.randrange(START_US, END_US)
    closes = experiment.closes(experiment.window_start(asked_us))
    late = rng.random() < 0.03
    shared: dict[str, Any] = {
        "sample_id": sample_id,
        "experiment_id": experiment.experiment_id,
        "epoch": experiment.epoch,
        "workload": experiment.workload,
        "request_unix_us": asked_us,
        # Now and then to the microsecond of the close, which is still in time.
        "arrival_unix_us": None if late else rng.choice((asked_us + rng.randrange(SECOND_US), closes)),
        "cluster": rng.choice(("", rng.randbytes(1).hex())),
        "stratum": rng.choice(("tools", 'no "tools",\nat all')),
        "scorer": experiment.scorer,
        "features": ("tools", "stop"),
        "cloud_leg_id": rng.randbytes(16),
        "trace_id": rng.randbytes(16).hex(),
    }
    noise = rng.choice((1_000_000, 999_999, 333_334, None)) if rng.random() < 0.2 else 1_000_000
    failed = late or rng.random() < 0.02
    sovereign = None if failed else rng.choice((1_000_000, 1_000_000, 1_000_000, 333_333, 1))
    reason = "late" if late else "timeout" if failed or noise is None else ""
    rows = [
        Finished(**shared, lane="", sovereign_millionths=sovereign, noise_millionths=noise, reason=reason)
    ]
    if rng.random() < 0.3:
        rows.append(
            Finished(**shared, lane="cloud", sovereign_millionths=1_000_000, noise_millionths=1_000_000)
        )
    return rows


def fill(store: Store, rng: Random, count: int, experiment: Experiment = EXPERIMENT) -> None:
    """Takes and finishes samples."""
    for _ in range(count):
        sample_id = rng.randbytes(16)
        rows = finished(rng, sample_id, experiment)
        store.take(
            Sample(
                sample_id=sample_id,
                experiment_id=experiment.experiment_id,
                epoch=experiment.epoch,
                workload=experiment.workload,
                request_unix_us=rows[0].request_unix_us,
                cluster=rows[0].cluster,
                stratum=rows[0].stratum,
                payload=b"text",
            )
        )
        store.finish(sample_id, rows)


def evidence(store: Store, experiment: Experiment, lane: str) -> list[Window]:
    """The closed windows, reckoned from the store."""
    triplets = store.triplets(experiment.experiment_id, experiment.epoch, lane)
    return windows(triplets, experiment.rules, NOW_US)


def shipped_by(store: Store, stack: Stack) -> Shipping:
    """Shipping out of a store at a time when all windows have closed."""
    return Shipping(
        store,
        Book(writer(stack)),
        lambda experiment, lane: evidence(store, experiment, lane),
        clock=lambda: NOW_US / SECOND_US,
    )


def as_window(row: Sequence[Any]) -> Window:
    """A row of homeward.verdict_windows, its time in microseconds."""
    epoch, start_unix_us, n, log_k, lower_bound, upper_bound, sha256, verdict = row
    return Window(epoch, start_unix_us, n, log_k, lower_bound, upper_bound, sha256, Verdict(verdict))


def as_funnel(row: Sequence[Any]) -> Funnel:
    """Counts of homeward.shadow_funnel."""
    *reached, losses = row
    eligible, sampled, sent, answered, scored = reached
    by_reason = {(key.split("/")[0], key.split("/")[1]): count for key, count in losses.items()}
    return Funnel(eligible, sampled, sent, answered, scored, by_reason)


async def rows(stack: Stack, sql: str, **parameters: Any) -> list[Sequence[Any]]:
    """What an analyst is answered."""

    def run() -> list[Sequence[Any]]:
        with stack.clickhouse() as client:
            return list(client.query(sql, parameters).result_rows)

    return await asyncio.to_thread(run)


async def exported(stack: Stack, file: Path, epoch: int | None = None, lane: str = "") -> Any:
    """Exports the workload's triplets as an analyst."""

    def run() -> Any:
        with stack.clickhouse() as client:
            return export(client, EXPERIMENT.workload, epoch, file, lane)

    return await asyncio.to_thread(run)


async def test_the_verdict_replays_from_the_book_though_clickhouse_was_killed_while_it_was_written(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "BATCH_ROWS", 40)
    monkeypatch.setattr(shipping, "INTERVAL_S", 0.01)
    monkeypatch.setattr(shipping, "LONGEST_PAUSE_S", 0.5)
    monkeypatch.setattr(playbook.triplets, "PAGE_ROWS", 70)
    rng = Random(6)
    store = Store(tmp_path / "shadow.sqlite", 10_000)
    second = replace(EXPERIMENT, epoch=2)
    store.add_experiment(EXPERIMENT, bytes(16))
    store.add_experiment(second, bytes(15) + b"1")
    fill(store, rng, 600)
    thread = shipped_by(store, stack)
    thread.start()
    try:

        async def some() -> bool:
            return store.get_state(TRIPLETS) is not None

        await until(some, "the first batch is sent")
        await stack.kill("clickhouse")
        fill(store, rng, 300)
        fill(store, rng, 200, second)
        await stack.start("clickhouse")
        expected = {
            (experiment.epoch, lane): len(store.finished(ID, experiment.epoch, lane, 0, 10_000))
            for experiment in (EXPERIMENT, second)
            for lane in ("", "cloud")
        }

        async def sent() -> bool:
            found = await rows(
                stack,
                "SELECT epoch, lane, count() FROM homeward.triplets FINAL WHERE workload = 'ticket-triage'"
                " GROUP BY epoch, lane",
            )
            return {(epoch, lane): count for epoch, lane, count in found} == expected

        await until(sent, "every triplet is in the book")
    finally:
        thread.close(WAIT_S)
    # As a kill between an insert and the note of it leaves the store.
    store.set_state(TRIPLETS, b"17")
    assert shipped_by(store, stack).ship() >= sum(expected.values()) - 17
    assert await sent()

    for name in ("triplets.csv", "triplets.parquet"):
        for experiment, lane in ((EXPERIMENT, ""), (second, ""), (EXPERIMENT, "cloud")):
            file = tmp_path / name
            told = await exported(stack, file, experiment.epoch, lane)
            assert (told.experiment_id, told.epochs) == (uuid.UUID(bytes=ID), (experiment.epoch,))
            assert told.rows == expected[experiment.epoch, lane]
            replayed = windows(read_triplets(file), experiment.rules)
            # Histogram hashes and floats included.
            assert replayed == evidence(store, experiment, lane)
            assert len(replayed) == WINDOW_COUNT
    assert not (tmp_path / "triplets.csv.part").exists()

    file = tmp_path / "all.csv"
    assert (await exported(stack, file)).epochs == (1, 2)
    both = windows(read_triplets(file), EXPERIMENT.rules)
    assert both == [*evidence(store, EXPERIMENT, ""), *evidence(store, second, "")]

    columns = "epoch, start_time, n, log_k, lower_bound, upper_bound, histogram_sha256, verdict"
    for lane in VERDICT_LANES:
        found = await rows(
            stack,
            f"SELECT {columns.replace('start_time', 'toUnixTimestamp64Micro(start_time)')}"
            " FROM homeward.verdict_windows FINAL WHERE workload = 'ticket-triage' AND lane = {lane:String}"
            " ORDER BY epoch, start_time",
            lane=lane,
        )
        windows_of = [evidence(store, experiment, lane) for experiment in (EXPERIMENT, second)]
        assert [as_window(row) for row in found] == windows_of[0] + windows_of[1]
    store.close()


async def test_the_views_show_what_the_store_has(stack: Stack, tmp_path: Path) -> None:
    rng = Random(7)
    other = bytes(reversed(ID))
    experiment = replace(EXPERIMENT, experiment_id=other, workload="summaries")
    store = Store(tmp_path / "shadow.sqlite", 10_000)
    store.add_experiment(experiment, bytes(16))
    fill(store, rng, 200, experiment)
    minutes = [START_US, START_US + 100 * 60 * SECOND_US]
    counts = [
        Count(other, 1, minute, step, reason, rng.randrange(1, 1000))
        for minute in minutes
        for step, reason in (
            ("eligible", ""),
            ("sampled", ""),
            ("sent", ""),
            ("ineligible", "shape"),
            ("shed", "queue"),
            ("shed", "away"),
        )
    ]
    thread = shipped_by(store, stack)
    store.add_traffic(ID, 1, counts, NOW_US)
    thread.ship()
    # A minute's counts grow while reports come.
    store.add_traffic(ID, 2, counts[:3], NOW_US)
    waiting = Sample(rng.randbytes(16), other, 1, "summaries", START_US, "", "tools", b"text")
    store.take(waiting)
    store.lose(waiting.sample_id, "cost_cap", NOW_US)
    thread.ship()
    store.set_state(COUNTS, b"0")
    thread.ship()

    midnight_us = START_US + 3600 * SECOND_US
    found = await rows(
        stack,
        "SELECT day, eligible, sampled, sent, answered, scored, losses FROM homeward.shadow_funnel"
        " WHERE workload = 'summaries' ORDER BY day",
    )
    shown = [as_funnel(row[1:]) for row in found]
    second_day = store.funnel(other, 1, midnight_us)
    first_day = store.funnel(other, 1) - second_day
    assert [row[0] for row in found] == [START.date(), START.date() + timedelta(days=1)]
    assert shown == [first_day, second_day]
    assert first_day.losses["lost", "cost_cap"] == 1
    assert second_day.losses["late", "late"] > 0

    scores = await rows(
        stack,
        "SELECT sample_id, agreement_sovereign, agreement_noise, difference FROM homeward.triplet_scores"
        " WHERE workload = 'summaries' AND lane = '' ORDER BY request_time, sample_id",
    )
    held = sorted(
        (item for _, item in store.finished(other, 1, "", 0)),
        key=lambda item: (item.request_unix_us, item.sample_id),
    )
    expected = [
        (
            item.sample_id.hex(),
            item.triplet.agreement_sovereign,
            item.triplet.agreement_noise,
            item.triplet.difference(NOW_US),
        )
        for item in held
    ]
    assert [tuple(row) for row in scores] == expected

    last = evidence(store, experiment, "")[-1]
    (verdict,) = await rows(
        stack,
        "SELECT windows, toUnixTimestamp64Micro(start_time), n, histogram_sha256, verdict, log_k_needed"
        " FROM homeward.verdicts WHERE workload = 'summaries' AND lane = ''",
    )
    assert verdict[:5] == (WINDOW_COUNT, last.start_unix_us, last.n, last.histogram_sha256, last.verdict)
    assert verdict[5] == pytest.approx(3.6889, abs=1e-4)
    store.close()


async def test_windows_are_sent_once_they_have_closed(stack: Stack, tmp_path: Path) -> None:
    workload = "closing"
    experiment = replace(EXPERIMENT, experiment_id=bytes(15) + b"9", workload=workload)
    store = Store(tmp_path / "shadow.sqlite", 10_000)
    store.add_experiment(experiment, bytes(16))
    fill(store, Random(8), 100, experiment)
    now_us = START_US
    thread = Shipping(
        store,
        Book(writer(stack)),
        lambda item, lane: windows(store.triplets(item.experiment_id, 1, lane), item.rules, now_us),
        clock=lambda: now_us / SECOND_US,
    )
    seen = []
    for closed in (0, 1, 1, 3):
        now_us = experiment.closes(START_US) + (closed - 1) * WINDOW_US
        thread.ship()
        ((count,),) = await rows(
            stack,
            "SELECT count() FROM homeward.verdict_windows FINAL WHERE workload = {workload:String}"
            " AND lane = ''",
            workload=workload,
        )
        seen.append(count)
    assert seen == [0, 1, 1, 3]
    assert store.get_state(f"{WINDOWS} {experiment.experiment_id.hex()} 1 cloud") is not None
    store.close()


async def test_an_export_of_what_is_not_there_says_so(stack: Stack, tmp_path: Path) -> None:
    def run() -> None:
        with stack.clickhouse() as client:
            export(client, "nobody's", None, tmp_path / "none.csv")

    with pytest.raises(NothingToExportError, match='no triplets of "nobody\'s"'):
        await asyncio.to_thread(run)
    assert not (tmp_path / "none.csv").exists()


def leg(rng: Random, start: datetime, purpose: str, model: str = "stand-in-mini") -> Row:
    """A leg of the workload `spent`."""
    return Row(
        leg_id=uuid.UUID(int=rng.getrandbits(128)),
        start=start,
        workload="spent",
        key_name="shadow",
        purpose=purpose,
        target="sovereign" if purpose == "home" else "cloud",
        model=model,
        tokens=(rng.randrange(1, 4000), 0, 0, rng.randrange(1, 700), 0),
        latency_us=1000,
        ttft_us=None,
        outcome="ok",
        sample_id=rng.randbytes(16).hex(),
        trace_id="0" * 32,
    )


async def test_what_shadowing_costs_today_is_known_with_legs_that_are_not_booked_yet(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend, "POLL_S", 0.05)
    rng = Random(9)
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = Spend(writer(stack), clock=(today + timedelta(hours=12)).timestamp)
    try:

        async def known() -> bool:
            return found.spent_today_nanos("spent") == 0

        await until(known, "nothing is spent, and that is known")
        for _ in range(4):
            found.asked("spent")
        # What a leg costs is not known before one is booked.
        assert found.spent_today_nanos("spent") is None
        counted = [
            leg(rng, today + timedelta(minutes=5), "shadow"),
            leg(rng, today + timedelta(minutes=6), "noise"),
        ]
        yesterday = leg(rng, today - timedelta(hours=1), "judge")
        unpriced = leg(rng, today, "noise", "stand-in-unpriced")
        others = [yesterday, unpriced, leg(rng, today, "production")]
        async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
            request = ledger_pb2.RecordRequest(legs=[analyst_rows.as_leg(row) for row in counted + others])
            await ledger_pb2_grpc.LedgerServiceStub(channel).Record(request, timeout=WAIT_S)
        costs = [row.booked_nanos or 0 for row in counted]
        mean = (sum(costs) + (yesterday.booked_nanos or 0)) / 3

        async def booked() -> bool:
            # Of the four asked, three are booked, one of them at an unknown cost.
            return found.spent_today_nanos("spent") == sum(costs) + round(2 * mean)

        await until(booked, "the legs are in the book")
        assert found.spent_today_nanos("another") == 0
    finally:
        found.close()


async def test_without_clickhouse_the_cost_is_unknown() -> None:
    found = Spend(ClickHouse(url="http://127.0.0.1:1", user="homeward", password="none"))
    try:
        assert found.spent_today_nanos("spent") is None
        found.asked("spent")
        assert found.spent_today_nanos("spent") is None
    finally:
        found.close()
