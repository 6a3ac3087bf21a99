"""What `docs/analysts.md` says: its queries, run as an analyst, against the same figures in plain Python."""

from __future__ import annotations

import asyncio
import os
import re
import textwrap
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from random import Random

import pytest
from clickhouse_connect.driver.httputil import default_pool_manager
from grpc import aio
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from tests.support import analyst_rows, analyst_shadow
from tests.support.analyst_answers import ANSWERS, PARAMETERS, Rows, cost, groups, ok, rank, slowest, unknown
from tests.support.analyst_rows import Book
from tests.support.stack import ROOT, WAIT_S, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = ROOT / "docs" / "analysts.md"
LEGS = 2400


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger and its ClickHouse."""
    async with Stack(tmp_path_factory.mktemp("analysts")) as running:
        await running.start("clickhouse", "ledger")
        await running.has_tables()
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


@pytest.fixture(scope="module")
async def book(ledger: Stack) -> Book:
    """Two months of legs, booked."""
    made = analyst_rows.make(Random(5), analyst_rows.present(), LEGS)
    cloud = [row for row in made.rows if row.target == "cloud"]
    async with aio.insecure_channel(f"127.0.0.1:{ledger.ports['ledger']}") as channel:
        request = ledger_pb2.RecordRequest(legs=[analyst_rows.as_leg(row) for row in cloud])
        answer = await ledger_pb2_grpc.LedgerServiceStub(channel).Record(request, timeout=WAIT_S)
    assert answer.booked_count == len(cloud)
    home = [row for row in made.rows if row.target == "sovereign"]

    def write() -> None:
        with analyst_rows.writer(ledger) as client:
            analyst_rows.write_home(client, home)
            analyst_rows.write_corrections(client, made.rows)
            analyst_rows.write_periods(client, made)
            analyst_rows.write_spans(client, slowest(made))
        analyst_shadow.write(ledger, made.shadow)

    await asyncio.to_thread(write)
    await ledger.legs(LEGS, "leg_id")
    return made


def questions() -> dict[str, str]:
    """The queries on the page by the question that stands over each."""
    text = PAGE.read_text()
    return dict(re.findall(r"^### (.+?)\n.*?^```sql\n(.+?)^```$", text, flags=re.MULTILINE | re.DOTALL))


async def ask(stack: Stack, sql: str, now: datetime) -> Rows:
    """The rows of a query that takes `now` for the present."""

    def run() -> Rows:
        with stack.clickhouse() as client:
            fixed = sql.replace("now('UTC')", f"toDateTime('{now:%Y-%m-%d %H:%M:%S}', 'UTC')")
            return [
                tuple(row) for row in client.query(fixed, parameters=PARAMETERS, tz_mode="aware").result_rows
            ]

    return await asyncio.to_thread(run)


async def test_every_query_on_the_page_is_checked_here() -> None:
    assert questions().keys() == ANSWERS.keys()
    assert PAGE.read_text().count("```sql") == len(ANSWERS)


@pytest.mark.parametrize("question", ANSWERS)
async def test_a_query_of_the_page_gives_what_plain_python_gives(
    ledger: Stack, book: Book, question: str
) -> None:
    expected = ANSWERS[question](book)
    assert await ask(ledger, questions()[question], book.now) == expected
    # Otherwise an empty answer would prove nothing.
    assert expected or question == "Do the sums agree with the legs?"


async def test_sums_that_lack_a_leg_are_found(ledger: Stack, book: Book) -> None:
    """What the last question is for."""
    question = questions()["Do the sums agree with the legs?"]
    # One leg fewer is one unknown of less cost.
    doctored = question.replace(
        "FROM homeward.leg_costs AS costs",
        "FROM (SELECT * FROM homeward.leg_costs LIMIT 1 BY workload) AS costs",
    )
    assert doctored != question
    assert await ask(ledger, doctored, book.now)


async def test_days_of_spend_and_latency_are_those_of_the_legs(ledger: Stack, book: Book) -> None:
    dims = "day, workload, key_name, purpose, target, provider, pool, upstream, model"
    counts = "legs, ok_legs, unknown_legs, input_tokens, reasoning_tokens"
    measures = f"{counts}, cost_nanos, corrections, corrected_nanos"
    found = await ask(ledger, f"SELECT {dims}, {measures} FROM homeward.spend_daily ORDER BY ALL", book.now)
    expected = []
    for key, rows in groups(
        book.rows,
        lambda row: (
            *(row.start.date(), row.workload, row.key_name, row.purpose, row.target),
            *(("homeward-home", "rack", "home") if row.pool else ("homeward-stand-in", "", "cloud")),
            row.model,
        ),
    ).items():
        changes = [nanos for row in rows for nanos, _ in row.changes]
        tokens = [row.tokens or (0, 0, 0, 0, 0) for row in rows]
        counts = (
            len(rows),
            len(ok(rows)),
            unknown(rows),
            sum(t[0] for t in tokens),
            sum(t[4] for t in tokens),
        )
        expected.append((*key, *counts, cost(rows), len(changes), sum(changes)))
    assert found == expected
    latencies = await ask(ledger, "SELECT * FROM homeward.latency_percentiles ORDER BY ALL", book.now)
    percentiles = []
    for key, rows in groups(
        ok(book.rows), lambda row: (row.start.date(), row.workload, row.purpose, row.target)
    ).items():
        figures = [
            rank(values, quantile)
            for values in ([row.latency_us for row in rows], [row.ttft_us for row in rows])
            for quantile in (0.5, 0.95, 0.99)
        ]
        percentiles.append((*key, len(rows), *figures))
    assert latencies == percentiles


async def test_the_parts_of_a_cost_add_up_to_it(ledger: Stack, book: Book) -> None:
    parts = " + ".join(f"sum({name}_cost_nanos)" for name in analyst_rows.PARTS)
    (row,) = await ask(ledger, f"SELECT sum(cost_nanos), {parts} FROM homeward.spend_by_hour", book.now)
    assert row == (cost(book.rows), cost(book.rows))


async def test_the_page_names_every_table_and_column(ledger: Stack, book: Book) -> None:
    tables = await ask(
        ledger,
        "SELECT name, comment FROM system.tables WHERE database = 'homeward' AND engine != 'MaterializedView'"
        " AND name != 'schema_migrations' ORDER BY name",
        book.now,
    )
    columns = await ask(
        ledger,
        "SELECT table, name FROM system.columns WHERE database = 'homeward' ORDER BY table, position",
        book.now,
    )
    said = "".join(
        _told(name, comment, [column for table, column in columns if table == name])
        for name, comment in tables
    )
    head, mark, section = PAGE.read_text().partition("each column.\n")
    if os.environ.get("HOMEWARD_WRITE_DOCS"):
        PAGE.write_text(f"{head}{mark}\n{said.rstrip()}\n")
        return
    assert section.strip() == said.strip(), "HOMEWARD_WRITE_DOCS=1 with this test writes the section anew"


def _told(table: str, comment: str, columns: Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in columns)
    words = f"**`homeward.{table}`** {comment + '. ' if comment else ''}Columns: {listed}."
    return textwrap.fill(words, 128, break_long_words=False, break_on_hyphens=False) + "\n\n"
