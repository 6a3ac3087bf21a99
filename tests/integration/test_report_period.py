"""What comes into the book after a document was made is not in it: asked again, its queries say the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import default_pool_manager

from playbook.report.gather import QUERIES, WHOLE
from services.shadow.adapters.clickhouse import ClosedWindow
from services.shadow.adapters.store import Count, Finished
from services.shadow.core.experiment import Experiment
from services.shadow.core.verdict import windows
from tests.support import analyst_shadow
from tests.support.analyst_shadow import MINUTE_US, Shadow
from tests.support.stack import SECRETS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

END = datetime.now(UTC).replace(second=20, microsecond=0) - timedelta(minutes=2)
"""The document's."""
BEGIN = END - timedelta(days=30)
END_US = int(END.timestamp()) * 10**6
LEG_COLUMNS = (
    *("leg_id", "request_id", "start_time", "workload", "purpose", "target", "outcome", "latency_us"),
    *("streamed", "ttft_us", "cost_nanos", "sample_id"),
)


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack(tmp_path_factory.mktemp("report-period")) as running:
        await running.start("clickhouse", "ledger")
        await running.has_tables()
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


def client_of(stack: Stack) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1",
        port=stack.ports["clickhouse"],
        username="homeward",
        password=SECRETS.clickhouse_password,
    )


def leg(rng: Random, start: datetime, latency_s: float, **changes: Any) -> list[Any]:
    values = {
        "leg_id": uuid.UUID(int=rng.getrandbits(128)),
        "request_id": uuid.UUID(int=rng.getrandbits(128)),
        "start_time": start,
        "workload": "summaries",
        "purpose": "production",
        "target": rng.choice(("cloud", "sovereign")),
        "outcome": "ok",
        "latency_us": round(latency_s * 1e6),
        "streamed": True,
        "ttft_us": 1000,
        "cost_nanos": 5,
        "sample_id": "",
    }
    return [{**values, **changes}[name] for name in LEG_COLUMNS]


def answers(client: Client) -> dict[str, list[tuple[Any, ...]]]:
    """What the queries of the whole period say, by their names."""
    parameters = {
        "since": f"{BEGIN:%Y-%m-%d %H:%M:%S}",
        "until": f"{END:%Y-%m-%d %H:%M:%S}",
        "workloads": [],
        "step_s": 3600,
        "grace_s": 60,
    }
    found = {}
    for name in WHOLE:
        query = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
        found[name] = list(client.query(query, parameters=parameters).result_rows)
    return found


def write_before(stack: Stack) -> Experiment:
    """Three weeks of legs and of two comparisons."""
    rng = Random(7)
    shadow = analyst_shadow.make(rng, END)
    analyst_shadow.write(stack, shadow)
    legs = [leg(rng, END - timedelta(minutes=10 * number), 2) for number in range(1, 300)]
    with closing(client_of(stack)) as client:
        client.insert("homeward.legs", legs, column_names=LEG_COLUMNS)
    experiment: Experiment = shadow.windows[0].experiment
    return experiment


def write_after(stack: Stack, experiment: Experiment) -> None:
    """What was still open at the document's end, and what came after it."""
    rng = Random(8)
    open_at_the_end = leg(rng, END - timedelta(seconds=2), 5)
    later = leg(rng, END + timedelta(seconds=1), 1)
    with closing(client_of(stack)) as client:
        client.insert("homeward.legs", [open_at_the_end, later], column_names=LEG_COLUMNS)
    minute_us = END_US // MINUTE_US * MINUTE_US
    more = Shadow()
    for step, reason in (("eligible", ""), ("sampled", ""), ("sent", ""), ("shed", "queue")):
        # The minute in which the document was made goes on, and the day does.
        for at_us in (minute_us, minute_us + MINUTE_US):
            more.counts.append(
                (Count(experiment.experiment_id, 1, at_us, step, reason, 7000), experiment.workload)
            )
    for asked_s, answered_s in ((-300, 5), (-10, -5), (-90, None), (5, 6)):
        more.finished.append(
            Finished(
                sample_id=rng.randbytes(16),
                lane="",
                experiment_id=experiment.experiment_id,
                epoch=1,
                workload=experiment.workload,
                request_unix_us=END_US + asked_s * 10**6,
                arrival_unix_us=None if answered_s is None else END_US + answered_s * 10**6,
                cluster="",
                stratum="",
                sovereign_millionths=0,
                noise_millionths=10**6,
                scorer=experiment.scorer,
                reason="late" if answered_s is None else "",
            )
        )
    closing_us = END_US + experiment.window_us + experiment.watermark_us
    more.windows = [
        ClosedWindow(experiment, "", window)
        for window in windows([item.triplet for item in more.finished], experiment.rules, closing_us)
        if window.start_unix_us + experiment.window_us + experiment.watermark_us > END_US
    ]
    analyst_shadow.write(stack, more)


async def test_what_comes_later_changes_nothing_of_a_document(ledger: Stack) -> None:
    experiment = await asyncio.to_thread(write_before, ledger)
    with closing(client_of(ledger)) as client:
        said = await asyncio.to_thread(answers, client)
        assert {name for name, rows in said.items() if not rows} == {"pools"}
        await asyncio.to_thread(write_after, ledger, experiment)
        again = await asyncio.to_thread(answers, client)
    assert {name for name in WHOLE if again[name] != said[name]} == set()
