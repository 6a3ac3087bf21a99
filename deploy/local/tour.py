"""Sends real conversations through the router, so that there is something to see."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SAMPLE = Path("data/conversations/sample.jsonl")
MAX_TOKENS = 120
BOOK_TIMEOUT_S = 20.0
"""How long the legs may take to reach ClickHouse."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one conversation."""

    conversation: str
    workload: str
    target: str
    model: str
    trace_id: str
    answer: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Booked:
    """A leg as ClickHouse has it."""

    trace_id: str
    input_tokens: int | None
    output_tokens: int | None
    cost_nanos: int | None
    pending: bool
    """Its cost is known when its pool's period is closed."""


def conversations(file: Path = SAMPLE) -> Iterator[dict[str, Any]]:
    """The rows of the sample."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


async def send(base_url: str, api_key: str, model: str, row: dict[str, Any]) -> Told:
    """Asks one conversation as an application would, under a span of its own.

    Args:
        model: for rows that name none.

    Raises:
        aiohttp.ClientError: the router can't be reached or refuses.
    """
    tracer = trace.get_tracer("homeward.tour")
    body: dict[str, Any] = {
        "model": row.get("model", model),
        "messages": row["messages"],
        "max_tokens": MAX_TOKENS,
        "stream": row["stream"],
        **{field: row[field] for field in ("tools", "response_format") if field in row},
    }
    with tracer.start_as_current_span(f"ask {row['id']}", kind=SpanKind.CLIENT) as span:
        headers = {"Authorization": f"Bearer {api_key}"}
        TraceContextTextMapPropagator().inject(headers)
        began = time.perf_counter()
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.post(f"{base_url}/chat/completions", json=body, headers=headers) as response,
        ):
            text = await response.text()
            named = response.headers
        span.set_status(StatusCode.OK)
        return Told(
            conversation=row["id"],
            workload=named["x-homeward-workload"],
            target=named["x-homeward-target"],
            model=named["x-homeward-model"],
            trace_id=f"{span.get_span_context().trace_id:032x}",
            answer=_streamed(text) if row["stream"] else _whole(json.loads(text)),
            latency_ms=(time.perf_counter() - began) * 1000,
        )


async def booked(url: str, user: str, password: str, trace_ids: list[str]) -> dict[str, Booked]:
    """The legs of the traces, once all are in ClickHouse or the time is up."""
    query = (
        "SELECT trace_id, input_tokens + cached_input_tokens, output_tokens + reasoning_tokens, cost_nanos,"
        " price_source = 'pool' AND isNull(cost_nanos)"
        " FROM homeward.leg_costs WHERE has({ids:Array(String)}, trace_id) FORMAT JSONCompact"
    )
    parameters = {"query": query, "param_ids": json.dumps(trace_ids).replace('"', "'")}
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    deadline = time.monotonic() + BOOK_TIMEOUT_S
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        while True:
            async with session.post(url, params=parameters, headers=headers) as response:
                rows = (await response.json(content_type=None))["data"]
            legs = {
                trace_id: Booked(trace_id, _number(asked), _number(made), _number(cost), bool(pending))
                for trace_id, asked, made, cost, pending in rows
            }
            if len(legs) >= len(trace_ids) or time.monotonic() > deadline:
                return legs
            await asyncio.sleep(0.1)


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))


def _whole(document: dict[str, Any]) -> str:
    message = document["choices"][0]["message"]
    calls = [f"{call['function']['name']}(…)" for call in message.get("tool_calls") or ()]
    return message.get("content") or ", ".join(calls)


def _streamed(text: str) -> str:
    pieces: list[str] = []
    for line in text.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                delta = choice["delta"]
                pieces.append(delta.get("content") or "")
                pieces += [call["function"].get("name") or "" for call in delta.get("tool_calls") or ()]
    return "".join(pieces)
