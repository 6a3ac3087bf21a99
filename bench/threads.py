"""Where the router's CPU goes, by thread, with traces on and off: `python -m bench.threads`.

The first thread is the event loop, `spans` and `legs` are what works for later.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from bench import homeward, load, nginx

REQUESTS = 12_000
CONNECTIONS = 32
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def ticks(pid: int) -> dict[int, int]:
    """CPU ticks of each thread of a process, user and system."""
    found: dict[int, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[int(task.name)] = int(fields[11]) + int(fields[12])
    return found


async def main() -> None:
    """Measures both."""
    with nginx.serve("1") as upstream:
        for ratio in (1.0, 0.0):
            async with homeward.serve(
                upstream.base_url, sample_ratio=ratio, router_cpus="0", other_cpus="1"
            ) as running:

                def send(requests: int, base_url: str = running.base_url, key: str = running.key) -> None:
                    load.run(base_url, key, connections=CONNECTIONS, requests=requests, cpus="1")

                await asyncio.to_thread(send, REQUESTS // 4)
                before = ticks(running.router_pid)
                await asyncio.to_thread(send, REQUESTS)
                after = ticks(running.router_pid)
            used = {tid: (after[tid] - before.get(tid, 0)) * TICK_US / REQUESTS for tid in after}
            parts = ", ".join(f"{value:.0f}" for value in used.values() if value >= 1)
            print(
                f"traces {ratio:.0%}: {sum(used.values()):.0f} µs a request, by thread: {parts}", flush=True
            )


if __name__ == "__main__":
    asyncio.run(main())
