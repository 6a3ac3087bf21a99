"""Real requests of two workloads, at a steady pace, as applications send them: for the tour's migrations."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

DATA = Path("data/workloads")
VOICE, BANK = "voice-domain", "bank-intent"
MAX_TOKENS = 60
MAX_IN_FLIGHT = 64
"""Requests of a workload that may wait at once. A machine that is too slow for the pace sends fewer: what
queues up here would only wait elsewhere."""
TIMEOUT_S = 60.0
MAX_SEEN = 200
"""Answers that are remembered of each workload, target and policy version: the first ones."""
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that was answered."""

    workload: str
    target: str
    trace_id: str
    request_id: bytes
    """The router's, 16 bytes."""
    asked_unix_s: float


@dataclass(slots=True)
class Counts:
    """What became of a workload's requests."""

    answered: dict[str, int] = field(default_factory=dict)
    """By target."""
    failed: int = 0
    problem: str = ""
    """Of the last that failed."""


class Traffic:
    """The requests of some workloads. Use as an async context manager."""

    def __init__(self, base_url: str, api_key: str, model: str, rates: Mapping[str, float]) -> None:
        """`rates` are requests a second by workload; they may be changed at any time."""
        self.rates = dict(rates)
        self.counts = {workload: Counts() for workload in rates}
        self._seen: dict[tuple[str, str, int], list[Seen]] = {}
        self._url, self._model = f"{base_url}/chat/completions", model
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._prompts: dict[str, Any] = json.loads((DATA / "prompts.json").read_text(encoding="utf-8"))
        self._pacers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Traffic:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )
        self._pacers = [asyncio.create_task(self._pace(workload)) for workload in self.rates]
        return self

    async def __aexit__(self, *_: object) -> None:
        for pacer in self._pacers:
            pacer.cancel()
        await asyncio.gather(*self._pacers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def seen(self, workload: str, target: str, policy_version: int) -> list[Seen]:
        """The first requests that a target answered under a policy version or later ones, in their order."""
        return [
            seen
            for (name, at, version), found in sorted(self._seen.items())
            if (name, at) == (workload, target) and version >= policy_version
            for seen in found
        ]

    def forget(self, workload: str) -> None:
        """What comes from now on is the first again."""
        self._seen = {key: found for key, found in self._seen.items() if key[0] != workload}

    async def _pace(self, workload: str) -> None:
        loop = asyncio.get_running_loop()
        texts = _texts(workload)
        # Every other one is streamed, so that first tokens are measured on both targets too.
        streamed = itertools.cycle((False, True))
        due = loop.time()
        asked: set[asyncio.Task[None]] = set()
        try:
            while True:
                if self.rates[workload] > 0 and len(asked) < MAX_IN_FLIGHT:
                    task = asyncio.create_task(self._ask(workload, next(texts), next(streamed)))
                    asked.add(task)
                    task.add_done_callback(asked.discard)
                due = max(due + 1 / max(self.rates[workload], 1.0), loop.time() - 1.0)
                await asyncio.sleep(max(0.0, due - loop.time()))
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, workload: str, text: str, streamed: bool) -> None:
        assert self._session is not None
        counts, prompt = self.counts[workload], self._prompts[workload]["json"]
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": prompt["system"]},
                {"role": "user", "content": text},
            ],
            "response_format": prompt["response_format"],
            "max_tokens": MAX_TOKENS,
            "stream": streamed,
        }
        tracer = trace.get_tracer("homeward.tour")
        with tracer.start_as_current_span(f"ask {workload}", kind=SpanKind.CLIENT) as span:
            headers, asked_unix_s = dict(self._headers), time.time()
            _PROPAGATOR.inject(headers)
            try:
                async with self._session.post(self._url, json=body, headers=headers) as response:
                    answer = await response.read()
                    if response.status != 200:
                        raise aiohttp.ClientError(f"{response.status}: {answer[:200]!r}")
                    if streamed and not answer.rstrip().endswith(b"[DONE]"):
                        raise aiohttp.ClientError("the stream ended without its end")
                    named = response.headers
            except (aiohttp.ClientError, TimeoutError) as error:
                span.set_status(StatusCode.ERROR)
                counts.failed += 1
                counts.problem = str(error) or type(error).__name__
                return
            span.set_status(StatusCode.OK)
            trace_id = f"{span.get_span_context().trace_id:032x}"
        target, version = named["x-homeward-target"], int(named["x-homeward-policy-version"])
        counts.answered[target] = counts.answered.get(target, 0) + 1
        found = self._seen.setdefault((workload, target, version), [])
        if len(found) < MAX_SEEN:
            request_id = uuid.UUID(named["x-homeward-request-id"]).bytes
            found.append(Seen(workload, target, trace_id, request_id, asked_unix_s))


def _texts(workload: str) -> Iterator[str]:
    """The test rows that people wrote for the workload, over and over, in an order of this run's own."""
    if workload == VOICE:
        rows = json.loads((DATA / "clinc150_full.json").read_text(encoding="utf-8"))["test"]
        texts = [text for text, _ in rows]
    else:
        with (DATA / "banking77_test.csv").open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
    random.shuffle(texts)
    return itertools.cycle(texts)
