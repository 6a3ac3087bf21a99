"""`homeward ledger budgets`: what it shows, and what it says to do next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from typer.testing import CliRunner

from playbook.commands.budgets import budgets, dollars

app = typer.Typer()
app.command()(budgets)

SETTINGS = """
[ledger]
grpc = "{address}"

[budgets.crm-monthly]
limit_usd = 1000
key = "crm"

[budgets.triage-daily]
limit_usd = 50
period = "day"
workload = "ticket-triage"
purpose = "shadow"
at_cap = "alert"
"""


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """Says what the test wants."""

    def __init__(self) -> None:
        self.budgets: list[ledger_pb2.Budget] = []

    def ListBudgets(self, request: Any, context: Any) -> ledger_pb2.ListBudgetsResponse:
        return ledger_pb2.ListBudgetsResponse(budgets=self.budgets)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger, and settings that say where it is."""
    server = grpc.server(ThreadPoolExecutor(1))
    made = Ledger()
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(made, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    (tmp_path / "homeward.toml").write_text(SETTINGS.format(address=f"127.0.0.1:{port}"))
    yield made
    server.stop(None)


def crm(spent: int = 0, reserved: int = 0, unknown: int = 0, at_cap: str = "refuse") -> ledger_pb2.Budget:
    return budget("crm-monthly", 1000, spent, reserved, unknown, at_cap)


def budget(
    name: str, limit: int, spent: int, reserved: int = 0, unknown: int = 0, at_cap: str = "refuse"
) -> ledger_pb2.Budget:
    """Amounts in dollars."""
    made = ledger_pb2.Budget(
        name=name,
        limit_nanos=limit * 10**9,
        spent_nanos=spent * 10**9,
        reserved_nanos=reserved * 10**9,
        unknown_count=unknown,
        at_cap=at_cap,
    )
    made.period_start.FromJsonString("2026-11-01T00:00:00Z")
    return made


TRIAGE = budget("triage-daily", 50, 10, at_cap="alert")


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(
        app, [*arguments, "--settings", str(folder / "homeward.toml")], env={"COLUMNS": "100"}
    )
    return done.exit_code, " ".join(done.stdout.split()), " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("standing", "said", "next_step"),
    [
        pytest.param(crm(800), [], "all is within its limits", id="80 % is not more than 80 %"),
        pytest.param(
            crm(700, 101), ["80 % of crm-monthly is spent"], "raise [budgets.crm-monthly]", id="nearly"
        ),
        pytest.param(
            crm(900, 100), ["crm-monthly is used up; cloud calls are refused"], "raise", id="used up"
        ),
        pytest.param(
            crm(1200, at_cap="alert"), ["crm-monthly is passed, and calls go on"], "raise", id="passed"
        ),
        pytest.param(
            crm(1000, at_cap="sovereign"), ["sent to the sovereign target"], "raise", id="only home"
        ),
        pytest.param(crm(1, unknown=3), ["3 legs of unknown cost"], "homeward ledger unknown", id="unknown"),
    ],
)
def test_it_warns_and_says_what_to_do(
    tmp_path: Path, ledger: Ledger, standing: ledger_pb2.Budget, said: list[str], next_step: str
) -> None:
    ledger.budgets = [standing, TRIAGE]
    code, out, _ = run(tmp_path)
    assert code == 0
    for words in said:
        assert words in out
    assert ("warning" in out) is bool(said)
    assert f"Next: {next_step}" in out or f"Next: `{next_step}" in out


def test_the_table_has_what_is_left(tmp_path: Path, ledger: Ledger) -> None:
    ledger.budgets = [crm(700, 50), TRIAGE]
    _, out, _ = run(tmp_path)
    assert "crm-monthly key crm month 1,000.00 700.00 50.00 250.00 refuse" in out
    assert "10.00 0.00 40.00 alert" in out


def test_json_has_every_nano_dollar(tmp_path: Path, ledger: Ledger) -> None:
    ledger.budgets = [crm(700, 50, 2), TRIAGE]
    code, out, _ = run(tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["budgets"][0] == {
        "name": "crm-monthly",
        "covers": "key crm",
        "period": "month",
        "period_start": "2026-11-01T00:00:00+00:00",
        "limit_nanos": 1000 * 10**9,
        "spent_nanos": 700 * 10**9,
        "reserved_nanos": 50 * 10**9,
        "left_nanos": 250 * 10**9,
        "unknown_count": 2,
        "at_cap": "refuse",
        "level": "ok",
    }


def test_a_ledger_with_other_settings_is_told(tmp_path: Path, ledger: Ledger) -> None:
    ledger.budgets = [crm(1)]
    _, out, _ = run(tmp_path)
    assert "the ledger runs with other settings" in out
    assert "triage-daily" in out
    assert "Next: restart ledger and routers" in out


def test_without_budgets_it_says_how_to_make_one(tmp_path: Path, ledger: Ledger) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(file.read_text().split("[budgets")[0])
    code, out, _ = run(tmp_path)
    assert code == 0
    assert "There are no budgets." in out
    assert "Next: add a section [budgets.NAME]" in out


def test_without_a_ledger_it_says_what_to_do_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "homeward.toml").write_text(SETTINGS.format(address="127.0.0.1:9"))
    code, out, error = run(tmp_path)
    assert (code, out) == (1, "")
    assert error.startswith("no ledger answers at 127.0.0.1:9 Next: start everything with `make run`")


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (1_234_560_000_000, "1,234.56"),
        (10**7, "0.01"),
        (2_000_000, "0.002"),
        (1_234_567, "0.001235"),
        (100, "1.00e-07"),
        (-5 * 10**9, "-5.00"),
        (-1_234_567, "-0.001235"),
    ],
)
def test_small_amounts_keep_their_digits(nanos: int, text: str) -> None:
    assert dollars(nanos) == text
