"""The document of what the tour has just done: made, opened, followed to its references, and verified."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from playbook.report.carried import read
from tests.e2e.conftest import TOUR_S, Run, query
from tests.support.stack import ROOT
from tools.screenshot import CHROMIUM

SETTLED_S = 120.0
"""Until the last legs are booked and the last pool's period is closed."""
pytestmark = pytest.mark.timeout(TOUR_S + SETTLED_S + 180)
LIMIT_S = 20.0
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}


def _settle(run: Run) -> None:
    """Waits until a sum of all that a document tells stays the same for a pool's period and more."""
    sums = (
        "SELECT (SELECT count() FROM homeward.legs), (SELECT count() FROM homeward.corrections),"
        " (SELECT count() FROM homeward.triplets),"
        " (SELECT countIf(isNull(cost_nanos)) FROM homeward.leg_costs)"
    )
    deadline, last, since = time.monotonic() + SETTLED_S, "", time.monotonic()
    while time.monotonic() < deadline:
        now = query(run, sums)
        if now != last:
            last, since = now, time.monotonic()
        elif now.endswith("\t0") and time.monotonic() - since > 10:
            return
        time.sleep(0.5)


def homeward(run: Run, *arguments: str) -> tuple[int, str]:
    """A command, as a user of that run types it: exit code, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "playbook.cli", *arguments],
        cwd=ROOT,
        env=run.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(toured: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Path]:
    """The document: what the command said, the page, and the PDF."""
    _settle(toured)
    out = tmp_path_factory.mktemp("document")
    code, said = homeward(toured, "report", "--out", str(out), "--json")
    assert code == 0, said
    told = json.loads(said)
    page, printed = map(Path, told["files"])
    return told, page, printed


def facts_of(file: Path) -> dict[str, Any]:
    found, _ = read(file.read_bytes())
    return {item["key"]: item["value"] for item in found["facts"]}


def test_it_is_made_in_time_and_nothing_was_left_unasked(made: tuple[dict[str, Any], Path, Path]) -> None:
    told, _, printed = made
    assert told["seconds"] < LIMIT_S
    assert told["problems"] == []
    assert printed.read_bytes().startswith(b"%PDF-")


def test_it_tells_what_the_tour_did(toured: Run, made: tuple[dict[str, Any], Path, Path]) -> None:
    found = facts_of(made[1])
    assert found == facts_of(made[2])
    assert found["summary/compared"] == 2
    assert found["summary/ready"] == 1
    assert found["outside/all"] == 0
    requests = query(
        toured, "SELECT count() FROM homeward.legs WHERE purpose = 'production' AND outcome = 'ok'"
    )
    assert found["totals/requests"] == int(requests)
    assert 0 <= found["summary/slowest rollback"] < 30
    pictures = {key for key in found if key.startswith("picture/")}
    assert {
        "picture/pareto",
        "picture/funnel",
        "picture/bounds",
        "picture/latency",
        "picture/traffic",
    } <= pictures


def test_every_query_of_the_appendix_gives_the_rows_that_it_says(
    toured: Run, made: tuple[dict[str, Any], Path, Path]
) -> None:
    import clickhouse_connect

    told, _ = read(made[1].read_bytes())
    here = toured.endpoints()
    client = clickhouse_connect.get_client(
        dsn=here["clickhouse_url"],
        username=here["clickhouse_user"],
        password=here["clickhouse_password"],
        autogenerate_session_id=False,
    )
    try:
        asked = 0
        for item in told["references"]:
            if item["kind"] != "query of the book" or item["rows"] is None or item["name"] == "inventory":
                continue
            rows = client.query(item["detail"], parameters=item["parameters"]).result_rows
            assert len(rows) == item["rows"], item["name"]
            asked += 1
        assert asked > 12
    finally:
        client.close()


def test_it_still_holds(toured: Run, made: tuple[dict[str, Any], Path, Path]) -> None:
    for file in made[1:]:
        code, said = homeward(toured, "report", "--verify", str(file))
        assert code == 0, said


def test_what_happened_since_is_named(toured: Run, made: tuple[dict[str, Any], Path, Path]) -> None:
    said = made[1].read_text(encoding="utf-8")
    found, _ = read(said.encode())
    (item,) = [item for item in found["facts"] if item["key"] == "totals/requests"]
    forged = made[1].with_name("forged.html")
    more = f"{item['value'] + 1000:,}"
    forged.write_text(
        said.replace(f'"value": {item["value"]}, "unit": "count", "text": "{item["text"]}"',
                     f'"value": {item["value"] + 1000}, "unit": "count", "text": "{more}"'),
        encoding="utf-8",
    )  # fmt: skip
    code, told = homeward(toured, "report", "--verify", str(forged))
    assert code == 1
    assert f"totals/requests: the document says {more}, now it is {item['text']}" in told


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("name", WIDTHS)
def test_the_page_fits_its_window_and_every_link_leads_somewhere(
    made: tuple[dict[str, Any], Path, Path], tmp_path: Path, name: str
) -> None:
    from playwright.sync_api import sync_playwright

    width, height = WIDTHS[name]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on(
                "request", lambda asked: problems.append(asked.url) if asked.url.startswith("http") else None
            )
            page.goto(made[1].as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            dead = page.evaluate(
                "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
                ".filter(to => !to.startsWith('#') || !document.getElementById(to.slice(1)))"
            )
            assert dead == []
            broken = page.evaluate("[...document.images].filter(one => !one.naturalWidth).length")
            assert broken == 0
            assert problems == []
            page.screenshot(path=str(tmp_path / f"{name}.png"))
        finally:
            browser.close()
