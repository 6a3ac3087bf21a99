"""Replicas die, hang, are slow and are full: each request has one outcome, and the dead come back.

The servers are real, with the small model made slow, so that answers last long enough to be disturbed. What
an answer says plays no part: prompts are sampled hot, and their seeds are fixed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from grpc import aio
from homeward.common.v1 import leg_pb2, policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from tokenizers import Tokenizer

from bench.soak_report import Plan
from bench.soak_sovereign import soak
from deploy.triton.cpu import server
from tests.support.stack import ROOT, SECRETS, Stack, until
from tests.support.triton import TritonServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = b"data: [DONE]"
LOADED = "successfully loaded"
ABORTED = "lock_exception"
"""What Triton logs when a model is there, and when a process died that held a lock."""
ANSWER_TOKENS = 40
PAIR = ("first", "second")
"""The servers that are killed and stopped."""

DELAYS_MS: Mapping[str, float] = {"first": 50, "second": 50, "slow": 200, "fast": 10, "narrow": 50}
"""What each server waits after a token."""

# A model at home each, with a watch of its own: `home` may be hurt, the others are not even probed again.
SETTINGS = """
[upstreams.{name}]
target = "sovereign"
protocol = "triton"
region = "eu"
models = ["{name}", "{name}-two"]

[triton.{name}]
replicas = [{replicas}]
model_dir = "models/small-llama"
versions = {{ {name} = "1"{two} }}
coalesce_ms = 0
probe_timeout_s = 3
probe_interval_s = {probe_interval_s}
{more}
"""
UNPROBED_S = 3600
EITHER = """
[models.either]
routes = [{ upstream = "tiny", model = "tiny" }, { upstream = "cloud", model = "stand-in-mini" }]

[data_classes.secret]
targets = ["sovereign"]

[workloads.secrets]
owner = "legal"
task_type = "extraction"
data_class = "secret"
"""


@dataclass(slots=True)
class House:
    """A stack and the servers behind it."""

    stack: Stack
    servers: Mapping[str, TritonServer]
    session: aiohttp.ClientSession

    def ask(self, model: str, **fields: Any) -> Asked:
        """A request, not sent yet."""
        return Asked(self, {"model": model, **HOT, **fields})

    def made(self, name: str, outcome: str = "ok") -> float:
        """Requests that ended so at a server, probes among them."""
        return self.servers[name].metric("homeward_generate_requests_total", outcome=outcome)

    def ups(self, name: str) -> int:
        """How often the router has brought a server back."""
        return sum(
            self.servers[name].grpc in line and "up again" in line
            for line in self.stack.log("router").splitlines()
        )

    def said(self, name: str, words: str) -> int:
        """How often a server has logged something."""
        return self.servers[name].log_file.read_text(errors="replace").count(words)

    async def well(self, name: str, ups: int) -> None:
        """Waits until a server was brought back once more, and serves in fact."""

        async def back() -> bool:
            return self.ups(name) > ups

        await until(back, f"{name} is up again")
        before = self.made(name)

        async def serves() -> bool:
            await asyncio.gather(*(self.ask("home", max_tokens=1).whole() for _ in range(2)))
            return self.made(name) >= before + 1

        await until(serves, f"{name} serves again")

    async def anew(self, name: str) -> None:
        """Has a server start anew: one whose Python process was hurt may abort at any later time."""
        ups, stubs = self.ups(name), self.servers[name].stubs()
        for pid in (self.servers[name].pid, *stubs.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.well(name, ups)

    async def keep(self) -> None:
        """Starts a server of the pair again that has ended, as `make run` and Kubernetes do.

        Triton itself aborts if its Python process dies with a lock in hand.
        """
        while True:
            for name in PAIR:
                if ended(self.servers[name].pid):
                    await asyncio.to_thread(self.servers[name].start)
            await asyncio.sleep(0.05)


PROMPT = "Once upon a time"
HOT: Mapping[str, Any] = {"prompt": PROMPT, "temperature": 2, "top_p": 1, "max_tokens": ANSWER_TOKENS}


@dataclass(slots=True)
class Asked:
    """A request, and what has come of it."""

    house: House
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    status: int = 0
    answered: bytes = b""
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def workload(self, name: str) -> Asked:
        """Declares a workload."""
        self.headers["x-homeward-workload"] = name
        return self

    async def whole(self) -> Asked:
        """Sends it, and reads the answer to its end."""
        async with self._sent() as response:
            self.answered = await response.read()
        return self

    async def streamed(self, events: int | None = None) -> Asked:
        """Sends it as a stream, and reads so many events, or all; then closes."""
        self.body["stream"] = True
        async with self._sent() as response:
            while (events is None or self.answered.count(b"\n\n") < events) and (
                event := await response.content.readuntil(b"\n\n")
            ):
                self.answered += event
                self.begun.set()
            response.close()
        return self

    @asynccontextmanager
    async def _sent(self) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {
            **self.headers,
            "Authorization": f"Bearer {SECRETS.api_key}",
            "traceparent": f"00-{self.trace_id}-00f067aa0ba902b7-01",
        }
        url = f"{self.house.stack.base_url}/completions"
        async with self.house.session.post(url, json=self.body, headers=headers) as response:
            self.status = response.status
            self.answer_headers = response.headers
            yield response

    @property
    def events(self) -> list[Any]:
        """The documents of a stream."""
        lines = [line.removeprefix(b"data: ") for line in self.answered.split(b"\n\n") if line]
        return [orjson.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def text(self) -> str:
        """What a stream has said."""
        return "".join(choice["text"] for event in self.events for choice in event.get("choices", ()))

    @property
    def code(self) -> str:
        """The code of the error that came, in place of an answer or as the last event."""
        document = self.events[-1] if self.body.get("stream") and self.status == 200 else self.document
        return str(document.get("error", {}).get("code", ""))

    @property
    def document(self) -> dict[str, Any]:
        """A whole answer."""
        document: dict[str, Any] = orjson.loads(self.answered)
        return document

    @property
    def outcome(self) -> str:
        """What the application has seen, in the book's words."""
        if self.body.get("stream") and self.status == 200:
            finished, failed = self.answered.count(DONE), self.code != ""
            assert finished + failed == 1, f"expected an end or an error: {self.answered!r}"
            return "ok" if finished else "broken"
        return "ok" if self.status == 200 else "refused"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("replicas")
    one_version = folder / "model"
    one_version.mkdir()
    for part in ("1", "tokenizer.json"):
        (one_version / part).symlink_to(server.MODELS / part)
    limits = {"requests_in_work": 1, "requests_queued": 1}
    servers = {
        name: TritonServer(
            folder / name,
            token_delay_ms=delay_ms,
            **({} if name in PAIR else {"models": one_version}),
            **(limits if name == "narrow" else {"requests_in_work": 16}),
        )
        for name, delay_ms in DELAYS_MS.items()
    }
    environment = {f"HOMEWARD_TIMEOUTS__{name}_S": "60" for name in ("FIRST_TOKEN", "SILENCE", "ANSWER")}
    stack = Stack(folder, upstreams(servers) + EITHER, **environment)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(TritonServer.start, servers.values()))
        async with stack, aiohttp.ClientSession() as session:
            await stack.start()
            house = House(stack, servers, session)
            keeping = asyncio.create_task(house.keep())
            yield house
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        with ThreadPoolExecutor() as pool:
            ends = dict(zip(servers, pool.map(stop, servers.values()), strict=True))
    for name in servers:
        assert name in PAIR or ends[name] == (0, []), f"{name} ended with {ends[name]}"


def stop(running: TritonServer) -> tuple[int, Sequence[Path]]:
    """Ends a server; gives its exit status and what it left in shared memory.

    One whose Python process was killed with requests in hand waits for them in vain, so it is killed too.
    """
    hurt = running.settings.state_dir.parent.name in PAIR
    status = running.stop(signal.SIGKILL if hurt else signal.SIGINT)
    left = running.shared_memory()
    server.clear_shared_memory(running.settings)
    return status, left


def ended(pid: int) -> bool:
    """True if a child of this process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def upstreams(servers: Mapping[str, TritonServer]) -> str:
    """The settings of all models at home."""

    def one(
        name: str, *names: str, two: str = "", probe_interval_s: float = UNPROBED_S, more: str = ""
    ) -> str:
        replicas = ", ".join(f'"{servers[item].grpc}"' for item in names)
        return SETTINGS.format(
            name=name, replicas=replicas, two=two, probe_interval_s=probe_interval_s, more=more
        )

    return (
        one("home", *PAIR, two=', home-two = "2"', probe_interval_s=0.5)
        + one("uneven", "slow", "fast", more="affinity_requests = 0")
        + one("affine", "slow", "fast", more="affinity_requests = 2")
        + one("tiny", "slow", "fast", more="queue_tokens = 1")
        + one("narrow", "narrow")
    )


async def booked(house: House, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """The leg of each request; there is exactly one."""
    traces = ", ".join(f"'{item.trace_id}'" for item in asked)
    legs = await house.stack.legs(len(asked), where=f"trace_id IN ({traces})")
    by_trace = {leg["trace_id"]: leg for leg in legs}
    assert len(legs) == len(by_trace) == len(asked), "a leg is missing, or there twice"
    return [by_trace[item.trace_id] for item in asked]


@asynccontextmanager
async def in_flight(*asked: Asked) -> AsyncIterator[None]:
    """Streams that have begun, one after the other, and are closed at the end."""
    tasks = []
    try:
        for item in asked:
            tasks.append(asyncio.create_task(item.streamed()))
            await item.begun.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hurt_in_mid_flight(house: House, hurt: Callable[[], None]) -> None:
    """Has many requests in flight, half of them at each server of the pair, and hurts one server.

    Checks that each request has one outcome, which is the book's, and that what could be saved was.
    """
    # Two of each model at each server: they take turns.
    wholes = [house.ask(("home", "home-two")[seed // 2 % 2], seed=seed) for seed in range(8)]
    tasks = [asyncio.create_task(item.whole()) for item in wholes]
    streams = [house.ask("home", seed=seed) for seed in range(8)]
    tasks += [asyncio.create_task(item.streamed()) for item in streams]
    await asyncio.gather(*(item.begun.wait() for item in streams))
    hurt()
    late = [house.ask("home", seed=seed) for seed in range(8)]
    tasks += [asyncio.create_task(item.streamed()) for item in late]
    await asyncio.gather(*tasks)
    asked = [*streams, *wholes, *late]
    legs = await booked(house, asked)
    assert [leg["outcome"] for leg in legs] == [item.outcome for item in asked]
    assert {item.outcome for item in (*wholes, *late)} == {"ok"}, "what had not begun is answered elsewhere"
    assert {item.outcome for item in streams} == {"ok", "broken"}
    for item, leg in zip(asked, legs, strict=True):
        if item.outcome == "broken":
            assert item.code == "upstream_broken"
            assert leg["error_reason"] == "UPSTREAM_BROKEN"
            assert (leg["output_tokens"], leg["usage_source"]) == (tokens(item.text), "upstream")
    assert any(leg["attempts"] == 2 for leg in legs)


def tokens(text: str) -> int:
    """A text's tokens, by the model's tokenizer."""
    tokenizer = Tokenizer.from_file(f"{ROOT}/models/small-llama/tokenizer.json")
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


async def decide(house: House, **changes: Any) -> None:
    """Moves a workload, and waits until the router knows."""
    async with aio.insecure_channel(f"127.0.0.1:{house.stack.ports['ledger']}") as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        watch = stub.WatchPolicy(ledger_pb2.WatchPolicyRequest())
        policy: policy_pb2.Policy = (await watch.read()).policy  # type: ignore[attr-defined]
        watch.cancel()
        row = policy_pb2.WorkloadPolicy(
            **{
                "workload": "summaries",
                "stage": policy_pb2.STAGE_HOME,
                "allowed_targets": [leg_pb2.TARGET_CLOUD, leg_pb2.TARGET_SOVEREIGN],
                "fallback_allowed": True,
                **changes,
            }
        )
        request = ledger_pb2.DecideRequest(
            request_id=os.urandom(16),
            expected_policy_version=policy.version,
            actor="tests",
            reason="to see where it runs",
            after=row,
        )
        decided = (await stub.Decide(request)).decision

    async def in_force() -> bool:
        return f"policy {decided.policy_version} is in force" in house.stack.log("router")

    await until(in_force, "the router has the policy")


# --- servers that die ------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [(1,), (1, 2)], ids=["one", "both"])
async def test_killed_python_processes_lose_no_request_and_come_back(
    house: House, versions: Sequence[int]
) -> None:
    first, ups, loads = house.servers["first"], house.ups("first"), house.said("first", LOADED)
    router = house.stack.pid("router")

    def kill() -> None:
        for version in versions:
            first.kill(version)

    await hurt_in_mid_flight(house, kill)
    await house.well("first", ups)
    assert house.said("first", LOADED) > loads
    assert house.stack.pid("router") == router
    await house.anew("first")


async def test_a_hanging_python_process_loses_no_request_and_is_replaced(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    stopped = second.stubs()[1]
    try:
        await hurt_in_mid_flight(house, lambda: second.kill(1, signal.SIGSTOP))
        await house.well("second", ups)
        assert house.said("second", LOADED) > loads
    finally:
        await house.anew("second")
        # It could not see that its server is gone.
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)


async def test_a_version_that_dies_takes_no_answer_of_another_along(house: House) -> None:
    first, ups, aborts = house.servers["first"], house.ups("first"), house.said("first", ABORTED)
    healthy = [house.ask("home", max_tokens=3 * ANSWER_TOKENS) for _ in range(4)]
    tasks = [asyncio.create_task(item.streamed()) for item in healthy]
    await asyncio.gather(*(item.begun.wait() for item in healthy))
    dying = [house.ask("home-two", seed=seed) for seed in range(4)]
    tasks += [asyncio.create_task(item.whole()) for item in dying]
    first.kill(2)
    await asyncio.gather(*tasks)
    assert {item.outcome for item in dying} == {"ok"}
    await booked(house, [*healthy, *dying])
    await house.well("first", ups)
    if house.said("first", ABORTED) == aborts:
        assert {item.outcome for item in healthy} == {"ok"}
    await house.anew("first")


async def test_a_killed_server_that_starts_again_is_taken_back_as_it_is(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    hurt = [house.ask("home", seed=seed) for seed in range(8)]
    tasks = [asyncio.create_task(item.whole()) for item in hurt]
    os.kill(second.pid, signal.SIGKILL)
    await asyncio.gather(*tasks)
    assert {item.outcome for item in hurt} == {"ok"}
    await booked(house, hurt)
    await house.well("second", ups)
    assert house.said("second", LOADED) == loads + 1, "a model that is well is not loaded again"


async def test_a_stopped_server_is_left_out_until_it_goes_on(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    os.kill(second.pid, signal.SIGSTOP)
    try:
        asked = await asyncio.gather(*(house.ask("home", max_tokens=4).whole() for _ in range(8)))
        assert {item.outcome for item in asked} == {"ok"}
        await booked(house, asked)
    finally:
        os.kill(second.pid, signal.SIGCONT)
    await house.well("second", ups)
    assert house.said("second", LOADED) == loads


# --- servers that are slow, or full ----------------------------------------------------------------


async def test_a_slow_replica_gets_fewer_requests(house: House) -> None:
    before = {name: house.made(name) for name in ("slow", "fast")}
    waiting = iter([house.ask("uneven", max_tokens=5, seed=seed) for seed in range(48)])

    async def application() -> None:
        for item in waiting:
            assert (await item.whole()).outcome == "ok"

    await asyncio.gather(*(application() for _ in range(6)))
    served = {name: house.made(name) - before[name] for name in before}
    assert sum(served.values()) == 48
    assert 0 < served["slow"] < served["fast"]


async def test_a_prompt_goes_where_its_beginning_is_known_unless_that_is_busy(house: House) -> None:
    prompt = " ".join(f"{number} bottles of milk on the wall." for number in range(20))
    assert len(prompt) > 512
    before = {name: house.made(name) for name in ("slow", "fast")}
    # The first of two idle replicas is taken, so that the prompt goes to the second.
    async with in_flight(house.ask("affine", max_tokens=500)):
        await house.ask("affine", prompt=prompt, max_tokens=1).whole()
    assert house.made("fast") == before["fast"] + 1
    for _ in range(5):
        await house.ask("affine", prompt=f"{prompt} And on.", max_tokens=1).whole()
    assert house.made("fast") == before["fast"] + 6
    cached = house.servers["fast"].metric("homeward_generate_tokens_total", kind="cached")
    assert cached >= 5 * tokens(prompt[:512])
    many = [house.ask("affine", prompt=prompt, max_tokens=1000, seed=seed) for seed in range(6)]
    slow = house.made("slow", "cancelled")
    async with in_flight(*many):
        pass

    async def spread() -> bool:
        return house.made("slow", "cancelled") > slow

    await until(spread, "one of them was at the other replica")


async def test_full_replicas_send_requests_away_or_to_the_cloud_as_they_may(house: House) -> None:
    await decide(house)
    async with in_flight(*(house.ask("tiny", max_tokens=500, seed=seed) for seed in range(2))):
        for refused in (house.ask("tiny"), house.ask("either").workload("secrets")):
            await refused.whole()
            assert (refused.status, refused.code) == (429, "replicas_busy")
            assert int(refused.answer_headers["Retry-After"]) >= 1
            (leg,) = await booked(house, [refused])
            assert (leg["target"], leg["outcome"]) == ("sovereign", "unreachable")
            assert (leg["error_reason"], leg["cost_nanos"]) == ("REPLICAS_BUSY", 0)
        moved = await house.ask("either", temperature=1).workload("summaries").whole()
        assert (moved.status, moved.answer_headers["x-homeward-target"]) == (200, "cloud")
        legs = await house.stack.legs(2, where=f"trace_id = '{moved.trace_id}'")
        assert [(leg["target"], leg["outcome"]) for leg in legs] == [
            ("sovereign", "unreachable"),
            ("cloud", "ok"),
        ]
    at_home = await house.ask("either", max_tokens=1).workload("summaries").whole()
    assert at_home.answer_headers["x-homeward-target"] == "sovereign"


async def test_a_server_that_refuses_a_request_too_many_is_not_taken_for_dead(house: House) -> None:
    stubs = house.servers["narrow"].stubs()
    held = house.ask("narrow", max_tokens=100)
    task = asyncio.create_task(held.streamed())
    await held.begun.wait()
    many = [house.ask("narrow", max_tokens=2, seed=seed) for seed in range(6)]
    await asyncio.gather(task, *(item.whole() for item in many))
    assert held.outcome == "ok"
    refused = [item for item in many if item.outcome != "ok"]
    assert {(item.status, item.code) for item in refused} == {(429, "replicas_busy")}
    assert len(refused) == 5, "one waits, and five find no place"
    assert (await house.ask("narrow", max_tokens=2).whole()).outcome == "ok"
    assert house.servers["narrow"].stubs() == stubs


# --- applications that leave -----------------------------------------------------------------------


async def test_an_application_that_leaves_stops_the_model_within_a_token(house: House) -> None:
    def counted() -> tuple[float, float]:
        made = (item.metric("homeward_generate_tokens_total", kind="output") for item in servers)
        ends = (item.metric("homeward_generate_requests_total", outcome="cancelled") for item in servers)
        return sum(made), sum(ends)

    servers = [house.servers[name] for name in ("slow", "fast")]
    tokens_before, ends_before = counted()
    left = await house.ask("uneven", seed=11, max_tokens=500).streamed(events=4)

    async def ended() -> bool:
        return counted()[1] == ends_before + 1

    await until(ended, "the server has stopped")
    made = int(counted()[0] - tokens_before)
    # With its seed a sampled text comes again, so what the model had made is known by its length in tokens.
    again = [
        (await house.ask("uneven", seed=11, max_tokens=count).whole()).document["choices"][0]["text"]
        for count in (made - 1, made)
    ]
    assert left.text in again, "the model went on for more than a token"
    (leg,) = await booked(house, [left])
    assert (leg["outcome"], leg["error_reason"]) == ("cancelled", "CANCELLED")
    assert (leg["input_tokens"], leg["output_tokens"]) == (1 + tokens(PROMPT), tokens(left.text))
    assert leg["usage_source"] == "upstream"


# --- all of it -------------------------------------------------------------------------------------


async def test_a_short_soak_breaks_no_promise(tmp_path: Path) -> None:
    report = await soak(tmp_path, Plan(requests=300, kill_every=300))
    assert report.broken_promises == []
