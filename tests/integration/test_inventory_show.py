"""From exports to the ranking: a year of generated pages, a bill and booked legs in the real ClickHouse."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.inventory.sums import ask_spend, spend_of
from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import connect, migrate
from tests.support.stack import SECRETS, Stack
from tools.openai_usage_pages import RATES, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS_PER_MONTH = Fraction(3044, 100)
CLASSES = ("input_uncached_tokens", "input_cached_tokens", "output_tokens")
LEGS_SINCE, LEGS_DAYS, LEGS_BEYOND = date(2025, 12, 17), 60, 45
"""The first 15 of these days are in the exports, which count there."""
LEGS_A_DAY, LEG_NANOS = 100, 50_000_000
ANTHROPIC_CENTS = "123456.7"
"""Of each of ten days."""


@dataclass(frozen=True)
class Year:
    """A stack with the exports of a year, and the files."""

    stack: Stack
    usage: tuple[Path, Path]
    costs: Path
    before: Result
    """What was said before there were tables."""


@pytest.fixture(scope="module")
async def year(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Year]:
    """ClickHouse with all of it. No service runs: nobody but ClickHouse is asked."""
    folder = tmp_path_factory.mktemp("inventory")
    completions, embeddings, costs = write(folder / "exports")
    anthropic = folder / "cost_report.json"
    anthropic.write_text(json.dumps(anthropic_pages()))
    async with Stack(folder) as stack:
        await stack.start("clickhouse")
        before = show(stack)
        with writing(stack) as client:
            migrate(client)
            client.insert("homeward.legs", list(legs()), column_names=LEG_COLUMNS)
        result = ask(stack, "import", *map(str, (completions, embeddings, costs, anthropic)), user="homeward")
        assert result.exit_code == 0, result.output
        yield Year(stack, (completions, embeddings), costs, before)


def ask(stack: Stack, *arguments: str, user: str = "analyst") -> Result:
    """What `homeward inventory` says."""
    password = SECRETS.analyst_password if user == "analyst" else SECRETS.clickhouse_password
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": user,
        "HOMEWARD_CLICKHOUSE__PASSWORD": password,
        "COLUMNS": "100",
    }
    return CliRunner().invoke(
        app, ["inventory", *arguments, "--settings", str(stack.settings_file)], env=environment
    )


def show(stack: Stack, *options: str) -> Result:
    """What an analyst is shown."""
    return ask(stack, "show", *options)


def document(stack: Stack, *options: str) -> dict[str, Any]:
    """The same as JSON."""
    result = show(stack, "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def writing(stack: Stack) -> Client:
    """A client of the services' user; a context."""
    return connect(
        ClickHouse(
            url=f"http://127.0.0.1:{stack.ports['clickhouse']}",
            user="homeward",
            password=SECRETS.clickhouse_password,
        )
    )


LEG_COLUMNS = [
    "leg_id",
    "request_id",
    "start_time",
    "workload",
    "task_type",
    "key_name",
    "purpose",
    "target",
    "provider",
    "model",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nanos",
    "price_source",
    "outcome",
]


def legs() -> Iterator[list[Any]]:
    """Legs of a registered workload, of an experiment with it, and at home."""
    for day in range(LEGS_DAYS):
        for number in range(LEGS_A_DAY):
            began = datetime(2025, 12, 17, 12, tzinfo=UTC) + timedelta(days=day, seconds=number)
            for purpose, target in (
                ("production", "cloud"),
                ("shadow", "cloud"),
                ("production", "sovereign"),
            ):
                ids = [uuid.uuid5(uuid.NAMESPACE_OID, f"{began} {purpose} {target} {part}") for part in "ab"]
                yield [
                    *ids, began, "ticket-triage", "extraction", "demo", purpose, target, "openai", "gpt-4o",
                    10_000, 0, 0, 2_500, 0, LEG_NANOS, "genai-prices", "ok",
                ]  # fmt: skip


def anthropic_pages() -> dict[str, Any]:
    """A cost report of ten days, without any usage."""
    first = datetime(2025, 3, 1, tzinfo=UTC)
    buckets = [
        {
            "starting_at": (first + timedelta(days=day)).isoformat().replace("+00:00", "Z"),
            "ending_at": (first + timedelta(days=day + 1)).isoformat().replace("+00:00", "Z"),
            "results": [
                {
                    "amount": ANTHROPIC_CENTS,
                    "currency": "USD",
                    "cost_type": "tokens",
                    "description": "Claude Sonnet 4 Usage - Output Tokens",
                    "model": "claude-sonnet-4-20250514",
                    "token_type": "output_tokens",
                    "workspace_id": "wrkspc_1",
                    "service_tier": "standard",
                    "context_window": "0-200k",
                }
            ],
        }
        for day in range(10)
    ]
    return {"data": buckets, "has_more": False, "next_page": None}


def results(year: Year) -> Iterator[dict[str, Any]]:
    """The results of the usage pages."""
    texts = [line for file in year.usage for line in _documents(file)]
    for text in texts:
        for bucket in json.loads(text)["data"]:
            yield from bucket["results"]


def _documents(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    return text.strip().split("\n") if file.suffix == ".jsonl" else [text]


def cost(result: dict[str, Any]) -> int | None:
    """List price in nano-dollars, without the project's code; None for a batch of the small model, which no
    price list has."""
    if result.get("batch"):
        return None
    counts = (
        [result["input_tokens"], 0, 0]
        if "output_tokens" not in result
        else [result[name] for name in CLASSES]
    )
    rates = [Fraction(rate) * 1000 for rate in RATES[result["model"]]]
    return round(sum((count * rate for count, rate in zip(counts, rates, strict=True)), Fraction(0)))


def tokens(result: dict[str, Any]) -> int:
    """All tokens of a result."""
    return int(result["input_tokens"]) + int(result.get("output_tokens", 0))


async def test_totals_are_those_of_the_files_to_the_nano_dollar(year: Year) -> None:
    """Imported usage, the bill that nothing else covers, and the legs of days beyond."""
    found = document(year.stack)
    usage = list(results(year))
    anthropic = round(10 * Fraction(ANTHROPIC_CENTS) * 10_000_000)
    beyond = LEGS_BEYOND * LEGS_A_DAY
    assert found["cost_nanos"] == sum(cost(item) or 0 for item in usage) + anthropic + beyond * LEG_NANOS
    assert found["tokens"] == sum(map(tokens, usage)) + beyond * 12_500
    assert found["unpriced_tokens"] == sum(tokens(item) for item in usage if cost(item) is None)
    assert found["left_out_leg_days"] == {"openai": LEGS_DAYS - LEGS_BEYOND}
    assert found["left_out_cost_days"] == {"openai": 365}


async def test_each_workload_has_its_month_and_its_place(year: Year) -> None:
    """By the days of its provider; the unknown last."""
    found = document(year.stack)
    days = {window["provider"]: window["days"] for window in found["windows"]}
    assert days == {"anthropic": 10, "openai": 365 + LEGS_BEYOND}
    mine = [item for item in results(year) if item["project_id"] == "proj_contract_summaries"]
    (line,) = (item for item in found["workloads"] if item["name"].startswith("proj_contract_summaries"))
    whole = sum(cost(item) or 0 for item in mine)
    assert (line["kind"], line["cost_nanos"]) == ("project", whole)
    assert line["month_nanos"] == round(whole * DAYS_PER_MONTH / days["openai"])
    assert line["requests"] == sum(item["num_model_requests"] for item in mine)
    months = [item["month_nanos"] for item in found["workloads"] if item["month_nanos"] is not None]
    assert months == sorted(months, reverse=True)
    assert [item["name"] for item in found["workloads"] if item["month_nanos"] is None] == [
        "proj_night_reports · gpt-4o-mini-2024-07-18"
    ]
    assert [item["place"] for item in found["workloads"]] == list(range(1, len(found["workloads"]) + 1))


async def test_the_few_hold_seventy_percent_and_no_fewer_do(year: Year) -> None:
    """Of a month of all."""
    found = document(year.stack)
    months = [item["month_nanos"] or 0 for item in found["workloads"] if item["of_the_few"]]
    assert len(months) == found["few"]
    assert sum(months) >= 0.7 * found["month_nanos"] > sum(months[:-1])


async def test_a_registered_workload_is_told_by_its_name_and_is_a_candidate(year: Year) -> None:
    """Its kind of work is the registered one; experiments and legs at home do not count."""
    found = document(year.stack, "--min-usd", "10")
    (line,) = (item for item in found["workloads"] if item["kind"] == "registered")
    assert (line["name"], line["task_type"], line["sources"]) == ("ticket-triage", "classification", ["legs"])
    assert line["requests"] == LEGS_BEYOND * LEGS_A_DAY
    assert (line["quality_sensitivity"], line["candidate"], line["reasons"]) == ("low", "yes", [])
    assert found["next_step"].startswith("ticket-triage is registered")


async def test_list_price_and_bill_are_put_side_by_side(year: Year) -> None:
    """Where both are imported."""
    (bill,) = document(year.stack)["bills"]
    billed = sum(
        round(Fraction(str(result["amount"]["value"])) * 10**9)
        for page in json.loads(year.costs.read_text(), parse_float=str)
        for bucket in page["data"]
        for result in bucket["results"]
    )
    assert (bill["provider"], bill["days"], bill["billed_nanos"]) == ("openai", 365, billed)
    assert bill["list_nanos"] == sum(cost(item) or 0 for item in results(year))


async def test_a_file_that_is_imported_again_changes_nothing(year: Year) -> None:
    """Not a figure."""
    before = document(year.stack)
    assert ask(year.stack, "import", *map(str, year.usage), user="homeward").exit_code == 0
    assert document(year.stack) == before


async def test_a_window_can_be_given(year: Year) -> None:
    """Both days are in it."""
    found = document(year.stack, "--since", "2025-03-01", "--until", "2025-03-31")
    assert [(item["provider"], item["first"], item["days"]) for item in found["windows"]] == [
        ("anthropic", "2025-03-01", 10),
        ("openai", "2025-03-01", 31),
    ]
    assert found["left_out_leg_days"] == {}


async def test_groups_beyond_the_limit_are_summed(year: Year) -> None:
    """With the same totals."""
    with writing(year.stack) as client:
        whole, cut = spend_of(ask_spend(client), []), spend_of(ask_spend(client, max_groups=3), [])
    # Three of OpenAI's usage, one of Anthropic's bills, and the one group of legs.
    assert (len(cut.workloads), cut.rest.groups) == (5, len(whole.workloads) - 5)
    assert (cut.cost_nanos, cut.tokens, cut.unpriced_tokens) == (
        whole.cost_nanos,
        whole.tokens,
        whole.unpriced_tokens,
    )
    assert abs(cut.month_nanos - whole.month_nanos) <= len(whole.workloads)


async def test_what_a_pool_was_measured_to_cost_is_the_basis(year: Year) -> None:
    """Without idle hours at best, with them at worst: 1 and 4 dollars for a million tokens."""
    row = {
        "pool": "rack",
        "period_start": datetime(2026, 1, 1, tzinfo=UTC),
        "period_s": 3600,
        "cost_nanos": 40 * 10**9,
        "leg_cost_nanos": 10 * 10**9,
        "idle_nanos": 30 * 10**9,
        "input_tokens": 6_000_000,
        "output_tokens": 1_000_000,
        "input_nanos_per_mtok": 10**9,
        "output_nanos_per_mtok": 4 * 10**9,
    }
    with writing(year.stack) as client:
        client.insert("homeward.pool_periods", [list(row.values())], column_names=list(row))
        try:
            found = document(year.stack)
        finally:
            client.command("TRUNCATE TABLE homeward.pool_periods")
    assert found["basis"]["name"] == "measured"
    (line,) = (item for item in found["workloads"] if item["name"].startswith("proj_contract_summaries"))
    month = line["month_tokens"]
    worth = month["input"] + month["cached_input"] + month["cache_write"] + 4 * month["output"]
    assert (line["saving"]["home_low_nanos"], line["saving"]["home_high_nanos"]) == (
        worth * 1000,
        worth * 4000,
    )
    assert line["saving"]["low_nanos"] == line["month_nanos"] - worth * 4000
    (bill,) = (
        item
        for item in found["workloads"]
        if item["sources"] == ["cost"] and "anthropic" in item["providers"]
    )
    assert bill["month_nanos"] == round(10 * Fraction(ANTHROPIC_CENTS) * 10**7 * DAYS_PER_MONTH / 10)
    assert bill["saving"]["basis"] == "published"


async def test_the_table_and_the_picture_are_for_people(year: Year, tmp_path: Path) -> None:
    """The headline first, the next step last, the file written."""
    picture = tmp_path / "spend.svg"
    result = show(year.stack, "--picture", str(picture), "--limit", "3")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "a month in the cloud; ●" in lines[0]
    assert any(line.startswith("… and ") and line.endswith("shows them.") for line in lines)
    # Paths and commands are not broken: they are copied.
    whole = [line for line in lines[:-1] if not line.startswith("The picture is in ")]
    assert len(whole) == len(lines) - 2
    assert max(map(len, whole)) <= 100
    assert lines[-1].startswith("Next: register the first of them: `homeward workload add ")
    assert "proj_night_reports" in picture.read_text(encoding="utf-8")


async def test_a_wrong_picture_or_window_is_told_at_once(year: Year, tmp_path: Path) -> None:
    """As wrong usage; a file that can't be written, as a failure."""
    assert show(year.stack, "--picture", "spend.pdf").exit_code == 2
    assert show(year.stack, "--since", "2026-01-02", "--until", "2026-01-01").exit_code == 2
    result = show(year.stack, "--picture", str(tmp_path / "none" / "spend.png"))
    assert (result.exit_code, "can't be written" in result.stderr) == (1, True)


async def test_without_tables_it_says_what_makes_them(year: Year) -> None:
    """In a line, and what to do in the next."""
    assert year.before.exit_code == 1
    assert "a ledger that starts makes them" in year.before.stderr
    assert year.before.stderr.count("\n") == 2
