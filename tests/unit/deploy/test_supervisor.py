"""Parts that die are started again, each when those that it needs are there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from deploy.local.parts import Part, Probe
from deploy.local.supervisor import Supervisor
from tests.support.stack import until


def part(name: str, probe: Probe) -> Part:
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    return Part(name, sleeps, dict(os.environ), probe, where="nowhere", listens=())


async def test_of_parts_that_die_together_the_one_that_another_needs_is_there_first(tmp_path: Path) -> None:
    needed: set[int] = set()

    async def has_its_need() -> bool:
        pid = supervisor.pids().get("needed")
        return pid is not None and pid not in needed

    async def is_well() -> bool:
        return True

    said: list[str] = []
    parts = [part("needed", is_well), part("needing", has_its_need)]
    supervisor = Supervisor(parts, lambda name: tmp_path / name, said.append)
    await supervisor.start()
    watching = asyncio.create_task(supervisor.watch())
    try:
        before = supervisor.pids()
        needed.add(before["needed"])
        # The last first, so that its death is heard of before that of what it needs.
        for name in ("needing", "needed"):
            os.kill(before[name], signal.SIGKILL)

        async def both_are_back() -> bool:
            return {"needed is back", "needing is back"} <= set(said)

        await until(both_are_back, "both are back")
        assert said.index("needed is back") < said.index("needing is back")
        assert not watching.done()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await supervisor.stop()
