"""A server of models as it may answer, over a real connection."""

from __future__ import annotations

import email.utils
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from playbook.doctor.facts import Upstream
from playbook.doctor.read_upstreams import read_upstream

SECRET = "sk-right"
NOW_NS = 1_800_000_000 * 10**9
Ask = Callable[..., Awaitable[Upstream]]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Asks a server that takes one key and lists one model."""
    asked: list[web.Request] = []

    async def models(request: web.Request) -> web.Response:
        asked.append(request)
        headers = {"Date": email.utils.formatdate(NOW_NS / 1e9 + 30, usegmt=True)}
        right = (f"Bearer {SECRET}", SECRET)
        if request.headers.get("Authorization", request.headers.get("x-api-key")) not in right:
            return web.json_response({}, status=401, headers=headers)
        return web.json_response({"data": [{"id": "gpt-4o-mini"}]}, headers=headers)

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("/stolen/models")

    async def stolen(request: web.Request) -> web.Response:
        raise AssertionError("the key was carried to somebody else")

    async def odd(request: web.Request) -> web.Response:
        return web.Response(text="[1, 2")

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.get("/away/models", away)])
    app.add_routes([web.get("/stolen/models", stolen), web.get("/odd/models", odd)])
    async with TestServer(app) as server:

        async def read(path: str, secret: str, **more: Any) -> Upstream:
            upstream = Upstream("openai", "cloud", f"http://127.0.0.1:{server.port}{path}", "us", "set")
            return await read_upstream(upstream, secret, lambda: NOW_NS, **more)

        yield read


async def test_a_key_that_is_right_gets_the_list_and_the_clock(ask: Ask) -> None:
    found = await ask("/v1", SECRET)
    assert (found.status, found.listed, found.problem) == (200, frozenset({"gpt-4o-mini"}), "")
    assert found.clock is not None
    assert abs(found.clock.ahead_s - 30) <= found.clock.error_s + 1e-6


@pytest.mark.parametrize(
    ("path", "secret", "status"),
    [("/v1", "sk-wrong", 401), ("/v1", "", 401), ("", SECRET, 404), ("/away", SECRET, 302)],
    ids=["a wrong key", "no key", "another path", "a redirect"],
)
async def test_what_is_wrong_is_told_apart(ask: Ask, path: str, secret: str, status: int) -> None:
    found = await ask(path, secret)
    assert (found.status, found.listed) == (status, None)


async def test_anthropics_protocol_has_its_own_header(ask: Ask) -> None:
    assert (await ask("/v1", SECRET, anthropic=True)).status == 200


async def test_an_answer_that_is_no_list_is_an_answer(ask: Ask) -> None:
    found = await ask("/odd", SECRET)
    assert (found.status, found.listed) == (200, None)


async def test_a_name_that_nobody_knows_is_told(ask: Ask) -> None:
    upstream = Upstream("gone", "cloud", "http://no-such-host.invalid/v1", "us", "set")
    found = await read_upstream(upstream, SECRET, time.time_ns)
    assert found.status == 0
    assert found.problem
    assert SECRET not in found.problem
