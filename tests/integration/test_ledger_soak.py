"""A short soak of the ledger; `make soak-ledger` runs the same with a million legs."""

from __future__ import annotations

from pathlib import Path

from tests.support.ledger_soak import Plan, soak


async def test_every_leg_is_booked_once_while_ledger_and_clickhouse_are_killed_at_random(
    tmp_path: Path,
) -> None:
    soaked = await soak(tmp_path, Plan(legs=60_000, kills=6))
    assert soaked.kills.total() == 6
    assert soaked.told["legs"] == 60_000
