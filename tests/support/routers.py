"""Several routers before one ledger, each with ports of its own, as on several machines; and who answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiohttp

from deploy.local.ports import free_ports
from tests.support.stack import SECRETS, Stack, until

MODEL = "assistant"
SETTINGS = """
[upstreams.home]
target = "sovereign"
base_url = "{home}"
api_key = "sk-home-secret"
models = ["some-open-model"]

[models.assistant]
routes = [
  {{ upstream = "home", model = "some-open-model" }},
  {{ upstream = "cloud", model = "stand-in-mini" }},
]
"""
"""A model that both targets serve; `home` is the base URL of the sovereign one."""
PARTS = ("clickhouse", "ledger", "classifier", "stand-in-cloud", "router")
"""What such a stack needs."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Which target answered a request, and under which policy."""

    status: int
    target: str
    policy_version: int


@dataclass(frozen=True, slots=True)
class Router:
    """A router process of a stack."""

    name: str
    base_url: str
    """Of the OpenAI-compatible door, with /v1."""

    async def ask(self, session: aiohttp.ClientSession, workload: str) -> Answered:
        """A short request of a workload, answered."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        async with session.post(
            f"{self.base_url}/chat/completions", json=body, headers=headers(workload)
        ) as response:
            await response.read()
            return answered(response)


async def start_routers(stack: Stack, count: int) -> list[Router]:
    """Starts so many routers, the stack's own one being the first; its parts must have been built."""
    await stack.start("router")
    routers = [Router("router", stack.base_url)]
    for index in range(1, count):
        http, grpc = free_ports(2)
        own = {
            "HOMEWARD_ROUTER__HTTP": f"127.0.0.1:{http}",
            "HOMEWARD_ROUTER__GRPC": f"127.0.0.1:{grpc}",
            "HOMEWARD_ROUTER__INDEX": str(index),
        }
        first, name = stack.parts["router"], f"router-{index}"
        stack.parts[name] = replace(first, name=name, environment={**first.environment, **own})
        router = Router(name, f"http://127.0.0.1:{http}/v1")
        await start(stack, router)
        routers.append(router)
    return routers


async def start(stack: Stack, router: Router) -> None:
    """Starts a router again, and waits until it listens."""
    await stack.start(router.name)

    async def well() -> bool:
        # The part's own probe asks the first router.
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{router.base_url.removesuffix('/v1')}/healthz") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await until(well, f"{router.name} is well")


def headers(workload: str) -> Mapping[str, str]:
    """What an application sends with a request of a workload."""
    return {"Authorization": f"Bearer {SECRETS.api_key}", "x-homeward-workload": workload}


def answered(response: aiohttp.ClientResponse) -> Answered:
    """What the headers of an answer tell."""
    return Answered(
        response.status,
        response.headers.get("x-homeward-target", ""),
        int(response.headers.get("x-homeward-policy-version", 0)),
    )
