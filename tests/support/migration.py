"""A workload that moves home in seconds, for tests: settings, real requests, and where it stands.

"Home" is the stand-in cloud under another name, so that both answer alike: parity is true.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from grpc import aio
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc
from openai import AsyncOpenAI, OpenAIError

from tests.support.stack import ROOT, SECRETS, Stack

WORKLOAD = "voice-domain"
MODEL = "mover"
WINDOW_S, WATERMARK_S = 2, 10
# A busy machine takes seconds for an answer, and what is late is a vote against.

_PROMPT = json.loads((ROOT / "data/workloads/prompts.json").read_text())[WORKLOAD]["json"]

PARITY = f"""
[upstreams.home]
target = "sovereign"
base_url = "http://127.0.0.1:{{cloud}}/v1"
api_key = "sk-home"
provider = "homeward-home"
region = "eu"
models = ["home-*"]

[models.{MODEL}]
routes = [
  {{{{ upstream = "cloud", model = "stand-in-mini" }}}},
  {{{{ upstream = "home", model = "stand-in-mini" }}}},
]

[workloads.{WORKLOAD}]
owner = "assistant"
task_type = "classification"
system_prompts = ["{_PROMPT["system"]}"]

[workloads.{WORKLOAD}.cutover]
approval = "none"
step_s = 1
step_requests = 3
"""


def parity_stack(folder: Path, **environment: str) -> Stack:
    """A stack, not yet started, with one workload whose sovereign target is as good as the cloud."""
    stack = Stack(folder, **environment)
    with stack.settings_file.open("a") as settings:
        settings.write(PARITY.format(**stack.ports))
    return stack


class Traffic:
    """Applications that ask and ask, by OpenAI's SDK with its own retries."""

    def __init__(self, stack: Stack, callers: int) -> None:
        """`callers` ask side by side."""
        # Six tries, up to eight seconds apart: a router that is killed comes back in two.
        self._client = AsyncOpenAI(base_url=stack.base_url, api_key=SECRETS.api_key, max_retries=6)
        rows = json.loads((ROOT / "data/workloads/clinc150_full.json").read_text())["test"]
        # In the file they stand by intent; one after the other would be no traffic.
        self._texts = itertools.cycle(random.Random(1).sample([text for text, _ in rows], 500))
        self.answered: list[str] = []
        """The target of each answer, in their order."""
        self.failed: list[str] = []
        self._callers = [asyncio.create_task(self._ask()) for _ in range(callers)]

    async def _ask(self) -> None:
        while True:
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=MODEL,
                    messages=[
                        {"role": "system", "content": _PROMPT["system"]},
                        {"role": "user", "content": next(self._texts)},
                    ],
                    response_format=_PROMPT["response_format"],
                )
                self.answered.append(raw.headers["x-homeward-target"])
            except OpenAIError as error:
                self.failed.append(repr(error))

    async def close(self) -> None:
        """Ends the callers; what they have asked is no failure."""
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        await self._client.close()


async def register(stack: Stack, **changed: Any) -> shadow_pb2.Experiment:
    """Begins the comparison of the workload."""
    fields: dict[str, Any] = {
        "workload": WORKLOAD,
        "scorer": "exact_match@1",
        "margin": 0.2,
        "alpha": 0.1,
        "window": Duration(seconds=WINDOW_S),
        "watermark": Duration(seconds=WATERMARK_S),
        "min_windows": 2,
        "rate_ppm": 1_000_000,
        "reverse_rate_ppm": 1_000_000,
        "cluster_by": "conversation",
    }
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['shadow']}") as channel:
        response = await shadow_pb2_grpc.ShadowServiceStub(channel).RegisterExperiment(
            shadow_pb2.RegisterExperimentRequest(
                request_id=os.urandom(16), experiment=shadow_pb2.Experiment(**{**fields, **changed})
            ),
            wait_for_ready=True,
        )
    return response.experiment


async def migration(stack: Stack) -> shadow_pb2.Migration | None:
    """Where the workload stands; None while shadow is away."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['shadow']}") as channel:
        try:
            response = await shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
                shadow_pb2.ListMigrationsRequest(workload=WORKLOAD), timeout=5
            )
        except aio.AioRpcError:
            return None
    return response.migrations[0] if response.migrations else None
