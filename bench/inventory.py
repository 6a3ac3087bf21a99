"""How fast an import is, beside bare inserts of the same rows: `python -m bench.inventory`.

Writes `results/inventory.json` and `results/inventory.md`. ClickHouse runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import default_pool_manager

from playbook.clickhouse_client import connect
from playbook.inventory.importing import import_file
from playbook.inventory.naming import Namer
from playbook.inventory.pricing import Pricer
from playbook.inventory.sniff import open_export
from playbook.inventory.store import INSERT, Store, complete
from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import migrate
from services.ledger.adapters.prices import PriceList
from tests.support.stack import SECRETS, Stack

RESULTS = Path(__file__).parent / "results"
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-sonnet-4-5")
PROMPTS = tuple(
    f"You are assistant number {n} of the company. " + "Follow the rules. " * 20 for n in range(50)
)


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv-rows", type=int, default=1_000_000)
    parser.add_argument("--log-rows", type=int, default=50_000)
    given = parser.parse_args()
    asyncio.run(_run(given.csv_rows, given.log_rows))


async def _run(csv_rows: int, log_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(Path(folder)) as stack:
            await stack.start("clickhouse")
            store = ClickHouse(
                url=f"http://127.0.0.1:{stack.ports['clickhouse']}", password=SECRETS.clickhouse_password
            )
            cases = await asyncio.to_thread(_measure, store, Path(folder), csv_rows, log_rows)
            default_pool_manager().clear()
    document = {
        "cases": cases,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "day": datetime.now(UTC).date().isoformat(),
    }
    (RESULTS / "inventory.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    page = _page(document)
    (RESULTS / "inventory.md").write_text(page, encoding="utf-8")
    print(page)


def _measure(store: ClickHouse, folder: Path, csv_rows: int, log_rows: int) -> list[dict[str, Any]]:
    client = connect(store, 600)
    try:
        migrate(client)
        return [
            _case(client, "plain CSV", _csv(folder / "log.csv", csv_rows), csv_rows),
            _case(client, "log of requests (JSONL)", _log(folder / "log.jsonl", log_rows), log_rows),
        ]
    finally:
        client.close()


def _case(client: Client, name: str, file: Path, rows: int) -> dict[str, Any]:
    """Reads alone, imports, then inserts the rows of the import bare."""
    pricer = Pricer(PriceList([]))

    def imported(store: Store | None) -> None:
        namer = Namer(None)
        export = open_export(file, observe=namer.observe)
        outcome = import_file(export, pricer, namer, store, now=datetime.now(UTC), options={})
        assert (outcome.rows, outcome.bad_rows, outcome.problem) == (rows, 0, "")

    read_s = _seconds(lambda: imported(None))
    client.command("TRUNCATE TABLE homeward.usage")
    began_cpu = time.process_time()
    import_s = _seconds(lambda: imported(Store(client)))
    cpu_s = time.process_time() - began_cpu
    [[count, cost]] = client.query("SELECT count(), sum(cost_nanos) FROM homeward.usage FINAL").result_rows
    assert count == rows
    tables = _tables(file, pricer)
    client.command("TRUNCATE TABLE homeward.usage")

    def bare() -> None:
        for table in tables:
            client.insert_arrow("homeward.usage", table, settings=INSERT)

    bare_s = _seconds(bare)
    return {
        "case": name,
        "rows": rows,
        "file_mib": round(file.stat().st_size / 1024 / 1024, 1),
        "read_rows_per_s": round(rows / read_s),
        "import_rows_per_s": round(rows / import_s),
        "import_cpu_us_a_row": round(cpu_s / rows * 1e6, 1),
        "bare_rows_per_s": round(rows / bare_s),
        "cost_usd": round(cost / 1e9, 2),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _tables(file: Path, pricer: Pricer) -> list[pa.Table]:
    """What the import of a file inserts."""
    export, namer, now = open_export(file), Namer(None), datetime.now(UTC)
    return [
        complete(namer.named(pricer.priced(block)), export.format, "", now)
        for block, _ in export.blocks()
        if block.num_rows
    ]


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _csv(path: Path, rows: int) -> Path:
    rng, at = random.Random(1), datetime(2025, 1, 1)
    with path.open("w") as file:
        file.write("timestamp,model,project,input_tokens,output_tokens,cached_tokens\n")
        for _ in range(rows):
            at += timedelta(microseconds=rng.randrange(20_000_000))
            tokens = rng.randrange(50, 9000)
            file.write(
                f"{at.isoformat(sep=' ')},{rng.choice(MODELS)},team-{rng.randrange(20)},{tokens},"
                f"{rng.randrange(5, 900)},{rng.randrange(tokens)}\n"
            )
    return path


def _log(path: Path, rows: int) -> Path:
    rng, at = random.Random(1), 1735689600
    with path.open("w") as file:
        for n in range(rows):
            at += rng.randrange(30)
            messages = [
                {"role": "system", "content": rng.choice(PROMPTS)},
                {"role": "user", "content": f"Question {n}: " + "word " * rng.randrange(20, 300)},
            ]
            usage = {"prompt_tokens": rng.randrange(50, 9000), "completion_tokens": rng.randrange(5, 900)}
            line = {
                "timestamp": at,
                "request": {"model": rng.choice(MODELS[:3]), "messages": messages},
                "response": {"id": f"chatcmpl-{n}", "usage": usage},
            }
            file.write(json.dumps(line) + "\n")
    return path


def _page(document: dict[str, Any]) -> str:
    lines = [
        "# Importing usage",
        "",
        f"`python -m bench.inventory` on {document['day']}, {document['machine']}; ClickHouse on the same"
        " cores, nothing asked of the classifier. Read: parsed, priced and counted (`--dry-run`). Imported:"
        " stored too, while the next block is read; CPU is that process's, whatever else ran. Bare: the same"
        " Arrow tables one after another through clickhouse-connect's `insert_arrow` into the same table.",
        "",
        "| file | rows | MiB | read, rows/s | imported, rows/s | CPU a row, µs | bare inserts, rows/s |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {case['case']} | {case['rows']:,} | {case['file_mib']:,} | {case['read_rows_per_s']:,} |"
            f" {case['import_rows_per_s']:,} | {case['import_cpu_us_a_row']} | {case['bare_rows_per_s']:,} |"
            for case in document["cases"]
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
