"""`make run`: the whole of Homeward on this machine, in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from deploy.local import degraded, tour
from deploy.local.clickhouse.embedded import MissingError
from deploy.local.config import LocalConfig, cloud_is_real, load_local
from deploy.local.migration_tour import Addresses, MigrationTour
from deploy.local.parts import build, home_problem, service_environment
from deploy.local.state import InUseError, Secrets, State
from deploy.local.supervisor import FailedError, Supervisor
from services.common.settings import DEFAULT_FILE, ClickHouse, SettingsError, Telemetry
from services.common.telemetry.recorder import Recorder
from services.common.telemetry.setup import start_tracing
from services.router.config import CLOUD_BASE_URL

console = Console(highlight=False, soft_wrap=True)

WIDE = 120
"""Columns of a terminal from which on the tour's table shows models and answers too."""


def say(line: str) -> None:
    """One line for the person who watches."""
    console.print(line, markup=False)


async def main(settings_file: Path) -> int:
    """Runs everything.

    Returns:
        The exit code.
    """
    began = time.monotonic()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        config = load_local(settings_file)
        state = State(config.local.state_dir)
    except (SettingsError, InUseError) as error:
        say(str(error))
        return 1
    secrets = state.secrets()
    clickhouse_url = os.environ.get("HOMEWARD_CLICKHOUSE_URL")
    supervisor: Supervisor | None = None
    tracing: Recorder | None = None
    try:
        say("Homeward is starting; each part says when it is well.")
        parts = await asyncio.to_thread(
            build, config, secrets, settings_file, config.local.state_dir, clickhouse_url
        )
        at_home = any(part.name == "triton" for part in parts)
        if config.serves_at_home and not at_home:
            say(f"  Left out: the models at home. {home_problem()}")
        supervisor = Supervisor(parts, state.log, say)
        await _unless(stop, supervisor.start())
        if not stop.is_set():
            endpoints = _endpoints(config, secrets, clickhouse_url)
            file = state.write_endpoints(endpoints)
            if config.local.tour:
                tracing = _tracing(config, secrets, endpoints)
                await _unless(stop, _tour(config, secrets, endpoints))
            if not stop.is_set():
                _print_endpoints(endpoints, file, time.monotonic() - began, at_home=at_home)
            migrations = _migrations(config, secrets, endpoints, at_home=at_home)
            await _unless(stop, _beside(supervisor.watch(), migrations))
        say("\nStopping, in order:")
        return 0
    except (FailedError, MissingError) as error:
        say(str(error))
        return 1
    finally:
        if tracing is not None:
            await asyncio.to_thread(tracing.shutdown)
        if supervisor is not None:
            await supervisor.stop()
        state.close()
        say("Stopped. `make run` goes on where this ended.")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Does the work until it is done or the stop comes."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        task.result()


async def _beside(main: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Does both; the other ends with the first, and its end ends nothing."""
    task = asyncio.create_task(other)
    try:
        await main
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _endpoints(config: LocalConfig, secrets: Secrets, clickhouse_url: str | None) -> dict[str, str]:
    url = clickhouse_url or config.clickhouse.url
    return {
        "openai_base_url": f"http://{config.router.http}/v1",
        "api_key": secrets.api_key,
        "grpc": config.router.grpc,
        # The page is the embedded server's; with another server the traces are in its otel.otel_traces.
        "traces_url": "" if clickhouse_url else f"{url}/traces",
        "clickhouse_url": url,
        "clickhouse_user": config.clickhouse.user if clickhouse_url else "analyst",
        "clickhouse_password": config.clickhouse.password if clickhouse_url else secrets.analyst_password,
    }


def _tracing(config: LocalConfig, secrets: Secrets, endpoints: Mapping[str, str]) -> Recorder:
    """Starts the tour's own spans, by which its requests are found."""
    own = bool(endpoints["traces_url"])
    environment = service_environment(secrets, endpoints["clickhouse_url"], own=own)
    return start_tracing(
        "tour",
        Telemetry(),
        ClickHouse(
            url=endpoints["clickhouse_url"],
            user=environment["HOMEWARD_CLICKHOUSE__USER"],
            password=environment.get("HOMEWARD_CLICKHOUSE__PASSWORD", config.clickhouse.password),
        ),
    )


async def _tour(config: LocalConfig, secrets: Secrets, endpoints: Mapping[str, str]) -> None:
    rows = list(tour.conversations())
    say(f"\nSending {len(rows)} real conversations (data/README.md) through the router:")
    url, model = endpoints["openai_base_url"], config.local.tour_model
    told: list[tour.Told] = []
    # All at a time: a cloud takes a second or more for each.
    asked = [tour.send(url, secrets.api_key, model, row) for row in rows]
    for row, answer in zip(rows, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if isinstance(answer, aiohttp.ClientError):
            say(f"  {row['id']}: not answered: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            told.append(answer)
    legs = await tour.booked(
        endpoints["clickhouse_url"],
        endpoints["clickhouse_user"],
        endpoints["clickhouse_password"],
        [item.trace_id for item in told],
    )
    console.print(_table(told, legs))
    if any(leg.pending for leg in legs.values()):
        say("A leg at home costs its share of its pool's hours; `homeward ledger pools` tells in a minute.")
    missing = len(told) - len(legs)
    if missing:
        say(f"{missing} legs are not in ClickHouse yet; they wait in the queue on disk.")
    if endpoints["traces_url"] and told:
        say(f"One of these as a trace: {endpoints['traces_url']}#{told[-1].trace_id}")


async def _migrations(
    config: LocalConfig, secrets: Secrets, endpoints: Mapping[str, str], *, at_home: bool
) -> None:
    """The long part of the tour, or why it is left out."""
    if not (config.local.tour and config.local.migration):
        return
    if not at_home:
        say("\nLeft out: the migrations of the tour, which need the models at home.")
        return
    if cloud_is_real(os.environ):
        say("\nLeft out: the migrations of the tour, thousands of requests to a cloud that costs money.")
        return
    triton = next(item for item in config.triton.values() if config.local.triton in item.replicas)
    say(
        "\nTwo workloads are compared with the model at home, on real requests (data/workloads)."
        " One moves home and back, one may not.\nTwo to five minutes, explained in docs/cutover.md;"
        " HOMEWARD_LOCAL__MIGRATION=false leaves it out."
    )
    at = Addresses(
        base_url=endpoints["openai_base_url"],
        api_key=secrets.api_key,
        model=config.local.tour_model,
        shadow=config.shadow.grpc,
        ledger=config.ledger.grpc,
        triton=config.local.triton,
        traces_url=endpoints["traces_url"],
        good_model=triton.model_dir.resolve(),
        bad_model=config.local.state_dir.resolve() / "triton" / degraded.FOLDER,
    )
    try:
        await MigrationTour(at, say).run()
    except Exception as error:
        # A defect of the tour is no reason to stop what runs.
        say(f"The migrations of the tour ended early: {error!r}")


def _table(told: Sequence[tour.Told], legs: Mapping[str, tour.Booked]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("conversation", "workload", "ran on"):
        table.add_column(name, no_wrap=True)
    for name in ("ms", "in", "out", "µ$"):
        table.add_column(name, justify="right", no_wrap=True)
    wide = console.width >= WIDE
    if wide:
        table.add_column("answer", no_wrap=True)
    for item in told:
        leg = legs.get(item.trace_id)
        cells = [
            item.conversation,
            item.workload or "(unnamed)",
            f"{item.target}: {item.model}" if wide else item.target,
            f"{item.latency_ms:.0f}",
            _known(leg.input_tokens if leg else None),
            _known(leg.output_tokens if leg else None),
            _cost(leg),
        ]
        table.add_row(*cells, *([" ".join(item.answer.split())[:40]] if wide else []))
    return table


def _cost(leg: tour.Booked | None) -> str:
    if leg is None or leg.cost_nanos is None:
        return "pending" if leg is not None and leg.pending else "unknown"
    return f"{leg.cost_nanos / 1000:.2f}"


def _known(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _print_endpoints(endpoints: Mapping[str, str], file: Path, seconds: float, *, at_home: bool) -> None:
    home = (
        '\nThe model at home is "small-llama" (models/small-llama/README.md says what it can).'
        if at_home
        else ""
    )
    body = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is Homeward?"}]}'
    traces = endpoints["traces_url"] or "in otel.otel_traces of your ClickHouse"
    say(
        f"""
Homeward is up ({seconds:.1f} s). The cloud behind it is {_cloud()}.

  OpenAI base URL  {endpoints["openai_base_url"]}   (also for the Anthropic SDK, without the /v1)
  API key          {endpoints["api_key"]}
  gRPC             {endpoints["grpc"]}
  Traces           {traces}
  ClickHouse       {endpoints["clickhouse_url"]}   user {endpoints["clickhouse_user"]}, \
password {endpoints["clickhouse_password"]}

Try it:
  curl {endpoints["openai_base_url"]}/chat/completions -H "Authorization: Bearer {endpoints["api_key"]}" \
-H "Content-Type: application/json" -d '{body}'
{home}
The same, for programs: {file}. More to run: examples/, and `homeward --help` (in .venv/bin).
Ctrl-C stops everything."""
    )


def _cloud() -> str:
    real = os.environ.get(CLOUD_BASE_URL)
    return real if real else "a stand-in (set HOMEWARD_CLOUD_BASE_URL and _API_KEY for a real one)"


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)))
