"""A trace opens at `/traces#<trace_id>` in the ClickStack page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tools.screenshot import CHROMIUM, TRACES, Wanted, latest, open_trace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a browser: apt-get install chromium"),
]


@pytest.mark.parametrize("wanted", TRACES, ids=lambda wanted: wanted.picture)
def test_a_trace_opens_with_all_its_services(run: Run, tmp_path: Path, wanted: Wanted) -> None:
    here = run.endpoints()
    picture = tmp_path / "trace.png"
    problems = open_trace(f"{here['traces_url']}#{latest(here, wanted)}", picture, wanted.rows)
    assert problems == []
    assert picture.stat().st_size > 20_000
