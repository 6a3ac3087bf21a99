"""A house for tests: several real servers at home behind one stack, and requests to them.

Their small model is made slow, so that answers last long enough to be disturbed. What an answer says plays no
part: prompts are sampled hot, and their seeds are fixed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from grpc import aio
from homeward.ledger.v1 import ledger_pb2_grpc
from tokenizers import Tokenizer

from deploy.triton.cpu import server
from services.common.stages import HOME
from tests.support.policy import bring_to
from tests.support.stack import ROOT, SECRETS, Stack, until
from tests.support.triton import TritonServer

DONE = b"data: [DONE]"
PAIR = ("first", "second")
"""The servers that may be killed and stopped."""
DELAYS_MS: Mapping[str, float] = {"first": 50, "second": 50, "slow": 200, "fast": 10, "narrow": 50}
"""What each server waits after a token."""
PROMPT = "Once upon a time"
ANSWER_TOKENS = 40
HOT: Mapping[str, Any] = {"prompt": PROMPT, "temperature": 2, "top_p": 1, "max_tokens": ANSWER_TOKENS}

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
probe_interval_s = {probe_s}
{more}
"""
"""A model at home, with a watch of its own."""
UNPROBED_S = 3600
"""Only `home` may be hurt; the others are not even probed again."""


@dataclass(slots=True)
class House:
    """A stack and the servers behind it."""

    stack: Stack
    servers: Mapping[str, TritonServer]
    session: aiohttp.ClientSession

    def ask(self, model: str, **fields: Any) -> Asked:
        """A request, not sent yet."""
        return Asked(self.stack, self.session, {"model": model, **HOT, **fields})

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
            for name in self.servers.keys() & set(PAIR):
                if self.servers[name].ended:
                    await asyncio.to_thread(self.servers[name].start)
            await asyncio.sleep(0.05)


@dataclass(slots=True)
class Asked:
    """A request, and what has come of it."""

    stack: Stack
    session: aiohttp.ClientSession
    body: dict[str, Any]
    path: str = "completions"
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
        url = f"{self.stack.base_url}/{self.path}"
        async with self.session.post(url, json=self.body, headers=headers) as response:
            self.status = response.status
            self.answer_headers = response.headers
            yield response

    async def legs(self, count: int) -> list[dict[str, Any]]:
        """Its legs, oldest first; there are exactly so many."""
        legs = await self.stack.legs(count, where=f"trace_id = '{self.trace_id}'")
        assert len(legs) == count, f"{len(legs)} legs in place of {count}"
        return legs

    @property
    def target(self) -> str:
        """Where the answer was made."""
        return self.answer_headers.get("x-homeward-target", "")

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
    def content(self) -> str:
        """What a chat has said, whole or streamed."""
        if not self.body.get("stream"):
            return str(self.document["choices"][0]["message"]["content"])
        deltas = [choice["delta"] for event in self.events for choice in event.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)

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


@asynccontextmanager
async def open_house(folder: Path, *names: str, extra_settings: str = "") -> AsyncIterator[House]:
    """Starts the named servers and a stack before them, and ends all.

    Names are keys of `DELAYS_MS`; a model is there if all its servers are. Those of the pair are started
    again whenever they end; the others must end well, and leave nothing. `extra_settings` is TOML.
    """
    one_version = folder / "model"
    one_version.mkdir()
    for part in ("1", "tokenizer.json"):
        (one_version / part).symlink_to(server.MODELS / part)
    limits = {"requests_in_work": 1, "requests_queued": 1}
    servers = {
        name: TritonServer(
            folder / name,
            token_delay_ms=DELAYS_MS[name],
            **({} if name in PAIR else {"models": one_version}),
            **(limits if name == "narrow" else {"requests_in_work": 16}),
        )
        for name in names
    }
    environment = {f"HOMEWARD_TIMEOUTS__{name}_S": "60" for name in ("FIRST_TOKEN", "SILENCE", "ANSWER")}
    stack = Stack(folder, upstreams(servers) + extra_settings, **environment)
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
            ends = dict(zip(servers, pool.map(stop, servers, servers.values()), strict=True))
    for name in servers:
        assert name in PAIR or ends[name] == (0, []), f"{name} ended with {ends[name]}"


def stop(name: str, running: TritonServer) -> tuple[int, Sequence[Path]]:
    """Ends a server; gives its exit status and what it left in shared memory.

    One whose Python process was killed with requests in hand waits for them in vain, so it is killed too.
    """
    status = running.stop(signal.SIGKILL if name in PAIR else signal.SIGINT)
    left = running.shared_memory()
    server.clear_shared_memory(running.settings)
    return status, left


def upstreams(servers: Mapping[str, TritonServer]) -> str:
    """The settings of each model at home that has all its servers."""

    def one(name: str, *names: str, two: str = "", probe_s: float = UNPROBED_S, more: str = "") -> str:
        if not servers.keys() >= set(names):
            return ""
        replicas = ", ".join(f'"{servers[item].grpc}"' for item in names)
        return SETTINGS.format(name=name, replicas=replicas, two=two, probe_s=probe_s, more=more)

    return (
        one("home", *PAIR, two=', home-two = "2"', probe_s=0.5)
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


def tokens(text: str) -> int:
    """A text's tokens, by the model's tokenizer."""
    tokenizer = Tokenizer.from_file(f"{ROOT}/models/small-llama/tokenizer.json")
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


async def bring_home(stack: Stack, workload: str) -> None:
    """Has the ledger decide that a workload runs at home, and waits until the router knows."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        version = await bring_to(ledger_pb2_grpc.LedgerServiceStub(channel), workload, HOME)

    async def in_force() -> bool:
        return f"policy {version} is in force" in stack.log("router")

    await until(in_force, f"the router has policy {version}")
