"""A stand-in cloud in the tests' process, and OpenAI's own client for it."""

import os
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from openai import AsyncOpenAI

from deploy.local.cloud.__main__ import start
from deploy.local.cloud.pace import Pace

# As the stand-in's own process has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

TEXT = (
    "Homeward moves workloads home from the cloud. A workload is a named class of requests. "
    "The router sends each request of a workload to the cloud or home. It rained on Tuesday. "
    "The ledger books each request of a workload. A canary sends a share of the requests home. "
    "Cats are fond of boxes. The shadow repeats requests at home and compares the answers. "
    "A workload that has been proven goes home. Nobody has seen the boat since."
)


@pytest.fixture
def text() -> str:
    return TEXT


@pytest.fixture
async def cloud() -> AsyncIterator[str]:
    """Its address, without a path."""
    runner, port = await start(Pace(0))
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def slow_cloud() -> AsyncIterator[str]:
    """One that answers as slowly as the published medians, and so can be left in the middle."""
    runner, port = await start(Pace(1))
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def client(cloud: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{cloud}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
async def http(cloud: str) -> AsyncIterator[ClientSession]:
    async with ClientSession(cloud, headers={"Authorization": "Bearer any"}) as session:
        yield session
