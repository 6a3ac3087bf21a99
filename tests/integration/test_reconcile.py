"""A bill beside the book: what the ledger booked, and an invoice whose differences are known exactly."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from google.protobuf import timestamp_pb2
from grpc import aio
from homeward.common.v1 import leg_pb2, usage_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from typer.testing import CliRunner, Result

from playbook.commands.reconcile import reconcile
from tests.support.stack import SECRETS, WAIT_S, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICES = """
[[prices]]
provider = "openai"
model = "gpt-4o*"
input_usd_per_mtok = 2.50
cached_input_usd_per_mtok = 1.25
output_usd_per_mtok = 10

[[prices]]
provider = "openai"
model = "small"
input_usd_per_mtok = 0.15
output_usd_per_mtok = 0.60
"""
FIRST, SECOND = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)
DAY_S = 86_400

app = typer.Typer()
app.command()(reconcile)


@dataclass(frozen=True)
class Legs:
    """Legs that are alike."""

    count: int
    on: datetime
    model: str
    input: int
    output: int
    cached: int = 0
    purpose: int = leg_pb2.PURPOSE_PRODUCTION

    def messages(self) -> list[leg_pb2.Leg]:
        """As a router sends them."""
        return [
            leg_pb2.Leg(
                leg_id=os.urandom(16),
                request_id=os.urandom(16),
                trace_id=os.urandom(16),
                span_id=os.urandom(8),
                start_time=_timestamp(self.on),
                workload="ticket-triage",
                key_name="demo",
                purpose=leg_pb2.Purpose.ValueType(self.purpose),
                target=leg_pb2.TARGET_CLOUD,
                upstream="cloud",
                provider="openai",
                model_requested=self.model,
                model=self.model,
                api="chat.completions",
                usage=usage_pb2.Usage(
                    source=usage_pb2.USAGE_SOURCE_UPSTREAM,
                    input_tokens=self.input,
                    cached_input_tokens=self.cached,
                    cache_write_tokens=0,
                    output_tokens=self.output,
                    reasoning_tokens=0,
                ),
                outcome=leg_pb2.OUTCOME_OK,
                http_status=200,
                attempts=1,
            )
            for _ in range(self.count)
        ]


def _timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    made = timestamp_pb2.Timestamp()
    made.FromDatetime(moment)
    return made


BOOK = (
    Legs(10, FIRST, "gpt-4o", input=1000, output=200),
    Legs(4, FIRST, "small", input=5000, output=100),
    Legs(10, SECOND, "gpt-4o", input=1000, output=0),
    Legs(2, SECOND, "mystery", input=1000, output=100),
    Legs(3, SECOND, "gpt-4o", input=100, output=10, purpose=leg_pb2.PURPOSE_SHADOW),
)


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger that has booked the legs above."""
    async with Stack(tmp_path_factory.mktemp("reconcile"), PRICES) as running:
        await running.start("clickhouse", "ledger")
        legs = [leg for some in BOOK for leg in some.messages()]
        async with aio.insecure_channel(f"127.0.0.1:{running.ports['ledger']}") as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            done = await stub.Record(ledger_pb2.RecordRequest(legs=legs), timeout=WAIT_S)
        assert done.booked_count == len(legs)

        async def shipped() -> bool:
            rows = await running.query("SELECT count() FROM homeward.legs")
            return bool(rows[0][0] == len(legs))

        await until(shipped, "the legs are in ClickHouse")
        yield running


def ask(stack: Stack, invoice: Path, *options: str) -> Result:
    """What the command says, asked by an analyst."""
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
        "COLUMNS": "100",
    }
    return CliRunner().invoke(
        app, [str(invoice), "--settings", str(stack.settings_file), *options], env=environment
    )


def pages(file: Path, lines: Sequence[tuple[datetime, str, float, int | None]]) -> Path:
    """OpenAI's costs pages: day, line item, dollars, tokens."""
    buckets = [
        {
            "object": "bucket",
            "start_time": int(on.timestamp()),
            "end_time": int(on.timestamp()) + DAY_S,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": dollars, "currency": "usd"},
                    "line_item": line_item,
                    "project_id": None,
                    "api_key_id": None,
                    "quantity": quantity,
                    "quantity_unit": None,
                }
                for day, line_item, dollars, quantity in lines
                if day == on
            ],
        }
        for on in (FIRST, SECOND)
    ]
    file.write_text(json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None}))
    return file


INVOICE = (
    # A request of 1,000 and 200 tokens that nobody booked.
    (FIRST, "gpt-4o-2024-08-06, input", 0.0275, 11_000),
    (FIRST, "gpt-4o-2024-08-06, output", 0.022, 2_200),
    # Input at $0.20 instead of $0.15.
    (FIRST, "small, input", 0.004, 20_000),
    (FIRST, "small, output", 0.00024, 400),
    # 4,000 of the 10,300 input tokens as cached.
    (SECOND, "gpt-4o-2024-08-06, input", 0.01575, 6_300),
    (SECOND, "gpt-4o-2024-08-06, cached input", 0.005, 4_000),
    (SECOND, "gpt-4o-2024-08-06, output", 0.0003, 30),
    # The book has these without a price.
    (SECOND, "mystery, input", 0.002, 2_000),
    (SECOND, "mystery, output", 0.0008, 200),
    (SECOND, "web search tool calls", 0.05, 5),
)


async def test_each_difference_is_named_with_its_exact_amount(ledger: Stack, tmp_path: Path) -> None:
    """Unbooked traffic, a price, a class, an unknown price, an experiment and a tool: all told apart."""
    result = ask(ledger, pages(tmp_path / "costs.json", INVOICE), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    named = {
        (line["first"], line["model"]): {name: amount for name, amount in line["parts"].items() if amount}
        for line in found["lines"]
    }
    assert named == {
        ("2026-11-02", "gpt-4o"): {"unbooked": 1000 * 2500 + 200 * 10_000},
        ("2026-11-02", "small"): {"price": 20_000 * 50},
        ("2026-11-03", "gpt-4o"): {
            "token_class": -4000 * 1250,
            "other_purposes": 3 * (100 * 2500 + 10 * 10_000),
        },
        ("2026-11-03", "mystery"): {"unknown_price": 2000 * 1000 + 200 * 4000},
        ("2026-11-03", "web search tool calls"): {"other_charges": 50_000_000},
    }
    assert [line["residual_nanos"] for line in found["lines"]] == [0] * 5
    assert found["residual_size_nanos"] == 0
    assert found["book_nanos"] == await production_nanos(ledger)
    assert found["bill_nanos"] == 127_590_000
    assert found["difference_nanos"] == sum(found["parts"].values())
    assert found["next_step"].startswith(
        "ask openai for the usage of gpt-4o on 2026-11-03: input 6.3k billed"
    )


async def production_nanos(stack: Stack) -> int:
    """The book's own sum."""
    rows = await stack.query("SELECT sum(cost_nanos) FROM homeward.leg_costs WHERE purpose = 'production'")
    return int(rows[0][0])


async def test_the_table_goes_from_the_book_to_the_bill(ledger: Stack, tmp_path: Path) -> None:
    """The sum at the end has every part, and the worst line comes first."""
    result = ask(ledger, pages(tmp_path / "costs.json", INVOICE))
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert lines[1].startswith("2026-11-03  web search tool calls")
    end = lines.index("book                         $0.07324")
    assert lines[end : end + 9] == [
        "book                         $0.07324",
        "  unbooked traffic            $0.0045",
        "  price                        $0.001",
        "  token class                 -$0.005",
        "  unknown price in the book   $0.0028",
        "  experiments                $0.00105",
        "  other charges                 $0.05",
        "  residual                      $0.00",
        "bill                         $0.12759",
    ]
    assert lines[-1].startswith("Next: ask openai for the usage of gpt-4o on 2026-11-03")


@pytest.mark.parametrize(
    ("by", "first"),
    [("day", "2026-11-03"), ("model", "web search tool calls"), ("day-model", "2026-11-03")],
)
async def test_lines_are_of_days_of_models_or_of_both(
    ledger: Stack, tmp_path: Path, by: str, first: str
) -> None:
    """--by says what is added up."""
    result = ask(ledger, pages(tmp_path / "costs.json", INVOICE), "--by", by)
    assert result.output.splitlines()[1].startswith(first)


async def test_without_quantities_it_says_what_can_not_be_told_apart(ledger: Stack, tmp_path: Path) -> None:
    """The difference stays in the residual, which is above the tolerance."""
    silent = [(on, item, dollars, None) for on, item, dollars, _ in INVOICE]
    result = ask(ledger, pages(tmp_path / "costs.json", silent), "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert not found["within_tolerance"]
    assert found["difference_nanos"] == sum(found["parts"].values()) + found["residual_nanos"]
    assert "can't be told apart" in found["notes"][0]
    assert ask(ledger, tmp_path / "costs.json", "--tolerance", "20").exit_code == 0


async def test_what_was_booked_on_a_day_without_a_bill_is_told(ledger: Stack, tmp_path: Path) -> None:
    """A model that the bill does not have was booked and never billed."""
    some = [line for line in INVOICE if not line[1].startswith("small")]
    found = json.loads(ask(ledger, pages(tmp_path / "costs.json", some), "--json").output)
    (line,) = (line for line in found["lines"] if line["model"] == "small")
    assert line["parts"]["unbooked"] == -(20_000 * 150 + 400 * 600)
    assert line["residual_nanos"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"object": "page", "data": [], "has_more": false}', ""),
        ("not an export", ""),
    ],
)
async def test_what_is_no_bill_is_told_and_not_called_equal(
    ledger: Stack, tmp_path: Path, text: str, message: str
) -> None:
    """Not a difference of zero."""
    file = tmp_path / "costs.json"
    file.write_text(text)
    result = ask(ledger, file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert str(file) in result.stderr


@pytest.mark.parametrize("by_what", ["focus", "pages"])
async def test_a_bill_that_is_cut_off_is_told_and_not_compared(
    ledger: Stack, tmp_path: Path, by_what: str
) -> None:
    """Of half a bill the difference would be explained: as what was booked and not billed."""
    if by_what == "focus":
        head = "BilledCost,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ProviderName,ServiceCategory"
        rows = [
            f"0.00{number:04},USD,2026-11-02,2026-11-03,OpenAI,AI and Machine Learning,model {number % 7}"
            for number in range(600)
        ]
        whole = "\n".join((f"{head},ServiceName", *rows, "")).encode()
    else:
        whole = pages(tmp_path / "whole.json", INVOICE * 40).read_bytes()
    packed = gzip.compress(whole)
    file = tmp_path / "costs.gz"
    file.write_bytes(packed)
    assert "not whole" not in ask(ledger, file, "--provider", "openai", "--tolerance", "100").output
    file.write_bytes(packed[: len(packed) // 2])
    result = ask(ledger, file, "--provider", "openai", "--tolerance", "100")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{file} is not whole" in result.stderr
