"""The commands of shadow and status on a real book: forecasts, funnel, export, and what was saved.

Shadow itself is a small gRPC server that tells fixed migrations.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import default_pool_manager
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.finance.gather import Config, read_book, read_until
from playbook.replay import read_triplets
from services.common.settings import load
from services.common.stages import HOME, SHADOWED
from services.shadow.core.verdict import Rules, windows
from tests.support.analyst_rows import writer
from tests.support.migrations import Shadow, migration, serving
from tests.support.stack import SECRETS, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime.now(UTC)
EXPERIMENT = uuid.UUID(bytes=bytes(range(16)))
CENT = 10**7
"""In nano-dollars."""
REQUESTS = 700
"""Of `triage` in the cloud, in the last week."""
TRIPLETS = 60


@pytest.fixture(scope="module")
async def book(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse with the ledger's tables and what follows."""
    async with Stack(tmp_path_factory.mktemp("shadow-commands")) as running:
        await running.start("clickhouse", "ledger")
        await running.has_tables()

        def fill() -> None:
            with writer(running) as client:
                _fill(client)

        await asyncio.to_thread(fill)
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


@pytest.fixture
def shadow(book: Stack, tmp_path: Path) -> Iterator[Shadow]:
    """Shadow, and settings that name it and the book."""
    made = Shadow()
    made.migrations = [
        migration("triage", HOME, [1.0, 4.0], "READY"),
        migration("minutes", SHADOWED, [0.5, 1.5]),
    ]
    with serving(made) as address:
        (tmp_path / "homeward.toml").write_text(
            f'[shadow]\ngrpc = "{address}"\n[ledger]\ngrpc = "127.0.0.1:{book.ports["ledger"]}"\n'
            f'[router]\ngrpc = "127.0.0.1:9"\n[classifier]\ngrpc = "127.0.0.1:9"\n'
            f'[clickhouse]\nurl = "http://127.0.0.1:{book.ports["clickhouse"]}"\n'
            '[workloads.triage]\nowner = "care"\ntask_type = "classification"\n'
        )
        yield made


async def run(folder: Path, *arguments: str, width: int = 100) -> Result:
    """A command, as an analyst."""
    environment = {
        "COLUMNS": str(width),
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
    }
    command = [*arguments, "--settings", str(folder / "homeward.toml")]
    return await asyncio.to_thread(CliRunner(env=environment).invoke, app, command)


def _leg(at: datetime, workload: str, target: str, nanos: int | None, **more: Any) -> dict[str, Any]:
    home = target == "sovereign"
    return {
        "leg_id": uuid.uuid4(),
        "request_id": uuid.uuid4(),
        "start_time": at,
        "workload": workload,
        "evidence": "declared",
        "purpose": "production",
        "target": target,
        "provider": "homeward-home" if home else "stand-in",
        "upstream": "home" if home else "cloud",
        "pool": "rack" if home else "",
        "model": "small" if home else "big",
        "outcome": "ok",
        "cost_nanos": nanos,
        "entry_id": 1,
        **more,
    }


def _fill(client: Client) -> None:
    week = [NOW - timedelta(days=6, hours=23) + timedelta(minutes=14 * number) for number in range(REQUESTS)]
    legs = [_leg(at, "triage", "cloud", CENT) for at in week]
    # An hour of a model without a price is in no mean.
    legs += [_leg(week[5], "triage", "cloud", None, model="new", provider="other") for _ in range(10)]
    legs += [_leg(at, "triage", "sovereign", CENT // 10) for at in week[:100]]
    # Their pool's period is open.
    legs += [_leg(NOW, "triage", "sovereign", None) for _ in range(20)]
    # Failed ones are no requests, and cost what they cost.
    legs += [_leg(week[1], "triage", "sovereign", CENT // 10, outcome="broken") for _ in range(10)]
    legs += [_leg(week[2], "triage", "sovereign", CENT, purpose="shadow") for _ in range(30)]
    legs += [_leg(week[3], "unpriced", "cloud", None), _leg(week[3], "unpriced", "sovereign", CENT)]
    legs += [_leg(NOW - timedelta(days=8), "long-ago", "cloud", CENT)]
    legs += [_leg(week[4], "compared", "cloud", CENT, purpose="noise") for _ in range(5)]
    legs += [_leg(week[4], "compared", "cloud", CENT)]
    _insert(client, "homeward.legs", legs)
    today = NOW.replace(second=0, microsecond=0)
    counts = [("eligible", "", 600), ("sampled", "", 66), ("sent", "", 62), ("shed", "queue", 4)]
    _insert(
        client,
        "homeward.sample_counts",
        [
            {
                "experiment_id": EXPERIMENT,
                "epoch": 1,
                "minute": today,
                "step": step,
                "reason": reason,
                "workload": "triage",
                "count": count,
            }
            for step, reason, count in counts
        ],
    )
    asked = [today - timedelta(seconds=TRIPLETS - number) for number in range(TRIPLETS)]
    _insert(
        client,
        "homeward.triplets",
        [
            {
                "sample_id": uuid.uuid4().hex,
                "lane": "",
                "experiment_id": EXPERIMENT,
                "epoch": 1,
                "workload": "triage",
                "request_time": at,
                "arrival_time": at,
                "cluster": "",
                "stratum": "",
                "sovereign_millionths": 1_000_000 if number % 10 else None,
                "noise_millionths": 1_000_000 if number % 7 else 0,
                "scorer": "exact_match@1",
                "reason": "" if number % 10 else "timeout",
            }
            for number, at in enumerate(asked)
        ],
    )
    start = datetime.fromtimestamp(asked[0].timestamp() // 10 * 10, UTC)
    _insert(
        client,
        "homeward.verdict_windows",
        [
            {
                "experiment_id": EXPERIMENT,
                "epoch": 1,
                "lane": lane,
                "start_time": start,
                "workload": "triage",
                "n": 10,
                "log_k": 0.5,
                "lower_bound": -0.5,
                "upper_bound": 0.5,
                "histogram_sha256": "0" * 64,
                "verdict": "COLLECTING",
                "scorer": "exact_match@1",
                "margin": 0.1,
                "alpha": 0.05,
                "window_us": 10_000_000,
                "watermark_us": 0,
                "min_windows": 3,
                "strata": [],
            }
            for lane in ("", "cloud")
        ],
    )


def _insert(client: Client, table: str, records: Sequence[dict[str, Any]]) -> None:
    client.insert(table, [list(record.values()) for record in records], list(records[0]))


async def test_status_tells_what_was_saved_and_what_is_not_known(shadow: Shadow, tmp_path: Path) -> None:
    done = await run(tmp_path, "status", "--json")
    told = json.loads(done.stdout)
    rows = {row["workload"]: row["saved"] for row in told["migrations"]}
    # 100 requests at a cent each in the cloud, less 100 and 10 failed ones at a tenth of a cent.
    assert rows["triage"]["nanos"] == 100 * CENT - 110 * CENT // 10
    assert rows["triage"]["home_requests"] == 120
    assert rows["triage"]["home_unknown_legs"] == 20
    assert "20 legs" in rows["triage"]["why"]
    assert rows["triage"]["cloud_nanos_per_request"] == CENT
    assert rows["triage"]["experiment_nanos"] == 30 * CENT
    assert rows["minutes"]["nanos"] == 0
    page = await run(tmp_path, "status", width=80)
    words = " ".join(page.stdout.split())
    assert "saved $0.89 so far (without 20 legs whose pool's period is not closed)" in words
    assert "triage HOME verdict READY ▂█ ln K 4.00 of 3.69" in words


async def test_the_finance_model_reads_what_experiments_cost_beside_their_production(
    shadow: Shadow, tmp_path: Path
) -> None:
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
    }
    config = load(Config, *Config.model_fields, path=tmp_path / "homeward.toml", environment=environment)
    book = await asyncio.to_thread(read_book, config)
    assert book.experiments is not None
    assert (book.experiments.experiment_nanos, book.experiments.experiment_legs) == (5 * CENT, 5)
    assert (book.experiments.production_nanos, book.experiments.unknown_legs) == (CENT, 0)
    # Of today only a part is booked, which is no day.
    whole, last = await asyncio.to_thread(read_until, config, NOW.date())
    assert whole.inventory is not None
    assert max(window.last for window in whole.inventory.spend.windows) == last < NOW.date()


async def test_status_without_a_price_in_the_cloud_says_so(shadow: Shadow, tmp_path: Path) -> None:
    shadow.migrations = [migration("unpriced", HOME, [4.0, 4.0], "READY")]
    (row,) = json.loads((await run(tmp_path, "status", "--json")).stdout)["migrations"]
    assert row["saved"]["nanos"] is None
    assert "homeward ledger unknown" in row["saved"]["why"]


async def test_status_without_shadow_has_the_rest(shadow: Shadow, tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], 'grpc = "127.0.0.1:9"', *lines[2:]]))
    done = await run(tmp_path, "status")
    assert done.exit_code == 1
    words = " ".join(done.stdout.split())
    for text in (
        "shadow down",
        "Requests of the last 7 days",
        "the stages are the ledger's",
        "start what is down",
    ):
        assert text in words
    told = json.loads((await run(tmp_path, "status", "--json")).stdout)
    assert "triage" in {row["workload"] for row in told["workloads"]}


async def test_a_forecast_rests_on_the_last_weeks_volume(shadow: Shadow, tmp_path: Path) -> None:
    done = await run(
        tmp_path, "shadow", "start", "triage", "--yes", "--json", "--margin", "0.2", "--rate", "1"
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["forecast"]
    answered = REQUESTS + 10 + 100 + 20
    assert found["requests_per_day"] == pytest.approx(answered / 7, rel=0.02)
    assert found["votes_per_window"] == pytest.approx(found["requests_per_day"], abs=1)
    assert found["windows"]["median"] >= 2
    assert found["days"]["median"] == found["windows"]["median"]
    none = await run(tmp_path, "shadow", "start", "long-ago", "--yes", "--json", "--scorer", "exact_match@1")
    assert "no request of it in the last 7 days" in json.loads(none.stdout)["forecast"]["why_unknown"]


async def test_the_funnel_tells_every_loss(shadow: Shadow, tmp_path: Path) -> None:
    (row,) = json.loads((await run(tmp_path, "shadow", "funnel", "triage", "--json")).stdout)["rows"]
    counts = [row[step] for step in ("eligible", "sampled", "sent", "answered", "scored")]
    assert counts == [600, 66, 62, 60, 54]
    assert row["losses"] == {"shed/queue": 4, "failed/timeout": 6}
    page = await run(tmp_path, "shadow", "funnel", width=80)
    assert max(map(len, page.stdout.splitlines())) <= 80
    assert "6 failed: timeout (a leg gave no answer: a vote, as a failure)" in page.stdout
    assert "Next: `homeward shadow show WORKLOAD`" in page.stdout
    nothing = await run(tmp_path, "shadow", "funnel", "nobody")
    assert nothing.exit_code == 0
    assert "Next: `homeward shadow start nobody`" in nothing.stdout


async def test_what_is_exported_replays_by_the_command_that_is_told(shadow: Shadow, tmp_path: Path) -> None:
    file = tmp_path / "triage.csv"
    done = await run(tmp_path, "shadow", "export", "triage", str(file), width=200)
    assert done.exit_code == 0, done.output
    assert f"{TRIPLETS} triplets of epoch 1 are in" in done.stdout
    command = done.stdout.strip().splitlines()[-1].split()
    assert command[:3] == ["homeward", "shadow", "replay"]
    replayed = await asyncio.to_thread(CliRunner().invoke, app, [*command[1:], "--json"])
    assert replayed.exit_code == 0, replayed.output
    found = json.loads(replayed.stdout)["windows"]
    expected = windows(read_triplets(file), Rules(0.1, 0.05, 10_000_000, 0, 3))
    assert [one["histogram_sha256"] for one in found] == [one.histogram_sha256 for one in expected]
    assert sum(one["n"] for one in found[-1:]) == TRIPLETS
    nothing = await run(tmp_path, "shadow", "export", "nobody", str(tmp_path / "x.csv"))
    assert (nothing.exit_code, (tmp_path / "x.csv").exists()) == (1, False)
    assert "Next: `homeward shadow funnel nobody`" in nothing.stderr
