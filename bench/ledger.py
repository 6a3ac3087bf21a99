"""`make bench-ledger`: legs a second into the book, beside the same rows inserted bare.

One real ledger process, with its durable spool and its journal, before the embedded ClickHouse; senders call
Record with legs that were serialised beforehand. The clock runs from the first call until the last row is in
ClickHouse. Beside it the same rows, inserted from lists with clickhouse-connect into a table of the same
shape: no spool, no journal, no prices, no views. Everything shares the same two cores.

Writes a table and the raw figures to bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from bench import process
from bench.ledger_load import CALL_LEGS, POOL_UPSTREAM
from deploy.local.config import load_local
from deploy.local.parts import build
from deploy.local.state import Secrets
from deploy.local.supervisor import Supervisor
from services.ledger.adapters.spool import BATCH_LEGS
from tests.support.places import PLACES, free_places

RESULTS = Path("bench/results")
COMMAND = "python -m bench.ledger"
CPUS = "0,1"
"""Of everything: ledger, ClickHouse and senders."""
CALLERS = 4
WARM_UP_LEGS = 100_000
BARE_LEGS = 200_000
LOOK_S = 0.05
"""How often the rows in ClickHouse are counted at the end."""
SLICES = 16
"""In so many parts ids are checked, so that ten millions fit ClickHouse's memory."""
SPOOL_ROWS = 200_000
"""Few, so that a ledger that takes legs faster than it ships them is held back in the run."""

_SECRETS = Secrets(api_key="hw-bench", clickhouse_password="bench-writer", analyst_password="bench-reader")
_SETTINGS = (
    PLACES.replace("[ledger]", "[ledger]\nspool_rows = {spool_rows}")
    + """
[upstreams.{pool}]
target = "sovereign"
base_url = "http://127.0.0.1:1/v1"
models = ["small-llama"]
[pools.gpus]
upstreams = ["{pool}"]
hosting_usd_per_month = 2000
"""
)


@dataclass(frozen=True, slots=True)
class Running:
    """A ledger and its ClickHouse."""

    address: str
    ledger_pid: int
    clickhouse_pid: int
    clickhouse_port: int

    def client(self) -> Client:
        """A client of the services' user."""
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=self.clickhouse_port,
            username="homeward",
            password=_SECRETS.clickhouse_password,
            settings={"async_insert": 0},
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of the ledger."""

    legs: int
    seconds: float
    """From the first call to the last row in ClickHouse."""
    ledger_cpu_us: float
    """CPU time of the ledger's process a leg, microseconds."""
    clickhouse_cpu_us: float
    rss_first_mib: float
    """Resident memory of the ledger after the warm-up."""
    rss_last_mib: float
    rss_highest_mib: float
    rss_slope_bytes: float
    """Growth of it a leg."""
    refused: int
    """Calls that found the spool full, and came again."""

    @property
    def legs_a_second(self) -> float:
        """What the ledger sustains."""
        return self.legs / self.seconds


@asynccontextmanager
async def serve() -> AsyncIterator[Running]:
    """Runs a ledger and a ClickHouse until the block ends."""
    ports = free_places()
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        file = Path(folder, "homeward.toml")
        file.write_text(_SETTINGS.format(folder=folder, spool_rows=SPOOL_ROWS, pool=POOL_UPSTREAM, **ports))
        environment = {**os.environ, "HOMEWARD_KEYS__DEMO__SHA256": _SECRETS.api_key_sha256}
        config = load_local(file, environment)
        parts = [
            part.pinned(CPUS)
            for part in await asyncio.to_thread(build, config, _SECRETS, file, Path(folder), None)
            if part.name in ("clickhouse", "ledger")
        ]
        supervisor = Supervisor(parts, lambda name: Path(folder, f"{name}.log"), lambda _: None)
        try:
            await supervisor.start()
            pids = supervisor.pids()
            yield Running(
                address=f"127.0.0.1:{ports['ledger']}",
                ledger_pid=pids["ledger"],
                clickhouse_pid=pids["clickhouse"],
                clickhouse_port=ports["clickhouse"],
            )
        finally:
            await supervisor.stop()


async def send(running: Running, legs: int) -> dict[str, Any]:
    """Sends legs from a process of its own; gives what it printed."""
    command = ["taskset", "-c", CPUS, sys.executable, "-m", "bench.ledger_load"]
    child = await asyncio.create_subprocess_exec(
        *command, running.address, str(legs), str(CALLERS), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError("the sender failed; its error is above")
    found: dict[str, Any] = json.loads(output)
    return found


async def until_rows(client: Client, count: int) -> float:
    """The time, in seconds since the epoch, at which that many rows are in ClickHouse."""

    def look() -> float:
        while client.query("SELECT count() FROM homeward.legs").result_rows[0][0] < count:
            time.sleep(LOOK_S)
        return time.time()

    return await asyncio.to_thread(look)


async def measure(running: Running, legs: int) -> Figures:
    """One run, after a shorter one that is not counted."""
    client = running.client()
    await send(running, WARM_UP_LEGS)
    await until_rows(client, WARM_UP_LEGS)
    before = [process.cpu_seconds([pid]) for pid in (running.ledger_pid, running.clickhouse_pid)]
    with process.sampled_rss([running.ledger_pid], every_s=0.5) as samples:
        sent = await send(running, legs)
        ended_s = await until_rows(client, WARM_UP_LEGS + legs)
    used = [
        (process.cpu_seconds([pid]) - first) / legs * 1e6
        for pid, first in zip((running.ledger_pid, running.clickhouse_pid), before, strict=True)
    ]
    check(client, WARM_UP_LEGS + legs)
    client.close()
    mib = [sample.rss_bytes / 2**20 for sample in samples]
    return Figures(
        legs=legs,
        seconds=ended_s - sent["began_us"] / 1e6,
        ledger_cpu_us=used[0],
        clickhouse_cpu_us=used[1],
        rss_first_mib=mib[0],
        rss_last_mib=mib[-1],
        rss_highest_mib=max(mib),
        rss_slope_bytes=process.rss_slope(samples, sorted(sent["answered_us"])) / CALL_LEGS,
        refused=sent["refused"],
    )


def check(client: Client, count: int) -> None:
    """Figures of a wrong book are no figures.

    Raises:
        RuntimeError: rows are missing, or there twice, or their parts don't add up.
    """
    classes = ("input", "cached_input", "cache_write", "output", "reasoning", "request")
    total = " + ".join(f"ifNull({name}_cost_nanos, 0)" for name in classes)
    rows = ids = wrong = 0
    for part in range(SLICES):
        found = client.query(
            f"SELECT count(), uniqExact(leg_id), countIf(ifNull(cost_nanos, 0) != {total}) FROM homeward.legs"
            f" WHERE cityHash64(leg_id) % {SLICES} = {part}"
        ).result_rows[0]
        rows, ids, wrong = rows + found[0], ids + found[1], wrong + found[2]
    if (rows, ids, wrong) != (count, count, 0):
        raise RuntimeError(f"{count} legs were sent; {rows} rows, {ids} ids, {wrong} of a wrong cost")


def bare(client: Client, legs: int) -> float:
    """Rows a second of clickhouse-connect alone: rows of the book, from lists, in batches as large."""
    client.command("CREATE TABLE homeward.bare AS homeward.legs")
    found = client.query(f"SELECT * FROM homeward.legs LIMIT {BATCH_LEGS}")
    names = found.column_names
    columns = [list(column) for column in found.result_columns]
    began = time.perf_counter()
    for number in range(legs // BATCH_LEGS):
        client.insert(
            "homeward.bare",
            columns,
            column_names=names,
            column_oriented=True,
            settings={"insert_deduplication_token": str(number)},
        )
    took_s = time.perf_counter() - began
    client.command("DROP TABLE homeward.bare SYNC")
    return legs // BATCH_LEGS * BATCH_LEGS / took_s


def page(figures: Figures, bare_rows: Sequence[float], views: int) -> str:
    """The results as Markdown."""
    limit = sum(bare_rows) / len(bare_rows)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    memory = (figures.rss_first_mib, figures.rss_last_mib, figures.rss_highest_mib)
    table = {
        "legs/s, from the first call to the last row in ClickHouse": f"{figures.legs_a_second:,.0f}",
        "CPU of the ledger a leg, µs": f"{figures.ledger_cpu_us:.1f}",
        f"CPU of ClickHouse a leg, µs, with {views} views and all merges": f"{figures.clickhouse_cpu_us:.1f}",
        "memory of the ledger: first, last, highest, MiB": ", ".join(f"{mib:.0f}" for mib in memory),
        "growth of it, bytes a leg": f"{figures.rss_slope_bytes:.2f}",
        "the same rows bare, twice, rows/s": ", ".join(f"{rows:,.0f}" for rows in bare_rows),
        "the ledger as a part of that": f"{figures.legs_a_second / limit:.0%}",
    }
    lines = [
        "# Legs a second into the book",
        "",
        f"`{COMMAND} --legs {figures.legs}` on {datetime.now(UTC):%Y-%m-%d}, {machine}. One ledger process,"
        f" its ClickHouse and the senders share two cores. {CALLERS} callers send {CALL_LEGS:,} legs a call,"
        f" as routers do: {figures.legs:,} legs of ten models and eight workloads. A leg counts when its row"
        " is in ClickHouse; before that it was made durable in the spool (fsync), known by its id, priced,"
        " and booked in the journal (fsync). All ids and costs were checked.",
        "",
        "| | |",
        "|---|--:|",
        *(f"| {name} | {value} |" for name, value in table.items()),
        "",
        f"Bare means: with clickhouse-connect from lists in memory, {BATCH_LEGS:,} rows a batch, into a table"
        " of the same columns without views. Nothing is received, kept, priced or booked there.",
        "",
        "Growth is the slope of resident memory over the legs, without the first fifth of them.",
        "",
    ]
    return "\n".join(lines)


async def main() -> None:
    """Measures, checks and writes."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--legs", type=int, default=1_500_000, help="10000000 for memory over a long run")
    arguments.add_argument("--only-print", action="store_true", help="leave bench/results as it is")
    options = arguments.parse_args()
    async with serve() as running:
        print(f"ledger {running.ledger_pid}, ClickHouse {running.clickhouse_pid}", flush=True)
        client = running.client()
        await send(running, BATCH_LEGS)
        await until_rows(client, BATCH_LEGS)
        client.command("TRUNCATE TABLE homeward.legs")
        figures = await measure(running, options.legs)
        bare_rows = [await asyncio.to_thread(bare, client, BARE_LEGS) for _ in range(2)]
        views = client.query(
            "SELECT count() FROM system.tables WHERE database = 'homeward' AND engine = 'MaterializedView'"
            " AND as_select LIKE '%homeward.legs%'"
        ).result_rows[0][0]
        client.close()
    text = page(figures, bare_rows, views)
    print(text)
    if not options.only_print:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "ledger.md").write_text(text)
        (RESULTS / "ledger.json").write_text(
            json.dumps({**asdict(figures), "bare_rows_a_second": bare_rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    asyncio.run(main())
