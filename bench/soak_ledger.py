"""`make soak-ledger`: a million legs, while ledger and ClickHouse are killed -9 at random moments.

Several callers book legs of several months, some without a price and some of a GPU pool, and keep what was
not acknowledged. At the end sent = acknowledged = rows = journal, the legs cost what an independent sum says,
and `homeward ledger verify` says whole. Writes a table and the raw figures to bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from playbook.commands.ledger import dollars
from tests.support.ledger_soak import Plan, Soaked, soak

RESULTS = Path("bench/results")
EVERY_S = 2.0
"""Seconds between two lines of progress."""


class Progress:
    """Tells now and then how far it is."""

    def __init__(self) -> None:
        self._told = 0.0

    def tell(self, soaked: Soaked) -> None:
        """Prints a line, if it is time."""
        now = time.monotonic()
        if now - self._told < EVERY_S:
            return
        self._told = now
        print(
            f"{soaked.sent.acknowledged:11,} of {soaked.plan.legs:,} legs acknowledged,"
            f" {soaked.kills.total()} kills, {soaked.sent.refusals.total():,} calls without an answer",
            flush=True,
        )


def table(soaked: Soaked) -> str:
    """The figures for people."""
    plan, sent, told = soaked.plan, soaked.sent, soaked.told
    rows = {
        "legs sent": f"{len(sent.leg_ids):,}",
        "legs acknowledged": f"{sent.acknowledged:,}",
        "rows in ClickHouse": f"{soaked.rows:,}",
        "legs in the journal": f"{told['legs']:,}",
        "entries of the journal": f"{told['entries']:,}",
        "calls without an answer, made again": f"{sent.refusals.total():,}",
        "calls made again although acknowledged": f"{sent.repeated - sent.refusals.total():,}",
        "kills of the ledger": f"{soaked.kills['ledger']:,}",
        "kills of ClickHouse": f"{soaked.kills['clickhouse']:,}",
        "dollars that the journal owes": dollars(sum(told["owed_nanos"].values())),
        "of them to the cloud, as an independent sum says": dollars(sent.cost_nanos),
        "legs of unknown cost": f"{told['unknown_legs']:,}",
        "verify": "whole" if told["whole"] else str(told["difference"]),
    }
    return "\n".join(
        [
            "# The soak of the ledger",
            "",
            f"{plan.legs:,} legs from {plan.callers} callers in {soaked.booking_s:,.0f} s, with"
            f" {soaked.kills.total()} kills -9 at random moments; all booked and proven"
            f" {soaked.whole_s:,.0f} s later."
            f" `python -m bench.soak_ledger --legs {plan.legs} --seed {plan.seed}`,"
            f" {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores of {platform.machine()}.",
            "",
            "| | |",
            "|---|--:|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
        ]
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak_ledger", description=__doc__)
    parser.add_argument("--legs", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=None, help="default: one for each 25,000 legs")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    kills = options.kills if options.kills is not None else max(1, options.legs // 25_000)
    plan = Plan(options.legs, kills, callers=options.callers, chunk_legs=2_000, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="soak-ledger-") as folder:
        soaked = asyncio.run(soak(Path(folder), plan, Progress().tell))
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = table(soaked)
    (RESULTS / "soak_ledger.md").write_text(text + "\n")
    raw = {
        "plan": asdict(plan),
        "booking_s": soaked.booking_s,
        "whole_s": soaked.whole_s,
        "kills": soaked.kills,
        "refusals": soaked.sent.refusals,
        "sent": len(soaked.sent.leg_ids),
        "acknowledged": soaked.sent.acknowledged,
        "rows": soaked.rows,
        "cloud_nanos": soaked.sent.cost_nanos,
        "told": soaked.told,
    }
    (RESULTS / "soak_ledger.json").write_text(json.dumps(raw, indent=2) + "\n")
    print(f"\n{text}\n")
    print("Every promise was kept. Next: commit bench/results/soak_ledger.md and .json.")


if __name__ == "__main__":
    main()
