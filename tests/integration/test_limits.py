"""What a key may ask for, and how much of it; and how many requests and connections there may be at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import orjson
import psutil
import pytest
from aiohttp import web
from grpc import StatusCode, aio
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

from tests.support.anthropic_upstream import Received, Recorder
from tests.support.refusals import info_of, retry_of
from tests.support.stack import SECRETS, WAIT_S, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONCURRENT = 4
CONNECTIONS = 20
KEYS = {
    "few-requests": "requests_per_minute = 2",
    "few-requests-by-grpc": "requests_per_minute = 2",
    "few-requests-by-messages": "requests_per_minute = 2",
    "seldom": "requests_per_minute = 0.5",
    "few-tokens": "tokens_per_minute = 30",
    "few-tokens-streamed": "tokens_per_minute = 30",
    "narrow": 'workloads = ["summaries"]',
    "with-default": 'default_workload = "summaries"',
    "with-forgotten-default": 'default_workload = "no-longer-there"',
}
"""Keys and their limits; a key's secret is its name after `hw-`."""

SETTINGS = f"""
[limits]
concurrent_requests = {CONCURRENT}
connections = {CONNECTIONS}
write_timeout_s = 1

[upstreams.torrent]
base_url = "TORRENT"
api_key = "sk-torrent"
provider = "homeward-stand-in"
models = ["torrent"]
""" + "".join(
    f'\n[keys.{name}]\nsha256 = "{hashlib.sha256(f"hw-{name}".encode()).hexdigest()}"\n{limit}\n'
    for name, limit in KEYS.items()
)

TURN = {"role": "user", "content": "Where is my card?"}
CHAT = {"model": "stand-in-mini", "messages": [TURN], "max_tokens": 64}


async def pour(request: web.Request, _received: Received) -> web.StreamResponse:
    """A stream of more than all buffers on its way hold."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    delta = {"index": 0, "delta": {"content": "x" * 65_536}}
    piece = b"data: " + orjson.dumps({"id": "c", "model": "m", "choices": [delta]}) + b"\n\n"
    for _ in range(1024):
        await response.write(piece)
    await response.write(b"data: [DONE]\n\n")
    return response


@pytest.fixture(scope="module")
async def torrent() -> AsyncIterator[Recorder]:
    async with Recorder(pour).running() as running:
        yield running


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, torrent: Recorder) -> AsyncIterator[Stack]:
    """A stack with low limits."""
    settings = SETTINGS.replace("TORRENT", torrent.base_url)
    async with Stack(tmp_path_factory.mktemp("limits"), settings) as running:
        await running.start()
        yield running


class Answer:
    """A status, its headers, and the body."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body, of either shape."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


async def ask(
    stack: Stack,
    key: str = "",
    *,
    path: str = "/chat/completions",
    headers: dict[str, str] | None = None,
    **changes: Any,
) -> Answer:
    """Asks for a chat with a key of KEYS, or the key that has no limits."""
    secret = f"hw-{key}" if key else SECRETS.api_key
    sent = {"Authorization": f"Bearer {secret}", **(headers or {})}
    async with (
        aiohttp.ClientSession(headers=sent) as session,
        session.post(f"{stack.base_url}{path}", json={**CHAT, **changes}) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


async def upstream(stack: Stack) -> dict[str, int]:
    """The upstream's counts."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/stats") as response:
        counts: dict[str, int] = await response.json()
        return counts


def check_refused(answer: Answer, status: int, code: str, longest_s: int) -> None:
    """Checks a refusal that says when to come back."""
    assert (answer.status, answer.error.get("code")) == (status, code), answer.body
    assert 1 <= int(answer.headers["Retry-After"]) <= longest_s


# By key.


async def test_requests_beyond_the_keys_limit_are_refused_and_other_keys_are_not(stack: Stack) -> None:
    before = (await upstream(stack))["requests"]
    for _ in range(2):
        assert (await ask(stack, "few-requests")).status == 200
    refused = await ask(stack, "few-requests")
    check_refused(refused, 429, "rate_limited", 30)
    assert "'few-requests' has used up its requests per minute" in refused.error["message"]
    assert (await ask(stack)).status == 200
    assert (await upstream(stack))["requests"] == before + 3


async def test_the_messages_api_says_it_in_its_own_shape(stack: Stack) -> None:
    answers = [await ask(stack, "few-requests-by-messages", path="/messages") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].error["type"] == "rate_limit_error"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30


async def test_a_key_with_less_than_one_request_a_minute_has_its_first(stack: Stack) -> None:
    assert (await ask(stack, "seldom")).status == 200
    check_refused(await ask(stack, "seldom"), 429, "rate_limited", 120)


@pytest.mark.parametrize(
    ("key", "streamed"), [("few-tokens", False), ("few-tokens-streamed", True)], ids=["whole", "streamed"]
)
async def test_tokens_count_once_their_number_is_known(stack: Stack, key: str, streamed: bool) -> None:
    # Nobody knows beforehand that the first answer takes more than there is.
    first = await ask(stack, key, stream=streamed)
    assert first.status == 200
    refused = await ask(stack, key, stream=streamed)
    check_refused(refused, 429, "rate_limited", 3600)
    assert f"'{key}' has used up its tokens per minute" in refused.error["message"]
    assert (await ask(stack)).status == 200


async def test_the_grpc_door_keeps_to_the_same_limit(stack: Stack) -> None:
    assert (await ask(stack, "few-requests-by-grpc")).status == 200
    await complete(stack, "few-requests-by-grpc")
    with pytest.raises(aio.AioRpcError) as caught:
        await complete(stack, "few-requests-by-grpc")
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
    info, retry = info_of(caught.value), retry_of(caught.value)
    assert info.reason == "RATE_LIMITED"
    assert info.metadata["key"] == "few-requests-by-grpc"
    assert info.metadata["limit"] == "requests_per_minute"
    assert info.metadata["retry_after_s"] == str(retry.retry_delay.seconds)


async def complete(stack: Stack, key: str = "") -> None:
    """Asks at the gRPC door."""
    secret = f"hw-{key}" if key else SECRETS.api_key
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hello")])
    request = router_pb2.CompleteRequest(chat=chat_pb2.Chat(model="stand-in-mini", messages=[message]))
    async with aio.insecure_channel(stack.grpc) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        await stub.Complete(request, metadata=(("authorization", f"Bearer {secret}"),), timeout=WAIT_S)


TRIAGE = [{"role": "system", "content": "You triage tickets."}, TURN]


@pytest.mark.parametrize(
    ("key", "declared", "messages", "workload", "evidence"),
    [
        pytest.param("", "", [TURN], "", "abstained", id="nothing says what it is"),
        pytest.param("", "summaries", [TURN], "summaries", "declared", id="declared"),
        pytest.param("", "", TRIAGE, "ticket-triage", "fingerprint", id="by its system prompt"),
        pytest.param("narrow", "summaries", [TURN], "summaries", "declared", id="declared and allowed"),
        pytest.param("narrow", "", TRIAGE, "", "abstained", id="by a system prompt that is not allowed"),
        pytest.param("with-default", "", [TURN], "summaries", "declared", id="the key's default"),
        pytest.param("with-default", "", TRIAGE, "summaries", "declared", id="the default over the prompt"),
        pytest.param(
            "with-default", "ticket-triage", [TURN], "ticket-triage", "declared", id="declared over default"
        ),
        pytest.param("with-forgotten-default", "", [TURN], "", "abstained", id="a default that is gone"),
    ],
)
async def test_a_request_has_the_workload_that_its_key_may_use(
    stack: Stack, key: str, declared: str, messages: list[Any], workload: str, evidence: str
) -> None:
    headers = {"x-homeward-workload": declared} if declared else {}
    answer = await ask(stack, key, headers=headers, messages=messages)
    assert answer.status == 200, answer.body
    assert answer.headers["x-homeward-workload"] == workload
    assert answer.headers["x-homeward-evidence"] == evidence


@pytest.mark.parametrize(
    ("path", "code", "kind"),
    [
        ("/chat/completions", "workload_forbidden", "permission_error"),
        ("/messages", None, "permission_error"),
    ],
)
async def test_a_workload_that_the_key_may_not_use_is_forbidden(
    stack: Stack, path: str, code: str | None, kind: str
) -> None:
    before = (await upstream(stack))["requests"]
    answer = await ask(stack, "narrow", path=path, headers={"x-homeward-workload": "ticket-triage"})
    assert answer.status == 403, answer.body
    assert (answer.error.get("code"), answer.error["type"]) == (code, kind)
    assert (await upstream(stack))["requests"] == before


# At once.


async def test_a_request_too_many_is_refused_and_the_others_are_answered(stack: Stack) -> None:
    await idle(stack)
    async with asyncio.TaskGroup() as group:
        slow = [
            group.create_task(ask(stack, headers={"x-stand-in-fault": "slow-first=3"}))
            for _ in range(CONCURRENT)
        ]

        async def in_flight() -> bool:
            return (await upstream(stack))["in_flight"] == CONCURRENT

        await until(in_flight, f"{CONCURRENT} requests are with the upstream")
        check_refused(await ask(stack), 503, "overloaded", 1)
        assert (await ask(stack, path="/messages")).error["type"] == "overloaded_error"
        async with aiohttp.ClientSession() as session:
            health = f"http://127.0.0.1:{stack.ports['http']}/healthz"
            async with session.get(health) as response:
                assert response.status == 200
        with pytest.raises(aio.AioRpcError) as caught:
            await complete(stack)
    assert [task.result().status for task in slow] == [200] * CONCURRENT
    assert (await ask(stack)).status == 200
    await complete(stack)
    assert caught.value.code() is StatusCode.UNAVAILABLE
    assert info_of(caught.value).reason == "OVERLOADED"


async def test_applications_that_do_not_read_do_not_keep_their_places(stack: Stack) -> None:
    await idle(stack)
    body = json.dumps({**CHAT, "model": "torrent", "stream": True})
    request = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: homeward\r\n"
        f"Authorization: Bearer {SECRETS.api_key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    async with AsyncExitStack() as opened:
        for _ in range(CONCURRENT):
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
            opened.callback(writer.close)
            writer.write(request.encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
            assert head.startswith(b"HTTP/1.1 200 ")

        legs = await stack.legs(CONCURRENT, "outcome, error_reason", "upstream = 'torrent'")
        assert [tuple(leg.values()) for leg in legs] == [("cancelled", "CANCELLED")] * CONCURRENT

        async def room() -> bool:
            answers = await asyncio.gather(*(ask(stack) for _ in range(CONCURRENT)))
            return {answer.status for answer in answers} == {200}

        await until(room, "all places are free again")
    assert "outside its handler" not in stack.log("router")


async def test_an_application_that_reads_gets_as_long_a_stream_whole(stack: Stack) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {SECRETS.api_key}"}) as session,
        session.post(
            f"{stack.base_url}/chat/completions", json={**CHAT, "model": "torrent", "stream": True}
        ) as response,
    ):
        body = await response.read()
    assert body.count(b"data: ") == 1025
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_connection_too_many_is_told_so_and_there_is_room_when_another_ends(stack: Stack) -> None:
    await idle(stack)
    health = b"GET /healthz HTTP/1.1\r\nHost: homeward\r\n\r\n"
    async with AsyncExitStack() as opened:

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
            opened.callback(writer.close)
            return reader, writer

        async def answer(reader: asyncio.StreamReader) -> Answer:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
            first, *lines = head.decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = await asyncio.wait_for(reader.readexactly(int(headers["Content-Length"])), WAIT_S)
            return Answer(int(first.split()[1]), headers, body)

        held = [await connect() for _ in range(CONNECTIONS)]
        for reader, writer in held:
            writer.write(health)
            assert (await answer(reader)).status == 200

        # It is told without having to ask.
        reader, _ = await connect()
        refused = await answer(reader)
        check_refused(refused, 503, "overloaded", 1)
        assert refused.error["type"] == "server_error"
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""

        # The others go on.
        for reader, writer in held:
            writer.write(health)
            assert (await answer(reader)).status == 200
        held[0][1].close()

        async def room() -> bool:
            reader, writer = await connect()
            writer.write(health)
            try:
                return (await answer(reader)).status == 200
            except (asyncio.IncompleteReadError, ConnectionError):
                return False
            finally:
                writer.close()

        await until(room, "there is room for another connection")


async def idle(stack: Stack) -> None:
    """Waits until nobody is connected to the HTTP door."""
    router = psutil.Process(stack.pid("router"))

    async def nobody() -> bool:
        return not any(
            item.status == psutil.CONN_ESTABLISHED and item.laddr.port == stack.ports["http"]
            for item in router.net_connections("tcp")
        )

    await until(nobody, "nobody is connected")
