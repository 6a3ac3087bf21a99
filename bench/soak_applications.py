"""The applications of the soak: what they ask, and what they see."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from bench.soak_report import Plan
from tests.support.stack import SECRETS
from training import public_rows

MODEL = "small-llama"
EARLY_LEAVE_S = 0.05
"""Longest time after which an application leaves that leaves before its answer."""


@dataclass(slots=True)
class Request:
    """One request of one application, and what it saw."""

    body: dict[str, Any]
    leaves: bool
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    outcomes: list[str] = field(default_factory=list)
    """One, if all is well."""
    early: bool = False
    """True if the application left before its answer began; the router may not have read it then."""


def requests(plan: Plan) -> Iterator[Request]:
    """The same mix of requests each time."""
    rng = random.Random(plan.seed)
    prompts = public_rows.prompts()
    texts = {
        "voice-domain": [row.text for row in public_rows.clinc150("test")],
        "bank-intent": [row.text for row in public_rows.banking77("test")],
    }
    for _ in range(plan.requests):
        workload = rng.choice(list(texts))
        form = rng.choice(("json", "tool", "text"))
        asked = {key: value for key, value in prompts[workload][form].items() if key != "system"}
        system = {"role": "system", "content": prompts[workload][form]["system"]}
        user = {"role": "user", "content": rng.choice(texts[workload])}
        stream = rng.random() < 0.5
        body = {
            "model": MODEL,
            "messages": [system, user],
            "stream": stream,
            "max_tokens": 64,
            "temperature": rng.choice((0, 1)),
            **asked,
        }
        yield Request(body, leaves=rng.random() < plan.leave_share)


class Applications:
    """Many applications, which share a list of requests."""

    def __init__(self, base_url: str, plan: Plan) -> None:
        self._url = f"{base_url}/chat/completions"
        self._plan = plan
        self._waiting = requests(plan)
        self.sent: list[Request] = []
        self.done = 0

    async def run(self) -> None:
        """Sends all."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for number in range(self._plan.concurrency):
                group.create_task(self._application(session, random.Random(number)))

    async def _application(self, session: aiohttp.ClientSession, rng: random.Random) -> None:
        for request in self._waiting:
            self.sent.append(request)
            sending = asyncio.create_task(self._send(session, request))
            if request.leaves and not request.body["stream"]:
                await asyncio.wait([sending], timeout=rng.uniform(0, EARLY_LEAVE_S))
                if sending.cancel():
                    await asyncio.wait([sending])
                    request.early = True
                    request.outcomes.append("cancelled")
                    self.done += 1
                    continue
            await sending
            self.done += 1

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> None:
        headers = {
            "Authorization": f"Bearer {SECRETS.api_key}",
            "traceparent": f"00-{request.trace_id}-00f067aa0ba902b7-00",
        }
        try:
            async with session.post(self._url, json=request.body, headers=headers) as response:
                if request.leaves and response.status == 200:
                    await response.content.readuntil(b"\n\n")
                    response.close()
                    request.outcomes.append("cancelled")
                    return
                body = await response.read()
                request.outcomes.extend(seen(response.status, body, streamed=request.body["stream"]))
        except aiohttp.ClientError as error:
            request.outcomes.append(f"unclear: {type(error).__name__}")


def seen(status: int, body: bytes, *, streamed: bool) -> list[str]:
    """The outcomes that an answer shows: one, if it is clear."""
    if status != 200:
        return [f"refused: {orjson.loads(body)['error']['code']}"]
    if not streamed:
        return ["answered"] if orjson.loads(body)["choices"] else []
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    found = ["answered" for event in events if event == b"[DONE]"]
    documents = [orjson.loads(event) for event in events if event != b"[DONE]"]
    return found + [f"broken: {item['error']['code']}" for item in documents if "error" in item]
