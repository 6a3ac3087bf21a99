"""`make soak-sovereign`: 20,000 requests to two replicas at home, while they are killed and loaded anew.

Whole and streamed requests for JSON, tool calls and text, as applications send them; some applications leave.
Every thousand requests the Python process of a replica is killed, and in between a model is loaded again
under load. At the end each request has exactly one outcome, the book has the same, and memory is where it
was. Writes a table and the raw figures to bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from bench import process
from bench.soak_applications import MODEL, Applications, Request
from bench.soak_report import Plan, Report, memory, raw, table
from deploy.triton.contract.compare import MODEL_NAME
from deploy.triton.cpu.process import Process, answers
from tests.support.stack import Stack, until

RESULTS = Path("bench/results")
REPLICAS = 2
SETTINGS = """
[upstreams.home]
target = "sovereign"
protocol = "triton"
region = "eu"
models = ["{model}"]

[triton.home]
replicas = [{replicas}]
model_dir = "models/small-llama"
versions = {{ {model} = "1" }}
probe_interval_s = 1
"""
PATIENCE = {"HOMEWARD_TIMEOUTS__FIRST_TOKEN_S": "60", "HOMEWARD_TIMEOUTS__SILENCE_S": "30"}
"""The router's own defaults: what ends an answer of a dead process is the probe."""
SAMPLES = 50
"""How often memory is looked at."""


class Mischief:
    """Kills and reloads as the requests go by, and looks at memory."""

    def __init__(self, plan: Plan, report: Report, stack: Stack, replicas: Sequence[Process]) -> None:
        self._plan = plan
        self._report = report
        self._stack = stack
        self._replicas = replicas
        self.samples: dict[str, list[tuple[int, int]]] = {}
        """Resident bytes by requests done, of each kind of process."""

    async def run(self, applications: Applications) -> None:
        """Until it is cancelled."""
        half = self._plan.kill_every // 2
        acts = itertools.cycle((self._kill, self._reload))
        victims = itertools.cycle(replica for replica in self._replicas for _ in range(2))
        every = max(1, self._plan.requests // SAMPLES)
        act_at, sample_at = half, 1
        while True:
            await asyncio.sleep(0.05)
            for replica in self._replicas:
                if replica.ended:
                    # Triton aborts if its Python process dies with a lock in hand.
                    await asyncio.to_thread(replica.start)
                    self._report.aborts += 1
            if applications.done >= sample_at:
                self._sample(applications.done)
                sample_at = applications.done + every
            if applications.done >= act_at and act_at < self._plan.requests:
                act_at += half
                await next(acts)(next(victims))

    async def _kill(self, victim: Process) -> None:
        pid = victim.stubs().get(1)
        if pid is not None:
            os.kill(pid, 9)
            self._report.kills += 1

    async def _reload(self, victim: Process) -> None:
        client = triton.InferenceServerClient(victim.settings.grpc)
        try:
            await client.unload_model(MODEL_NAME)
            await client.load_model(MODEL_NAME)
        except InferenceServerException:
            # The server ended meanwhile, or the router loads the model as well.
            return
        finally:
            await client.close()
        self._report.reloads += 1

    def _sample(self, done: int) -> None:
        kinds = {"router": [self._stack.pid("router")]}
        for number, replica in enumerate(self._replicas, 1):
            stub = replica.stubs().get(1)
            kinds[f"tritonserver {number}"] = [replica.pid]
            kinds[f"Python process {number}"] = [] if stub is None else [stub]
        for kind, pids in kinds.items():
            # Of the process alone: a server's tree has the Python processes in it.
            size = sum(alone(pid) for pid in pids)
            if size:
                self.samples.setdefault(kind, []).append((done, size))
        print(
            f"{done:7,} of {self._plan.requests:,} requests, {self._report.kills} kills,"
            f" {self._report.reloads} reloads, router {self.samples['router'][-1][1] / 2**20:.0f} MiB",
            flush=True,
        )


def alone(pid: int) -> int:
    """Resident bytes of one process."""
    return process.rss_bytes([pid]) - process.rss_bytes(process.tree([pid]) - {pid})


async def check_the_book(stack: Stack, sent: Sequence[Request], report: Report) -> None:
    """Holds the legs against what the applications saw."""
    sure = {request.trace_id for request in sent if not request.early}
    rows: list[Sequence[Any]] = []

    async def booked() -> bool:
        rows[:] = await stack.query("SELECT trace_id, outcome, error_reason, attempts FROM homeward.legs")
        return sure <= {row[0] for row in rows}

    try:
        await until(booked, "every request has its leg")
    except AssertionError:
        missing = len(sure - {row[0] for row in rows})
        report.expect(False, f"{missing} requests have no leg")
    legs = {trace_id: (outcome, reason) for trace_id, outcome, reason, _ in rows}
    report.legs = Counter(outcome for _, outcome, *_ in rows)
    report.attempts = Counter(attempts for *_, attempts in rows)
    report.expect(len(legs) == len(rows), f"{len(rows) - len(legs)} requests have more than one leg")
    strangers = len(legs.keys() - {request.trace_id for request in sent})
    report.expect(strangers == 0, f"{strangers} legs belong to no request")
    differ = Counter(
        f"{request.outcomes} is booked as {legs[request.trace_id]}"
        for request in sent
        if request.trace_id in legs and not agree(request, *legs[request.trace_id])
    )
    report.expect(not differ, f"the book differs from what applications saw: {dict(differ)}")


def agree(request: Request, outcome: str, reason: str) -> bool:
    """True if a leg says what the application saw."""
    (saw,) = request.outcomes or [""]
    if saw == "answered":
        return outcome == "ok"
    if saw == "cancelled":
        # The answer may have been whole before the application's leaving was noticed, or have failed.
        return True
    return outcome not in ("ok", "cancelled") and reason.lower() == saw.partition(": ")[2]


@asynccontextmanager
async def house(folder: Path, report: Report) -> AsyncIterator[tuple[Stack, list[Process]]]:
    """The stack and two replicas; counts at the end what they have left behind."""
    replicas = [Process(folder / f"triton-{number}") for number in range(1, REPLICAS + 1)]
    addresses = ", ".join(f'"{replica.settings.grpc}"' for replica in replicas)
    try:
        await asyncio.gather(*(asyncio.to_thread(replica.start) for replica in replicas))
        settings = SETTINGS.format(model=MODEL, replicas=addresses)
        async with Stack(folder, settings, **PATIENCE) as stack:
            await stack.start()
            yield stack, replicas
    finally:
        await asyncio.gather(*(asyncio.to_thread(replica.stop) for replica in replicas))
        for replica in replicas:
            report.left += len(replica.shared_memory())


async def soak(folder: Path, plan: Plan) -> Report:
    """Runs it in a folder of its own."""
    report = Report(plan, REPLICAS)
    async with house(folder, report) as (stack, replicas):
        applications = Applications(stack.base_url, plan)
        mischief = Mischief(plan, report, stack, replicas)
        began = time.monotonic()
        doing = asyncio.create_task(mischief.run(applications))
        try:
            await applications.run()
            await all_well(replicas, report)
        finally:
            doing.cancel()
            stopped = (await asyncio.gather(doing, return_exceptions=True))[0]
        report.expect(isinstance(stopped, asyncio.CancelledError), f"the soak itself failed: {stopped!r}")
        report.took_s = time.monotonic() - began
        sent = applications.sent
        unclear = Counter(str(request.outcomes) for request in sent if len(request.outcomes) != 1)
        report.outcomes = Counter(outcome for request in sent for outcome in request.outcomes)
        report.expect(not unclear, f"requests without exactly one outcome: {dict(unclear)}")
        lost = sum(count for outcome, count in report.outcomes.items() if outcome.startswith("unclear"))
        report.expect(lost == 0, f"{lost} requests were lost on the way")
        report.expect(
            sum(report.outcomes.values()) == plan.requests, "the outcomes don't add up to the requests"
        )
        report.expect(report.kills > 0, "nothing was killed")
        if not unclear:
            await check_the_book(stack, sent, report)
        report.memory = memory(mischief.samples, plan.requests)
    report.expect(report.left == 0, f"{report.left} regions are left in /dev/shm")
    return report


async def all_well(replicas: Sequence[Process], report: Report) -> None:
    """Waits until each replica answers, as the router must have seen to."""
    for number, replica in enumerate(replicas, 1):

        async def well(address: str = replica.settings.grpc) -> bool:
            return await asyncio.to_thread(answers, address, 1)

        try:
            await until(well, "the replica answers")
        except AssertionError:
            report.expect(False, f"replica {number} did not come back")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak_sovereign", description=__doc__)
    usual = Plan()
    parser.add_argument("--requests", type=int, default=usual.requests)
    parser.add_argument("--concurrency", type=int, default=usual.concurrency)
    parser.add_argument("--kill-every", type=int, default=usual.kill_every, help="requests between kills")
    parser.add_argument("--seed", type=int, default=usual.seed)
    options = parser.parse_args()
    plan = Plan(
        requests=options.requests,
        concurrency=options.concurrency,
        kill_every=options.kill_every,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="soak-sovereign-") as folder:
        report = asyncio.run(soak(Path(folder), plan))
    text = table(report)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "soak_sovereign.md").write_text(text)
    (RESULTS / "soak_sovereign.json").write_text(json.dumps(raw(report), indent=2) + "\n")
    print(f"\n{text}")
    if report.broken_promises:
        sys.exit("Promises were broken; the raw figures are in bench/results/soak_sovereign.json.")
    print("Every promise was kept. Next: commit bench/results/soak_sovereign.md and .json.")


if __name__ == "__main__":
    main()
