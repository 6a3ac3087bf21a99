"""A trace opens at `/traces#<trace_id>` in the ClickStack page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tools.screenshot import CHROMIUM, open_trace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a browser: apt-get install chromium"),
]


def test_a_trace_opens_with_all_its_services(run: Run, tmp_path: Path) -> None:
    line = next(line for line in run.output.splitlines() if line.startswith("One of these as a trace"))
    picture = tmp_path / "trace.png"
    problems = open_trace(line.split(": ", 1)[1], picture)
    assert problems == []
    assert picture.stat().st_size > 20_000
