"""The end of `make run`'s tour: a workload moves home and back, another stays; the document; a second run.

One file, so that the tour, which takes minutes, runs once. How many is measured by the tour itself, which
prints the time of each line; no test holds it to that, since a busy machine is no defect.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from playbook.report.carried import read
from services.common.settings import read_document
from tests.e2e.conftest import TOUR_S, Run, query
from tests.support.pdf_links import assert_links_lead, pdf_links
from tests.support.stack import ROOT
from tools.screenshot import CHROMIUM

BOOKED_S = 30.0
SETTLED_S = 120.0
"""Until the last legs are booked and the last pool's period is closed."""
pytestmark = pytest.mark.timeout(TOUR_S + SETTLED_S + 180)
VOICE, BANK = "voice-domain", "bank-intent"
WAY = ["SHADOWED", "CANARY 1%", "CANARY 5%", "CANARY 25%", "CANARY 50%", "HOME", "ROLLED_BACK"]
DECISION = re.compile(r"  \d:\d\d  (\S+): (\S.*) → (\S.*?)\. .*\(decided by (\S+)\)")
ENTRY = re.compile(r" {8}journal entry (\d+), policy version (\d+), hash ([0-9a-f]{12})…")
TRACE = re.compile(r" {8}(\S+): its first answer by (\S+) since then: http\S+/traces#([0-9a-f]{32})")


def decisions(run: Run, workload: str) -> list[ledger_pb2.Decision]:
    """The journal's, oldest first, without that which made the workload known."""
    with grpc.insecure_channel(run.environment["HOMEWARD_LEDGER__GRPC"]) as channel:
        listed = ledger_pb2_grpc.LedgerServiceStub(channel).ListDecisions(
            ledger_pb2.ListDecisionsRequest(workload=workload), timeout=10
        )
    return [item for item in reversed(listed.decisions) if item.actor != "settings"]


def migration(run: Run, workload: str) -> shadow_pb2.Migration:
    """Where a workload stands."""
    with grpc.insecure_channel(run.environment["HOMEWARD_SHADOW__GRPC"]) as channel:
        listed = shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
            shadow_pb2.ListMigrationsRequest(workload=workload), timeout=10
        )
    return listed.migrations[0]


def told(run: Run, workload: str) -> list[tuple[str, str]]:
    """The places that it was told to come to, and by whom."""
    found = [match for line in run.output.splitlines() if (match := DECISION.match(line))]
    return [(match[3], match[4]) for match in found if match[1] == workload]


def answered_within(run: Run, sql: str, expected: str) -> None:
    """Waits until ClickHouse, to which spans and legs come in batches, gives an answer."""
    deadline = time.monotonic() + BOOKED_S
    while (answer := query(run, sql)) != expected:
        assert time.monotonic() < deadline, f"{answer!r} is not {expected!r}: {sql}"
        time.sleep(0.2)


def test_the_workload_goes_all_the_way_home_and_rolls_itself_back(toured: Run) -> None:
    moves = told(toured, VOICE)
    assert [place for place, _ in moves] == WAY, toured.output
    assert {actor for _, actor in moves[1:]} <= {"shadow", "breaker", "demo"}
    assert moves[-1][1] in ("shadow", "breaker")
    assert toured.output.index("A bad release: Triton") < toured.output.index("→ ROLLED_BACK")
    assert f"homeward cutover {VOICE} --approve" in toured.output
    assert migration(toured, VOICE).policy.stage == policy_pb2.STAGE_ROLLED_BACK


def test_the_workload_whose_model_is_not_good_enough_stays_in_the_cloud(toured: Run) -> None:
    assert f"{BANK}: REJECTED" in toured.output
    assert [place for place, _ in told(toured, BANK)] == ["SHADOWED"]
    found = migration(toured, BANK)
    assert found.evidence.verdict == shadow_pb2.VERDICT_REJECTED
    assert found.policy.sovereign_share_ppm == 0
    # Its applications never got an answer of the model at home.
    at_home = (
        f"SELECT count() FROM homeward.legs WHERE workload = '{BANK}'"
        " AND purpose = 'production' AND target = 'sovereign'"
    )
    assert query(toured, at_home) == "0"


def test_no_request_of_an_application_failed(toured: Run) -> None:
    done = next(line for line in toured.output.splitlines() if "Requests answered:" in line)
    assert done.endswith("; none failed."), done


def test_each_step_has_its_journal_entry_and_its_trace(toured: Run) -> None:
    lines = toured.output.splitlines()
    entries = {int(match[1]): match for line in lines if (match := ENTRY.match(line))}
    booked = [*decisions(toured, VOICE), *decisions(toured, BANK)]
    assert set(entries) == {item.decision_id for item in booked}
    for item in booked:
        assert int(entries[item.decision_id][2]) == item.policy_version
        assert item.entry_sha256.hex().startswith(entries[item.decision_id][3])
    traces = [match for line in lines if (match := TRACE.match(line))]
    # Seven moves of the one; the other's start and its verdict.
    assert [match[2] for match in traces if match[1] == VOICE] == ["cloud", *["sovereign"] * 5, "cloud"]
    assert [match[2] for match in traces if match[1] == BANK] == ["cloud", "cloud"]
    ids = sorted({match[3] for match in traces})
    listed = ", ".join(f"'{item}'" for item in ids)
    answered_within(
        toured, f"SELECT uniqExact(TraceId) FROM otel.otel_traces WHERE TraceId IN ({listed})", str(len(ids))
    )
    # The traces of the comparison's start are of requests that were compared.
    shadowed = [next(match[3] for match in traces if match[1] == name) for name in (VOICE, BANK)]
    for trace_id in shadowed:
        legs = (
            "SELECT arrayStringConcat(arraySort(groupUniqArray(concat(purpose, ' ', target))), ', ')"
            f" FROM homeward.legs WHERE trace_id = '{trace_id}'"
        )
        answered_within(toured, legs, "noise cloud, production cloud, shadow sovereign")


def test_the_moves_home_rest_on_a_verdict_of_ready(toured: Run) -> None:
    for item in decisions(toured, VOICE)[1:-1]:
        assert item.evidence["verdict"] == "READY"


def test_the_windows_have_the_votes_that_the_decision_names(toured: Run) -> None:
    evidence = decisions(toured, VOICE)[1].evidence
    until = datetime.fromisoformat(evidence["window_start"])
    votes = [
        window.vote_count
        for window in migration(toured, VOICE).evidence.windows
        if window.start_time.ToDatetime(UTC) == until
    ]
    assert votes == [evidence["votes"]]


LIMIT_S = 20.0
FILES = (1, 2)
"""Of what is made: the page, and the PDF."""
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
            if item["kind"] != "query of the book":
                continue
            rows = client.query(item["detail"], parameters=item["parameters"]).result_rows
            assert len(rows) == item["rows"], item["name"]
            asked += 1
        assert asked > 12
        names = {item["name"] for item in told["references"]}
        assert {"inventory_usage", "inventory_legs", "inventory_days"} <= names
    finally:
        client.close()


def _cited(file: Path, kind: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The references of a kind, each with the facts that lead to it."""
    told, _ = read(file.read_bytes())
    facts: dict[str, dict[str, Any]] = {}
    for item in told["facts"]:
        facts.setdefault(item["reference"], {})[item["key"]] = item["value"]
    return [(item, facts[item["number"]]) for item in told["references"] if item["kind"] == kind]


@pytest.mark.parametrize("which", FILES)
def test_every_entry_of_the_journal_is_as_the_ledger_tells_it(
    toured: Run, made: tuple[dict[str, Any], Path, Path], which: int
) -> None:
    listed = {item.decision_id: item for item in [*decisions(toured, VOICE), *decisions(toured, BANK)]}
    followed = 0
    for item, facts in _cited(made[which], "entry of the journal"):
        if item["name"] == "decisions":
            continue
        entry = listed[int(item["name"].removeprefix("decision "))]
        key = f"decision/{entry.decision_id}"
        assert item["detail"] == f"entry {entry.entry_sha256.hex()}"
        assert facts[f"{key}/decision_id"] == entry.decision_id
        assert facts[f"{key}/reason"] == entry.reason
        assert facts[f"{key}/entry_sha256"] == entry.entry_sha256.hex()
        when = datetime.fromisoformat(facts[f"{key}/decide_time"])
        assert when == entry.decide_time.ToDatetime(UTC)
        followed += 1
    assert followed >= len(WAY)


@pytest.mark.parametrize("which", FILES)
def test_every_answer_of_shadow_is_as_shadow_tells_it(
    toured: Run, made: tuple[dict[str, Any], Path, Path], which: int
) -> None:
    cited = _cited(made[which], "answer of ShadowService")
    examples = {item["name"] for item, _ in cited if item["name"].startswith("example ")}
    kept = [homeward(toured, "shadow", "examples", name, "--json") for name in (VOICE, BANK)]
    assert [code for code, _ in kept] == [0, 0]
    ids = {item["sample_id"] for _, said in kept for item in json.loads(said)["examples"]}
    assert examples <= {f"example {one}" for one in ids}
    assert {item["name"] for item, _ in cited} - examples == {VOICE, BANK}
    for item, facts in cited:
        if item["name"] in examples:
            continue
        probed = {found.name: found for found in migration(toured, item["name"]).capabilities}
        assert item["rows"] == 1
        told = {key.split("/")[3] for key in facts if key.startswith(f"shadow/{item['name']}/capabilities/")}
        assert told == set(probed)
        for name, found in probed.items():
            key = f"shadow/{item['name']}/capabilities/{name}"
            assert facts[f"{key}/needed"] == found.needed
            assert facts[f"{key}/found"] == found.found


@pytest.mark.parametrize("which", FILES)
def test_every_setting_is_as_the_settings_have_it(
    toured: Run, made: tuple[dict[str, Any], Path, Path], which: int
) -> None:
    document = read_document(ROOT / "homeward.toml", toured.environment)
    followed = 0
    for item, facts in _cited(made[which], "setting"):
        # An input's and a mapping's say in words where they stand.
        if not item["name"].startswith("["):
            continue
        for key, said in facts.items():
            value: Any = document
            for part in key.removeprefix("setting/").split("/"):
                value = value.get(part) if isinstance(value, dict) else None
            if isinstance(value, list):
                value = ", ".join(map(str, value))
            # What the file leaves out has a default or is not declared.
            if value not in (None, ""):
                assert str(said) == str(value), key
                followed += 1
    assert followed > 10


def test_every_link_of_the_pdf_leads_to_the_reference_of_what_it_shows(
    made: tuple[dict[str, Any], Path, Path],
) -> None:
    printed = made[2].read_bytes()
    assert_links_lead(pdf_links(printed), read(printed)[0])


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


def test_the_next_run_begins_a_new_epoch_and_can_be_stopped_in_the_middle(toured: Run) -> None:
    assert toured.stop() == 0
    toured.start(HOMEWARD_LOCAL__MIGRATION="true", HOMEWARD_LOCAL__TOUR="true")
    toured.wait_for(f"{VOICE}: registered, epoch 2")
    toured.wait_for(f"{BANK}: registered, epoch 2")
    toured.wait_for("window 1 closed")
    assert toured.stop(signal.SIGINT) == 0
    assert "Traceback" not in toured.output
