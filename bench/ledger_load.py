"""Sends legs to a ledger as fast as it takes them: `python -m bench.ledger_load ADDRESS LEGS CALLERS`.

Calls are serialised beforehand; each time one is sent its legs get ids of their own. So what is measured is
the ledger, not the making of legs. Prints a JSON object: when each call was answered, and how often the
ledger said that it is full.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2, usage_pb2, workload_pb2
from homeward.ledger.v1 import ledger_pb2
from numpy.typing import NDArray

CALL_LEGS = 2_000
"""As many as a router sends at once."""
CALLS = 24
"""Different calls that are sent again and again, with new ids."""
POOL_UPSTREAM = "home"
METHOD = "/homeward.ledger.v1.LedgerService/Record"
PAUSE_S = 0.2
"""Before a call that found the spool full comes again."""

MODELS = (
    ("openai", "gpt-4o-mini", 30),
    ("openai", "gpt-4o", 12),
    ("openai", "o4-mini", 8),
    ("anthropic", "claude-sonnet-4-5", 14),
    ("anthropic", "claude-haiku-4-5", 8),
    ("google", "gemini-2.5-pro", 6),
    ("deepseek", "deepseek-chat", 4),
    ("mistral", "mistral-large-latest", 3),
    ("nobody", "a-model-that-no-list-has", 1),
    ("homeward-home", "small-llama", 14),
)
"""Provider, model, and how many of a hundred legs."""
WORKLOADS = ("", "ticket-triage", "summaries", "bank-intent", "voice-domain", "minutes", "search", "code")
PURPOSES = (leg_pb2.PURPOSE_PRODUCTION,) * 17 + (
    leg_pb2.PURPOSE_SHADOW,
    leg_pb2.PURPOSE_NOISE,
    leg_pb2.PURPOSE_JUDGE,
)


def leg(rng: random.Random, now_s: int) -> leg_pb2.Leg:
    """A leg as a router makes it."""
    provider, model, _ = rng.choices(MODELS, [share for _, _, share in MODELS])[0]
    home = provider == "homeward-home"
    made = leg_pb2.Leg(
        leg_id=bytes(16),
        request_id=bytes(16),
        trace_id=bytes(16),
        span_id=bytes(8),
        workload=rng.choice(WORKLOADS),
        evidence=rng.choice(list(workload_pb2.Evidence.values())),
        task_type=rng.choice(list(workload_pb2.TaskType.values())),
        key_name=f"team-{rng.randrange(20)}",
        purpose=rng.choice(PURPOSES),
        target=leg_pb2.TARGET_SOVEREIGN if home else leg_pb2.TARGET_CLOUD,
        upstream=POOL_UPSTREAM if home else provider,
        provider=provider,
        region="eu",
        model_requested=model,
        model=model,
        api="messages" if provider == "anthropic" else "chat.completions",
        streamed=rng.random() < 0.6,
        latency_us=rng.randrange(100_000, 20_000_000),
        ttft_us=rng.randrange(50_000, 900_000),
        outcome=leg_pb2.OUTCOME_OK,
        http_status=200,
        attempts=1,
        policy_version=12,
    )
    made.start_time.FromMilliseconds(now_s * 1000 + rng.randrange(1000))
    chance = rng.random()
    if chance < 0.02:
        made.outcome, made.http_status, made.error_reason = leg_pb2.OUTCOME_REJECTED, 429, "UPSTREAM_REJECTED"
        made.ClearField("ttft_us")
        made.usage.source = usage_pb2.USAGE_SOURCE_UNKNOWN
    elif chance < 0.03:
        made.outcome = leg_pb2.OUTCOME_CANCELLED
        made.usage.source = usage_pb2.USAGE_SOURCE_UNKNOWN
    else:
        made.usage.CopyFrom(
            usage_pb2.Usage(
                input_tokens=rng.randrange(20, 6000),
                cached_input_tokens=rng.choice((0, 0, 1024, 4096)),
                cache_write_tokens=rng.choice((0, 2000)) if provider == "anthropic" else 0,
                output_tokens=rng.randrange(1, 1500),
                reasoning_tokens=rng.randrange(3000) if model.startswith("o4") else 0,
                source=usage_pb2.USAGE_SOURCE_UPSTREAM,
            )
        )
    return made


@dataclass(slots=True)
class Call:
    """A serialised RecordRequest whose ids can be replaced."""

    data: NDArray[np.uint8]
    leg_ids: NDArray[np.int64]
    """Where each leg's id begins; the ids of the request, the trace and the span follow it."""

    @staticmethod
    def of(legs: Sequence[leg_pb2.Leg]) -> Call:
        """The call that records some legs."""
        data = ledger_pb2.RecordRequest(legs=legs).SerializeToString()
        starts, at = [], 0
        for item in legs:
            body = item.SerializeToString()
            at = data.index(body, at)
            starts.append(at + 2)
            at += len(body)
        return Call(np.frombuffer(data, np.uint8).copy(), np.array(starts))

    def renewed(self, rng: np.random.Generator) -> bytes:
        """The call with new legs."""
        size = len(self.leg_ids)
        for offset, width in ((0, 16), (18, 16), (36, 16), (54, 8)):
            where = self.leg_ids[:, None] + offset + np.arange(width)
            self.data[where] = rng.integers(0, 256, (size, width), dtype=np.uint8)
        # A UUIDv7 begins with the time.
        clock = np.frombuffer((time.time_ns() // 1_000_000).to_bytes(6, "big"), np.uint8)
        self.data[self.leg_ids[:, None] + np.arange(6)] = clock
        return self.data.tobytes()


async def send(address: str, legs: int, callers: int) -> dict[str, object]:
    """Sends so many legs; each caller has one call under way, as a router has."""
    rng = random.Random(5)
    now_s = int(time.time())
    calls = [Call.of([leg(rng, now_s) for _ in range(CALL_LEGS)]) for _ in range(CALLS)]
    fresh = np.random.default_rng()
    left = legs // CALL_LEGS
    answered_us: list[int] = []
    refused = 0

    async def caller(channel: aio.Channel, number: int) -> None:
        nonlocal left, refused
        record: Any = channel.unary_unary(METHOD, response_deserializer=ledger_pb2.RecordResponse.FromString)
        while left > 0:
            left -= 1
            data = calls[(left + number) % CALLS].renewed(fresh)
            while True:
                try:
                    response = await record(data)
                    break
                except aio.AioRpcError as error:
                    if error.code() is not StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    refused += 1
                    await asyncio.sleep(PAUSE_S)
            assert response.booked_count == CALL_LEGS
            answered_us.append(time.time_ns() // 1000)

    began_us = time.time_ns() // 1000
    async with aio.insecure_channel(address) as channel:
        await asyncio.gather(*(caller(channel, number) for number in range(callers)))
    return {"began_us": began_us, "answered_us": answered_us, "refused": refused}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
