"""A trace opens at `/traces#<trace_id>` in the ClickStack page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tools.screenshot import CHROMIUM, TRACES, Rows, latest, open_trace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a browser: apt-get install chromium"),
]


@pytest.mark.parametrize(("condition", "rows"), [trace[1:] for trace in TRACES])
def test_a_trace_opens_with_all_its_services(run: Run, tmp_path: Path, condition: str, rows: Rows) -> None:
    here = run.endpoints()
    picture = tmp_path / "trace.png"
    problems = open_trace(f"{here['traces_url']}#{latest(here, condition, rows)}", picture, rows)
    assert problems == []
    assert picture.stat().st_size > 20_000
