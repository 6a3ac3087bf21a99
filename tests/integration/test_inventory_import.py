"""Imports into a real ClickHouse: totals are those of an independent sum over the files, to the nano."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from clickhouse_connect.driver.httputil import default_pool_manager
from typer.testing import CliRunner

from playbook.clickhouse_client import connect
from playbook.commands.inventory_import import import_
from playbook.inventory.importing import import_file
from playbook.inventory.line_items import tokens
from playbook.inventory.naming import Namer
from playbook.inventory.pricing import Pricer
from playbook.inventory.sniff import open_export
from playbook.inventory.store import Store
from playbook.inventory.sums import ask_spend, spend_of
from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import migrate
from services.ledger.adapters.prices import PriceList
from tests.support.stack import SECRETS, Stack
from tools.openai_usage_pages import write

DATA = Path(__file__).parents[2] / "data"
APP = typer.Typer()
APP.command("import")(import_)
BATCH_PRICE = """
[[prices]]
provider = "openai"
model = "gpt-4o-mini-2024-07-18"
input_usd_per_mtok = 0.15
cached_input_usd_per_mtok = 0.075
output_usd_per_mtok = 0.60
batch_factor = 0.5
"""
PUBLISHED = {
    "gpt-4o-2024-08-06": ("2.50", "1.25", "10.00"),
    "gpt-4o-mini-2024-07-18": ("0.15", "0.075", "0.60"),
    "gpt-4.1-2025-04-14": ("2.00", "0.50", "8.00"),
    "text-embedding-3-small": ("0.02", "0.02", "0"),
}
"""OpenAI's price list, dollars per million input, cached input and output tokens."""
HEAD = "time,model,project,input_tokens,output_tokens\n"


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse with the tables, and nothing else."""
    async with Stack(tmp_path_factory.mktemp("inventory"), BATCH_PRICE) as running:
        await running.start("clickhouse")

        def tables() -> None:
            client = connect(server(running))
            try:
                migrate(client)
            finally:
                client.close()

        await asyncio.to_thread(tables)
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


@pytest.fixture(autouse=True)
async def _empty(store: Stack) -> None:
    def run() -> None:
        client = connect(server(store))
        try:
            for table in ("usage", "imports", "import_rejects"):
                client.command(f"TRUNCATE TABLE homeward.{table}")
        finally:
            client.close()

    await asyncio.to_thread(run)


def server(stack: Stack) -> ClickHouse:
    return ClickHouse(
        url=f"http://127.0.0.1:{stack.ports['clickhouse']}", password=SECRETS.clickhouse_password
    )


async def run(stack: Stack, *arguments: str | Path, code: int = 0) -> str:
    """What the command prints."""
    runner = CliRunner(
        env={"COLUMNS": "200", "NO_COLOR": "1", "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.clickhouse_password}
    )
    told = await asyncio.to_thread(
        runner.invoke, APP, [*map(str, arguments), "--settings", str(stack.settings_file)]
    )
    assert told.exit_code == code, told.output
    return str(told.output)


async def totals(stack: Stack, where: str = "1") -> tuple[Any, ...]:
    [row] = await stack.query(
        "SELECT count(), sum(cost_nanos), sum(billed_nanos), sum(input_tokens), sum(cached_input_tokens),"
        f" sum(output_tokens), uniqExact(row_key) FROM homeward.usage FINAL WHERE {where}"
    )
    return tuple(row)


def rounded(dollars: Decimal) -> int:
    return int((dollars * 10**9).quantize(Decimal(1)))


def results(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    text = path.read_text()
    if path.suffix == ".jsonl":
        pages = [json.loads(line, parse_float=Decimal) for line in text.split("\n") if line]
    else:
        whole = json.loads(text, parse_float=Decimal)
        pages = whole if isinstance(whole, list) else [whole]
    for page in pages:
        for bucket in page["data"]:
            for result in bucket["results"]:
                yield bucket, result


async def test_the_azure_traces_add_up(store: Stack) -> None:
    files = sorted((DATA / "traces").glob("*.csv"))
    assert len(files) == 2
    cost = count = tokens_in = tokens_out = 0
    for file in files:
        for row in csv.DictReader(file.open()):
            into, out_of = Decimal(row["ContextTokens"]), Decimal(row["GeneratedTokens"])
            cost += rounded((into * Decimal("2.5") + out_of * 10) / 10**6)
            count, tokens_in, tokens_out = count + 1, tokens_in + int(into), tokens_out + int(out_of)
    told = await run(store, *files)
    assert "the export names no model" in told
    assert await totals(store) == (count, None, None, tokens_in, 0, tokens_out, count)
    for _ in range(2):
        await run(store, *files, "--model", "gpt-4o", "--provider", "openai")
        assert await totals(store) == (count, cost, None, tokens_in, 0, tokens_out, count)
    assert await store.query("SELECT count(), sum(rows) FROM homeward.imports FINAL") == [(2, count)]


async def test_the_focus_sample_adds_up(store: Stack) -> None:
    file = DATA / "usage" / "focus_1_0_sample.csv"
    rows = [row for row in csv.DictReader(file.open()) if row["ServiceCategory"] == "AI and Machine Learning"]
    billed = sum(rounded(Decimal(row["BilledCost"])) for row in rows)
    for _ in range(2):
        told = await run(store, file)
        assert "991 rows are no LLM spend" in told
        count, cost, found, *_ = await totals(store, "kind = 'cost' AND provider = 'azure'")
        assert (count, cost, found) == (len(rows), None, billed)


async def test_a_year_of_openai_usage_and_its_bill_add_up(store: Stack, tmp_path: Path) -> None:
    files = await asyncio.to_thread(write, tmp_path / "pages")
    cost = requests = count = 0
    for file in files[:2]:
        for _, item in results(file):
            fresh, cached, output = (Decimal(rate) for rate in PUBLISHED[item["model"]])
            stored = item.get("input_cached_tokens", 0)
            dollars = (item["input_tokens"] - stored) * fresh + stored * cached
            dollars += item.get("output_tokens", 0) * output
            if item.get("batch"):
                dollars /= 2
            cost += rounded(dollars / 10**6)
            requests, count = requests + item["num_model_requests"], count + 1
    bill = sum(rounded(item["amount"]["value"]) for _, item in results(files[2]))
    lines = sum(1 for _ in results(files[2]))
    for _ in range(2):
        told = await run(store, *files)
        assert "Price unknown" not in told
        found = await totals(store, "kind = 'usage'")
        assert found[:3] == (count, cost, None)
        assert (await totals(store, "kind = 'cost'"))[:3] == (lines, None, bill)
    [row] = await store.query(
        "SELECT sum(requests), sum(input_cost_nanos + cached_input_cost_nanos + cache_write_cost_nanos"
        " + output_cost_nanos + reasoning_cost_nanos + request_cost_nanos), min(start_time), max(end_time)"
        " FROM homeward.usage FINAL WHERE kind = 'usage'"
    )
    assert row == (requests, cost, datetime(2025, 1, 1), datetime(2026, 1, 1))
    # The usage's list price and the bill differ by the rounding of half nano-dollars alone.
    assert abs(cost - bill) <= count + lines
    [[groups, in_groups]] = await store.query(
        "SELECT uniqExact(project), sum(cost_nanos) FROM homeward.usage_by_group WHERE kind = 'usage'"
    )
    assert (groups, in_groups) == (7, cost)


async def test_overlapping_exports_count_each_bucket_once_and_the_newest_counts(
    store: Stack, tmp_path: Path
) -> None:
    first, *_ = write(tmp_path / "a", days=40)
    await run(store, first)
    before = await totals(store)
    later, *_ = write(tmp_path / "b", start=date(2025, 1, 21), days=40, seed=2)
    await run(store, later)
    expected = {}
    for file in (first, later):
        for bucket, item in results(file):
            place = (
                bucket["start_time"],
                item["project_id"],
                item["api_key_id"],
                item["model"],
                item["batch"],
            )
            expected[place] = item["input_tokens"]
    found = await totals(store)
    assert found != before
    assert found[0] == len(expected)
    assert found[3] + found[4] == sum(expected.values())


async def test_another_division_of_the_same_days_is_refused_until_told_to_replace(
    store: Stack, tmp_path: Path
) -> None:
    fine, embeddings, _ = write(tmp_path / "fine", days=10)
    await run(store, fine, embeddings)
    before = await totals(store)
    pages = [json.loads(line) for line in fine.read_text().split("\n") if line]
    for page in pages:
        for bucket in page["data"]:
            merged: dict[str, dict[str, Any]] = {}
            for item in bucket["results"]:
                kept = merged.setdefault(item["model"], {**item, "input_tokens": 0, "output_tokens": 0})
                for name in ("input_tokens", "output_tokens"):
                    kept[name] += item[name]
                for name in ("project_id", "api_key_id", "batch"):
                    kept[name] = None
                kept |= {"input_cached_tokens": 0, "input_uncached_tokens": None}
            bucket["results"] = list(merged.values())
    coarse = tmp_path / "coarse.json"
    coarse.write_text(json.dumps(pages))
    told = await run(store, coarse, code=1)
    assert "by model, but openai_usage of these days is there already" in told
    assert "batch and key and model and project, 2025-01-01 to 2025-01-10" in told
    assert await totals(store) == before
    await run(store, coarse, "--replace")
    after = await totals(store, "grouping = 'model'")
    assert after[3] == before[3] + before[4] - (await totals(store, "model LIKE 'text-%'"))[3]
    assert [
        row[0] for row in await store.query("SELECT DISTINCT grouping FROM homeward.usage ORDER BY 1")
    ] == [
        "embeddings:key,model,project",
        "model",
    ]


async def test_a_file_under_another_project_is_refused_until_told_to_replace(
    store: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,model,input_tokens,output_tokens\n2026-01-01,gpt-4o,5,5\n2026-01-01,gpt-4o,5,5\n")
    await run(store, path)
    assert "imported before as project" in await run(store, path, "--project", "care", code=1)
    await run(store, path, "--project", "care", "--replace")
    assert await store.query("SELECT project, count() FROM homeward.usage FINAL GROUP BY project") == [
        ("care", 2)
    ]


async def test_an_interrupted_import_is_run_again_and_counts_once(store: Stack, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    began = datetime(2026, 1, 1)
    with path.open("w") as file:
        file.write(HEAD)
        for n in range(250_000):
            # Two in three have the time, model and tokens of the one before.
            at = began + timedelta(seconds=n // 3)
            file.write(f"{at.isoformat(sep=' ')},gpt-4o-mini,team-{n // 3 % 7},{n // 3 % 900},3\n")
    pricer = Pricer(PriceList([]))
    client = connect(server(store))

    class Interrupted(Exception):
        pass

    def stop(_: int, rows: int) -> None:
        if rows > 100_000:
            raise Interrupted

    def start_and_stop() -> None:
        with pytest.raises(Interrupted):
            import_file(
                open_export(path),
                pricer,
                Namer(None),
                Store(client),
                now=datetime.now(UTC),
                options={},
                advance=stop,
            )

    try:
        await asyncio.to_thread(start_and_stop)
    finally:
        client.close()
    half = await totals(store)
    assert 0 < half[0] < 250_000
    assert await store.query("SELECT count() FROM homeward.imports") == [(0,)]
    await run(store, path)
    count, cost, *_, distinct = await totals(store)
    assert (count, distinct) == (250_000, 250_000)
    expected = sum(
        rounded((Decimal(n // 3 % 900) * Decimal("0.15") + 3 * Decimal("0.60")) / 10**6)
        for n in range(250_000)
    )
    assert cost == expected


async def test_an_interrupted_import_is_run_again_under_another_project_and_counts_once(
    store: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + "".join(f"2026-01-01 00:00:00,gpt-4o,,{n % 50},3\n" for n in range(60_000)))

    class Interrupted(Exception):
        pass

    def stop(_: int, rows: int) -> None:
        raise Interrupted

    def interrupted() -> None:
        client = connect(server(store))
        try:
            with pytest.raises(Interrupted):
                import_file(
                    open_export(path),
                    Pricer(PriceList([])),
                    Namer(None),
                    Store(client),
                    now=datetime.now(UTC),
                    options={},
                    advance=stop,
                )
        finally:
            client.close()

    await asyncio.to_thread(interrupted)
    assert (await totals(store))[0] > 0
    await run(store, path, "--project", "care")
    assert await store.query("SELECT project, count() FROM homeward.usage FINAL GROUP BY project") == [
        ("care", 60_000)
    ]


LINE = '{"timestamp":1767225600,"model":"gpt-4o","usage":{"prompt_tokens":5,"completion_tokens":5}%s}\n'


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (2 * (LINE % ',"id":"a"'), 1),
        (2 * (LINE % ""), 2),
        ((LINE % ',"id":"a"') + 2 * (LINE % "") + (LINE % ',"id":"b"') + (LINE % ',"id":"a"'), 4),
        ("time,model,input_tokens,output_tokens,request_id\n" + 2 * "2026-01-01,gpt-4o,5,5,a\n", 1),
        ("time,model,input_tokens,output_tokens,request_id\n" + 2 * "2026-01-01,gpt-4o,5,5,\n", 2),
        ("time,model,input_tokens,output_tokens\n" + 2 * "2026-01-01,gpt-4o,5,5\n", 2),
    ],
)
async def test_a_request_that_stands_twice_in_a_file_counts_once_if_it_has_an_id(
    store: Stack, tmp_path: Path, text: str, count: int
) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    for _ in range(2):
        await run(store, path)
        assert (await totals(store))[0] == count


async def test_a_request_log_keeps_fingerprints_and_counts_but_no_text(store: Stack, tmp_path: Path) -> None:
    secret = "my card ends in 4711"
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        for n in range(300):
            messages = [
                {"role": "system", "content": f"You are number {n % 2}.\u2028 Be brief."},
                {"role": "user", "content": f"{secret} {n}"},
            ]
            line = {
                "timestamp": 1767225600 + n,
                "request": {"model": "gpt-4o-mini", "messages": messages},
                "response": {"usage": {"prompt_tokens": 100, "completion_tokens": n % 50}},
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.write(json.dumps({"messages": secret, "model": "gpt-4o"}) + "\n" + secret + "\n")
    told = await run(store, path)
    # No classifier runs here.
    assert "the classifier did not answer" in told
    assert "2 bad rows, kept in homeward.import_rejects" in told
    [row] = await store.query(
        "SELECT count(), uniqExact(fingerprint), uniqExact(workload), sum(cost_nanos)"
        " FROM homeward.usage FINAL"
    )
    expected = sum(rounded((100 * Decimal("0.15") + n % 50 * Decimal("0.60")) / 10**6) for n in range(300))
    assert row == (300, 2, 1, expected)
    assert await store.query("SELECT line FROM homeward.import_rejects FINAL ORDER BY line") == [
        (301,),
        (302,),
    ]
    for table in ("usage", "imports", "import_rejects"):
        rows = await store.query(f"SELECT * FROM homeward.{table}")
        assert "4711" not in repr(rows)


async def test_two_sources_of_the_same_calls_are_warned_of(store: Stack, tmp_path: Path) -> None:
    pages, *_ = write(tmp_path, start=date(2026, 1, 1), days=3)
    await run(store, pages)
    log = tmp_path / "log.csv"
    log.write_text(HEAD + "2026-01-02,gpt-4o,care,1,1\n")
    assert "rows of openai_usage have usage of openai in the same time" in await run(store, log)


HOUR_S, DAY_S = 3600, 86_400
JANUARY_S = 1_767_225_600
"""2026-01-01."""
WIDTHS_S = {"d": DAY_S, "h": HOUR_S}


def at(when: str) -> int:
    """A time of January: `11` is its beginning, `11T17:31` an afternoon."""
    day, _, clock = when.partition("T")
    hours, _, minutes = (clock or "0:0").partition(":")
    return JANUARY_S + (int(day) - 1) * DAY_S + int(hours) * HOUR_S + int(minutes) * 60


def buckets(path: Path, since: str, until: str, width: str = "d", project: str = "care") -> Path:
    """What OpenAI's API gives: buckets that begin at multiples of their width, cut off at the query's bounds.

    Each has a token a second, so that what counts twice is seen.
    """
    step, start, end = WIDTHS_S[width], at(since), at(until)
    data = []
    for begin in range(start - start % step, end, step):
        first, last = max(begin, start), min(begin + step, end)
        result = {
            "object": "organization.usage.completions.result",
            "model": "gpt-4o",
            "project_id": project,
            "num_model_requests": 1,
            "input_tokens": last - first,
            "output_tokens": 0,
        }
        data.append({"start_time": first, "end_time": last, "results": [result]})
    path.write_text(json.dumps({"object": "page", "data": data}))
    return path


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        # Rolling exports: the first day, or the last, is a part of one that is there whole.
        (("11", "14"), ("11T17:31", "16"), "has a part only of what is there already whole: 1 rows of days"),
        (("11", "14"), ("9", "13T06:00"), "has a part only"),
        (("11T06:00", "14T06:00"), ("12T06:00", "15T06:00"), "has a part only"),
        (("11", "12", "h"), ("11T17:31", "11T20:00", "h"), "has a part only"),
        # Pieces that overlap, of which neither has all.
        (("11", "13T09:00"), ("13T06:00", "15"), "has a part only"),
    ],
)
async def test_a_part_of_what_is_there_is_refused_whatever_is_told(
    store: Stack, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...], told: str
) -> None:
    await run(store, buckets(tmp_path / "first.json", *first))
    before = await totals(store)
    later = buckets(tmp_path / "second.json", *second)
    for options in ([], ["--replace"]):
        said = await run(store, later, *options, code=1)
        assert told in said
        assert "export from midnight UTC" in said
        assert await totals(store) == before


@pytest.mark.parametrize(
    ("first", "second", "covered"),
    [
        # A last day that was cut off, then whole, or longer.
        (("11", "13T06:00"), ("11", "15"), ("11", "15")),
        (("11", "13T06:00"), ("13", "15"), ("11", "15")),
        (("11", "13T06:00"), ("12", "13T09:30"), ("11", "13T09:30")),
        (("11T17:31", "13T06:00"), ("11", "14"), ("11", "14")),
        (("11", "11T17:31", "h"), ("11T10:00", "12", "h"), ("11", "12")),
        # What only touches, and the same again.
        (("11", "13T06:00"), ("13T06:00", "15T06:00"), ("11", "15T06:00")),
        (("11T17:31", "13T06:00"), ("11T17:31", "13T06:00"), ("11T17:31", "13T06:00")),
    ],
)
async def test_a_later_export_of_the_same_days_replaces_what_was_cut_off(
    store: Stack,
    tmp_path: Path,
    first: tuple[str, ...],
    second: tuple[str, ...],
    covered: tuple[str, str],
) -> None:
    await run(store, buckets(tmp_path / "first.json", *first))
    for _ in range(2):
        await run(store, buckets(tmp_path / "second.json", *second))
        assert (await totals(store))[3] == at(covered[1]) - at(covered[0])


async def test_a_piece_of_another_project_is_not_replaced_untold(store: Stack, tmp_path: Path) -> None:
    await run(store, buckets(tmp_path / "care.json", "11", "13T06:00"))
    before = await totals(store)
    claims = buckets(tmp_path / "claims.json", "11", "15", project="claims")
    assert "in another division" in await run(store, claims, code=1)
    assert await totals(store) == before


@pytest.mark.parametrize(("first", "second"), [("d", "h"), ("h", "d")])
async def test_hours_and_days_replace_each_other_only_when_told(
    store: Stack, tmp_path: Path, first: str, second: str
) -> None:
    await run(store, buckets(tmp_path / "first.json", "11", "14", first))
    before = await totals(store)
    later = buckets(tmp_path / "second.json", "12", "13", second)
    assert "in another division" in await run(store, later, code=1)
    assert await totals(store) == before
    await run(store, later, "--replace")
    assert (await totals(store))[3] == 3 * DAY_S


async def test_a_file_that_is_imported_again_leaves_no_row_of_another_key(
    store: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + "2026-01-01,gpt-4o,care,5,5\n2026-01-02,gpt-4o,care,6,5\n")
    await run(store, path)
    before = await totals(store)

    def rekey() -> None:
        client = connect(server(store))
        try:
            # As by an older version, which told rows apart by something else.
            client.command(
                "INSERT INTO homeward.usage"
                " SELECT * REPLACE (generateUUIDv4() AS row_key) FROM homeward.usage"
            )
        finally:
            client.close()

    await asyncio.to_thread(rekey)
    assert (await totals(store))[0] == 4
    await run(store, path)
    assert await totals(store) == before


async def test_a_month_of_a_provider_that_is_used_seldom_is_of_all_days_of_its_export(
    store: Stack, tmp_path: Path
) -> None:
    path = buckets(tmp_path / "pages.json", "1", "31")
    page = json.loads(path.read_text())
    for bucket in page["data"][1:-1]:
        bucket["results"] = []
    path.write_text(json.dumps(page))
    await run(store, path)
    found = await asyncio.to_thread(spent, store)
    assert [(item.provider, item.first, item.days) for item in found.windows] == [
        ("openai", date(2026, 1, 1), 30)
    ]
    [workload] = found.workloads
    assert (workload.days, workload.active_days) == (30, 2)
    part = await asyncio.to_thread(spent, store, date(2026, 1, 20), date(2026, 2, 20))
    assert [(item.first, item.days) for item in part.windows] == [(date(2026, 1, 20), 11)]


def spent(stack: Stack, since: date | None = None, until: date | None = None) -> Any:
    client = connect(server(stack))
    try:
        return spend_of(ask_spend(client, since, until), [])
    finally:
        client.close()


UNITS = (
    "",
    "tokens",
    "Tokens",
    "1K tokens",
    "1k_tokens",
    "1Ktokens",
    "1000_tokens",
    "1,000 tokens",
    "thousand tokens",
    "1M tokens",
    "1 M Tokens",
    "1mtokens",
    "1000000 tokens",
    "1,000,000 tokens",
    "million tokens",
    "11M tokens",
    "10000 tokens",
    "requests",
    "GB",
)


async def test_units_are_read_alike_in_bills_and_in_sums(store: Stack) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {
            "source": "focus",
            "kind": "cost",
            "start_time": day,
            "end_time": day + timedelta(1),
            "row_key": f"{place:032x}",
            "provider": "acme",
            "line_item": f"item {place}",
            "token_class": "input",
            "billed_nanos": 1,
            "currency": "USD",
            "quantity": Decimal(3),
            "quantity_unit": unit,
        }
        for place, unit in enumerate(UNITS)
    ]

    def write_and_read() -> Any:
        client = connect(server(store))
        try:
            client.insert("homeward.usage", [list(row.values()) for row in rows], column_names=list(rows[0]))
            return spend_of(ask_spend(client), [])
        finally:
            client.close()

    found = await asyncio.to_thread(write_and_read)
    assert {item.name: item.tokens.input for item in found.workloads} == {
        f"item {place}": int(tokens(Decimal(3), unit, "input") or 0) for place, unit in enumerate(UNITS)
    }
