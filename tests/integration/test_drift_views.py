"""What the views say of drift, against the same figures reckoned here; and observations on their way."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import clickhouse_connect
import pytest
import typer
from click.testing import Result
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import default_pool_manager
from typer.testing import CliRunner

from playbook.commands.status import status
from services.classifier.adapters.observations import Observation, Observations
from services.common.settings import ClickHouse
from services.common.words import Evidence, TaskType, label
from tests.support.stack import SECRETS, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - timedelta(days=9)
DAYS = 10
"""FIRST to today."""
FEW = 2
"""The day of `ticket-triage` with too few requests to be one of its first seven."""
SHIFTED = 8
"""Yesterday: `ticket-triage` gets longer prompts and other work."""
LEG_COLUMNS = (
    *("leg_id", "request_id", "start_time", "workload", "evidence", "task_type", "purpose"),
    *("input_tokens", "cached_input_tokens", "cache_write_tokens"),
)
app = typer.Typer()
app.command()(status)


@dataclass
class Request:
    """A production request as its first leg has it."""

    day: int
    workload: str
    evidence: str
    task_type: str
    tokens: int | None


@dataclass
class Traffic:
    """What was put in."""

    requests: list[Request] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse with the ledger's tables."""
    async with Stack(tmp_path_factory.mktemp("drift")) as running:
        await running.start("clickhouse", "ledger")
        await running.has_tables()
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


@pytest.fixture(scope="module")
async def traffic(ledger: Stack) -> Traffic:
    """Ten days of requests and observations, in ClickHouse."""
    made = Traffic()
    rng = Random(4)
    legs: list[Sequence[Any]] = []
    for day in range(DAYS):
        for _ in range(40 if day == FEW else 130):
            words = ("declared", "declared", "fingerprint", "examples")
            shifted = day == SHIFTED
            add(legs, made, rng, Request(day, "ticket-triage", rng.choice(words), "", tokens(rng, shifted)))
            task_type = rng.choice([TaskType.CLASSIFICATION] * (1 if shifted else 8) + [TaskType.CODE])
            observe(made, rng, day, "ticket-triage", Evidence.DECLARED, task_type)
        for _ in range(30):
            word = rng.choice(("task_type", "abstained"))
            kind = "code" if word == "task_type" else ""
            add(legs, made, rng, Request(day, "", word, kind, tokens(rng, False)))
    # Named by examples: their task type is the registered one, so it is no reading.
    for _ in range(50):
        observe(made, rng, SHIFTED, "ticket-triage", Evidence.EXAMPLES, TaskType.CODE)
    # An older version of the examples, which all traffic had left.
    for _ in range(60):
        observe(made, rng, SHIFTED, "ticket-triage", Evidence.DECLARED, TaskType.CODE, version=1, likeness=0)
    # No examples: no likeness.
    observe(made, rng, SHIFTED, "summaries", Evidence.DECLARED, TaskType.SUMMARIZATION, likeness=None)

    def insert() -> None:
        with writer(ledger) as client:
            client.insert("homeward.legs", legs, column_names=LEG_COLUMNS)

    await asyncio.to_thread(insert)
    await sent(ledger, made.observations)
    return made


def tokens(rng: Random, shifted: bool) -> int | None:
    """Of a prompt; some upstreams do not say."""
    return None if rng.random() < 0.03 else int(2 ** rng.gauss(10 if shifted else 8, 0.7))


def add(legs: list[Sequence[Any]], made: Traffic, rng: Random, request: Request) -> None:
    """A request's first leg, and legs that the views must pass over."""
    made.requests.append(request)
    request_id = uuid.UUID(int=rng.getrandbits(128))
    start = FIRST + timedelta(days=request.day, seconds=rng.randrange(80_000))

    def leg(**changes: Any) -> None:
        values = {
            "leg_id": uuid.UUID(int=rng.getrandbits(128)),
            "request_id": request_id,
            "start_time": start,
            "workload": request.workload,
            "evidence": request.evidence,
            "task_type": request.task_type,
            "purpose": "production",
            "input_tokens": None if request.tokens is None else request.tokens - request.tokens // 3,
            "cached_input_tokens": None if request.tokens is None else request.tokens // 3,
            "cache_write_tokens": 0,
        }
        legs.append([{**values, **changes}[name] for name in LEG_COLUMNS])

    if rng.random() < 0.1:
        # The second upstream, which said how many tokens there were.
        later = start + timedelta(seconds=1)
        leg(start_time=later, workload="summaries", evidence="declared", input_tokens=1 << 20)
    if rng.random() < 0.1:
        earlier = start - timedelta(microseconds=1)
        leg(start_time=earlier, workload="summaries", evidence="declared", purpose="shadow")
    leg()


def observe(
    made: Traffic,
    rng: Random,
    day: int,
    workload: str,
    evidence: Evidence,
    task_type: TaskType,
    *,
    version: int = 2,
    likeness: float | None = -1,
) -> None:
    """An observation; likeness is any of twenty examples unless it is given."""
    time = FIRST + timedelta(days=day, seconds=rng.randrange(80_000))
    made.observations.append(
        Observation(
            observe_unix_ms=int(time.timestamp() * 1000),
            request_id=rng.randbytes(16),
            workload=workload,
            evidence=evidence,
            confidence=0.75,
            task_type=task_type,
            task_type_confidence=0.5,
            likeness=rng.randrange(21) / 20 if likeness == -1 else likeness,
            language_known=True,
            input_chars=1234,
            workload_version=version,
            example_count=None if likeness is None else 20,
        )
    )


async def sent(stack: Stack, observations: Sequence[Observation]) -> None:
    """Sends observations as the classifier does."""
    queue = Observations(settings(stack))
    for item in observations:
        queue.add(item)
    await asyncio.to_thread(queue.close, 20)
    assert queue.shed == 0


def settings(stack: Stack, port: int | None = None) -> ClickHouse:
    """The services' user."""
    url = f"http://127.0.0.1:{port or stack.ports['clickhouse']}"
    return ClickHouse(url=url, password=SECRETS.clickhouse_password)


@contextmanager
def writer(stack: Stack) -> Iterator[Client]:
    """A client of the services' user."""
    store = settings(stack)
    client = clickhouse_connect.get_client(dsn=store.url, username=store.user, password=store.password)
    try:
        yield client
    finally:
        client.close()


async def view(stack: Stack, name: str, columns: str) -> dict[Any, tuple[Any, ...]]:
    """The analysts' rows by (day, workload), or by day alone; the day counts from FIRST."""
    where = "FROM homeward." + name
    rows = await stack.query(f"SELECT dateDiff('day', toDate('{FIRST:%Y-%m-%d}'), day), {columns} {where}")
    keys = 2 if columns.startswith("workload") else 1
    return {row[0] if keys == 1 else tuple(row[:2]): tuple(row[keys:]) for row in rows}


def psi(base: Counter[Any], now: Counter[Any]) -> float | None:
    """The population stability index, with half a request more in each bucket."""
    if min(base.total(), now.total()) < 100:
        return None
    buckets = base.keys() | now.keys()
    sums = [counts.total() + 0.5 * len(buckets) for counts in (base, now)]
    shares = [((base[item] + 0.5) / sums[0], (now[item] + 0.5) / sums[1]) for item in buckets]
    return sum((after - before) * math.log(after / before) for before, after in shares)


async def test_evidence_is_counted_once_a_request_by_its_first_leg(ledger: Stack, traffic: Traffic) -> None:
    counts: dict[Any, Counter[str]] = defaultdict(Counter)
    for item in traffic.requests:
        counts[item.day, item.workload][item.evidence] += 1
    words = [label(item) for item in Evidence]
    found = await view(ledger, "evidence_by_day", f"workload, requests, {', '.join(words)}, unnamed")
    assert found.keys() == counts.keys()
    for (day, workload), count in counts.items():
        unnamed = counts[day, ""].total() / (counts[day, ""] + counts[day, "ticket-triage"]).total()
        shares = [count[word] / count.total() for word in words]
        assert found[day, workload] == pytest.approx((count.total(), *shares, unnamed))


async def test_abstentions_are_told_apart_by_what_is_known_of_them(ledger: Stack, traffic: Traffic) -> None:
    found = await view(ledger, "abstention_by_day", "requests, abstention_rate, task_type_share")
    for day in range(DAYS):
        requests = [item for item in traffic.requests if item.day == day]
        unnamed = [item for item in requests if not item.workload]
        known = sum(item.evidence == "task_type" for item in unnamed) / len(unnamed)
        assert found[day] == pytest.approx((len(requests), len(unnamed) / len(requests), known))


async def test_a_day_is_compared_with_the_first_seven_that_have_enough(
    ledger: Stack, traffic: Traffic
) -> None:
    lengths: dict[int, Counter[int]] = defaultdict(Counter)
    kinds: dict[int, Counter[str]] = defaultdict(Counter)
    for item in traffic.requests:
        if item.workload and item.tokens is not None:
            lengths[item.day][int(math.log2(max(item.tokens, 1)))] += 1
    for seen in traffic.observations:
        if seen.workload == "ticket-triage" and seen.evidence is not Evidence.EXAMPLES:
            day = (datetime.fromtimestamp(seen.observe_unix_ms / 1000, UTC) - FIRST).days
            kinds[day][label(seen.task_type)] += 1
    columns = "workload, requests, psi_input_tokens, psi_task_types, psi"
    found = await view(ledger, "population_shift_by_day", columns)
    base = [day for day in range(DAYS) if day != FEW][:7]
    assert base[-1] == SHIFTED - 1
    for day in range(DAYS):
        requests, *figures = found[day, "ticket-triage"]
        assert requests == (40 if day == FEW else 130)
        if day < SHIFTED:
            assert figures == [None, None, None]
            continue
        before = [sum((counts[item] for item in base), Counter()) for counts in (lengths, kinds)]
        by_length, by_kind = psi(before[0], lengths[day]), psi(before[1], kinds[day])
        assert by_length is not None
        assert by_kind is not None
        assert figures == pytest.approx([by_length, by_kind, max(by_length, by_kind)])
        assert (min(by_length, by_kind) > 0.25) == (day == SHIFTED)
        # Never a day with 100 of them: unknown, and not zero.
        assert found[day, ""] == (30, None, None, None)


async def test_likeness_is_that_of_observations_which_have_one(ledger: Stack, traffic: Traffic) -> None:
    found = await view(ledger, "likeness_by_day", "workload, observations, median_likeness, below_0_05")
    values: dict[int, list[float]] = defaultdict(list)
    for item in traffic.observations:
        if item.likeness is not None:
            day = (datetime.fromtimestamp(item.observe_unix_ms / 1000, UTC) - FIRST).days
            values[day].append(item.likeness)
    for day, likeness in values.items():
        below = sum(value < 0.05 for value in likeness) / len(likeness)
        expected = (len(likeness), statistics.median(likeness), below)
        assert found[day, "ticket-triage"] == pytest.approx(expected)
    assert found[SHIFTED, "summaries"] == (0, None, None)


async def told(stack: Stack, *arguments: str, password: str = SECRETS.analyst_password) -> Result:
    """`homeward status`, as an analyst."""
    environment = {
        "COLUMNS": "140",
        "NO_COLOR": "1",
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": password,
    }
    command = ["--settings", str(stack.settings_file), *arguments]
    return await asyncio.to_thread(CliRunner(env=environment).invoke, app, command)


async def test_status_tells_what_is_down_and_what_has_changed(ledger: Stack, traffic: Traffic) -> None:
    done = await told(ledger, "--json", "--days", "3")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert {item["name"]: item["up"] for item in document["services"]} == {
        "router": False,
        "classifier": False,
        "ledger": True,
        "shadow": False,
        "clickhouse": True,
    }
    rows = {row["workload"]: row for row in document["workloads"]}
    assert list(rows) == ["ticket-triage", "summaries", ""]
    window = [item for item in traffic.requests if item.day >= DAYS - 3]
    for name in ("ticket-triage", ""):
        here = [item for item in window if item.workload == name]
        assert rows[name]["requests"] == len(here)
        for word, share in rows[name]["evidence"].items():
            assert share == pytest.approx(sum(item.evidence == word for item in here) / len(here))
    assert rows["ticket-triage"]["psi"] > 0.25
    assert rows["ticket-triage"]["psi_day"] == f"{TODAY - timedelta(days=1):%Y-%m-%d}"
    assert rows["summaries"]["requests"] == 0
    assert rows["summaries"]["evidence"] is None
    assert rows["summaries"]["median_likeness"] is None
    # The older version's examples no longer count.
    versions = [item for item in traffic.observations if item.workload_version == 2]
    edge = (TODAY - timedelta(days=2)).timestamp() * 1000
    recent = [item for item in versions if item.likeness is not None and item.observe_unix_ms >= edge]
    assert rows["ticket-triage"]["observations"] == len(recent)
    assert rows["ticket-triage"]["example_count"] == 20
    assert [(item["kind"], item["workload"]) for item in document["warnings"]] == [
        ("population_shift", "ticket-triage"),
        ("no_requests", "summaries"),
    ]


async def test_status_has_a_page_too_and_finds_make_runs_credentials(ledger: Stack, traffic: Traffic) -> None:
    here = {
        "clickhouse_url": f"http://127.0.0.1:{ledger.ports['clickhouse']}",
        "clickhouse_user": "analyst",
        "clickhouse_password": SECRETS.analyst_password,
    }
    file = ledger.folder / "endpoints.json"
    file.write_text(json.dumps(here))
    done = await told(ledger, password="")
    file.unlink()
    for text in ("ledger     up", "router     down", "(unnamed)", "unknown", "PSI", "start what is down"):
        assert text in done.output


async def test_status_without_clickhouse_says_so(ledger: Stack) -> None:
    done = await told(ledger, "--json", password="wrong")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["workloads"] is None
    assert "ClickHouse at http" in document["problem"]


@contextmanager
def forgetful_door(port: int) -> Iterator[int]:
    """A port before ClickHouse's that loses the answers to the first inserts, which have been done."""
    lost = 0

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._forward(b"")

        def do_POST(self) -> None:
            if self.headers["Transfer-Encoding"] == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                self._forward(b"".join(parts))
            else:
                self._forward(self.rfile.read(int(self.headers["Content-Length"] or 0)))

        def _forward(self, body: bytes) -> None:
            nonlocal lost
            passed = ("Authorization", "Content-Type", "Content-Encoding", "User-Agent")
            headers = {name: self.headers[name] for name in passed if self.headers[name]}
            with closing(HTTPConnection("127.0.0.1", port)) as inner:
                inner.request(self.command, self.path, body, headers)
                answer = inner.getresponse()
                content = answer.read()
            # What only asks for the columns is no insert.
            if lost < 2 and self.headers["Content-Type"] == "application/octet-stream":
                lost += 1
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name not in ("Transfer-Encoding", "Connection", "Keep-Alive", "Content-Length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
        assert lost == 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_batch_whose_answer_was_lost_counts_once(ledger: Stack) -> None:
    with forgetful_door(ledger.ports["clickhouse"]) as port:
        queue = Observations(settings(ledger, port))
        for _ in range(3):
            queue.add(named("lost-answer"))
        await asyncio.to_thread(queue.close, 20)
    assert queue.shed == 0
    assert await count(ledger, "lost-answer") == 3


# The last: it takes ClickHouse away from the others.
async def test_observations_outlast_clickhouse_and_the_newest_are_kept(ledger: Stack) -> None:
    queue = Observations(settings(ledger), queue_rows=100)
    queue.add(named("before"))

    async def arrived(name: str, expected: int) -> None:
        async def all_there() -> bool:
            return await count(ledger, name) >= expected

        await until(all_there, f"{expected} observations of {name}")

    await arrived("before", 1)
    await ledger.kill("clickhouse")
    for name in ("oldest", "newest"):
        for _ in range(100):
            queue.add(named(name))
    assert queue.shed >= 50
    await ledger.start("clickhouse")
    await arrived("newest", 100)
    await asyncio.to_thread(queue.close, 20)
    assert await count(ledger, "newest") == 100
    # All are either there or counted as shed.
    assert await count(ledger, "oldest") == 100 - queue.shed


def named(workload: str) -> Observation:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    kind = TaskType.CODE
    return Observation(now_ms, b"", workload, Evidence.DECLARED, 1.0, kind, 0.5, None, True, 1)


async def count(stack: Stack, workload: str) -> int:
    """How many observations of it are in ClickHouse."""
    rows = await stack.query(f"SELECT count() FROM homeward.observations WHERE workload = '{workload}'")
    return int(rows[0][0])
