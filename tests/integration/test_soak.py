"""The soak of `make soak-sovereign`, in short: one replica is killed on the way."""

from __future__ import annotations

from pathlib import Path

from bench.soak_report import Plan
from bench.soak_sovereign import soak
from tests.support.triton import needs_triton


async def test_a_short_soak_breaks_no_promise(tmp_path: Path) -> None:
    needs_triton()
    report = await soak(tmp_path, Plan(requests=120, kill_every=120))
    assert report.broken_promises == []
