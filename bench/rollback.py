"""`python -m bench.rollback`: how long it takes until a decision is in force on every router.

A ledger and four routers, each with ports of its own as on four machines. A workload stands at 50 %, goes
home and is rolled back, again and again. Each time every router is asked without a pause, until it answers
from the new target under the new version of the policy: what is measured includes that request. Times count
from before the decision is proposed and from its return; a router may know before the caller does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from grpc import aio
from homeward.ledger.v1 import ledger_pb2_grpc

from bench.load import percentile
from services.common.stages import CANARIES, HOME, ROLLED_BACK, Place
from tests.support.policy import Stub, bring_to
from tests.support.routers import PARTS, SETTINGS, Answered, Router, start_routers
from tests.support.stack import Stack

ROUTERS = 4
ROUNDS = 20
LIMIT_S = 1.0
"""What a rollback may take (issue 6)."""
GIVE_UP_S = 30.0
WORKLOAD = "summaries"
TARGETS: Mapping[Place, str] = {HOME: "sovereign", ROLLED_BACK: "cloud"}
"""Who answers every conversation at a place."""
NAMES: Mapping[Place, str] = {HOME: "cutover, 50 % to HOME", ROLLED_BACK: "rollback, HOME to ROLLED_BACK"}


@dataclass(slots=True)
class Times:
    """What one router took for each decision of a kind, in seconds."""

    from_call: list[float] = field(default_factory=list)
    from_return: list[float] = field(default_factory=list)
    """0 where the router was first."""


async def decide(
    stub: Stub,
    routers: Sequence[Router],
    session: aiohttp.ClientSession,
    place: Place,
    times: Sequence[Times],
) -> None:
    """Has the workload moved by one decision, and notes when each router acts on it."""
    version: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    watching = [asyncio.create_task(acts(router, session, version, TARGETS[place])) for router in routers]
    called = time.perf_counter()
    version.set_result(await bring_to(stub, WORKLOAD, place))
    returned = time.perf_counter()
    for one, acted in zip(times, await asyncio.gather(*watching), strict=True):
        one.from_call.append(acted - called)
        one.from_return.append(max(0.0, acted - returned))


async def acts(
    router: Router, session: aiohttp.ClientSession, version: asyncio.Future[int], target: str
) -> float:
    """When a router has first answered from a target under a version that is not known yet."""
    seen: dict[Answered, float] = {}
    deadline = time.perf_counter() + GIVE_UP_S
    while True:
        answer = await router.ask(session, WORKLOAD)
        now = time.perf_counter()
        if answer.status != 200:
            raise RuntimeError(f"{router.name} answered {answer.status}")
        seen.setdefault(answer, now)
        if version.done() and (wanted := Answered(200, target, version.result())) in seen:
            return seen[wanted]
        if now > deadline:
            raise RuntimeError(f"{router.name} does not act on the decision within {GIVE_UP_S:g} s: {answer}")


async def measure(rounds: int) -> dict[Place, list[Times]]:
    """The times of each router by what was decided."""
    times = {place: [Times() for _ in range(ROUTERS)] for place in TARGETS}
    with tempfile.TemporaryDirectory(prefix="bench-rollback-") as folder:
        # The stand-in serves both targets: what is timed is who is asked, not what is answered.
        stack = Stack(Path(folder))
        with stack.settings_file.open("a") as file:
            file.write(SETTINGS.format(home=f"{stack.cloud}/v1").replace("some-open-model", "stand-in-mini"))
        address = f"127.0.0.1:{stack.ports['ledger']}"
        async with stack, aiohttp.ClientSession() as session, aio.insecure_channel(address) as channel:
            await stack.start(*PARTS)
            routers = await start_routers(stack, ROUTERS)
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            for _ in range(rounds):
                await bring_to(stub, WORKLOAD, CANARIES[-1])
                for place in TARGETS:
                    await decide(stub, routers, session, place, times[place])
    return times


def table(times: Mapping[Place, Sequence[Times]]) -> str:
    """Of each kind the slowest router's median and the slowest time of all, in milliseconds."""
    lines = [
        "| decision | p50, ms, from the call | max | p50, ms, from its return | max |",
        "|---|---|---|---|---|",
    ]
    for place, routers in times.items():
        cells: list[float] = []
        for found in ([one.from_call for one in routers], [one.from_return for one in routers]):
            cells += [max(percentile(sorted(one), 50) for one in found), max(map(max, found))]
        lines.append(f"| {NAMES[place]} | {' | '.join(f'{1000 * cell:.1f}' for cell in cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measures, prints the table, and says whether each router was within the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rollbacks to make (default: %(default)s)")
    rounds = parser.parse_args().rounds
    times = asyncio.run(measure(rounds))
    print(f"The slowest of {ROUTERS} routers, {rounds} decisions of each kind, {os.cpu_count()} cores:\n")
    print(table(times))
    slowest = max(max(one.from_call) for routers in times.values() for one in routers)
    good = slowest < LIMIT_S
    print(f"\n{'All' if good else 'NOT all'} in force within {LIMIT_S:g} s of the call on every router.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
