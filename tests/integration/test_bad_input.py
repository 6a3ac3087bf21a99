"""Whatever arrives is answered with a typed error of its door's shape, reaches no upstream, and harms nobody.

What a client sends is written out byte by byte: no HTTP library would send most of it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil
import pytest
from google.protobuf import struct_pb2
from grpc import StatusCode, aio
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

from tests.support.refusals import info_of
from tests.support.stack import SECRETS, WAIT_S, Stack, until

BODY_LIMIT = 65536
SETTINGS = f"""
[limits]
body_bytes = {BODY_LIMIT}
header_timeout_s = 2
body_timeout_s = 2

[keys.lab]
sha256 = "{hashlib.sha256(b"hw-test-lab").hexdigest()}"
scopes = ["experiments"]
"""

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
KEY = f"Authorization: Bearer {SECRETS.api_key}".encode()
LAB_KEY = (("authorization", "Bearer hw-test-lab"),)
"""Metadata with the key that may ask for other purposes than production."""
TURN = {"role": "user", "content": "Where is my card?"}

ANTHROPIC_TYPES = {
    "invalid_request": "invalid_request_error",
    "malformed_json": "invalid_request_error",
    "body_too_large": "request_too_large",
    "model_not_found": "not_found_error",
    "request_timeout": "invalid_request_error",
    "route_not_found": "not_found_error",
    "key_missing": "authentication_error",
    "key_invalid": "authentication_error",
}
"""The type that the Anthropic shape, which has no code, gives to each reason."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with small limits and short time-outs."""
    folder = tmp_path_factory.mktemp("bad-input")
    async with Stack(folder, SETTINGS) as running:
        await running.start()
        yield running


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 is a connection that was closed without a word."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, parsed."""
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)


CLOSED = Answer(0, {}, b"")


def request(
    body: bytes = b"",
    *headers: bytes,
    method: str = "POST",
    path: str = CHAT,
    version: str = "1.1",
    key: bytes | None = KEY,
    length: int | None = None,
) -> bytes:
    """A request as bytes. `length` replaces the Content-Length; -1 leaves it out."""
    lines = [f"{method} {path} HTTP/{version}".encode(), b"Host: homeward"]
    if key is not None:
        lines.append(key)
    if length != -1:
        lines.append(b"Content-Length: %d" % (len(body) if length is None else length))
    return b"\r\n".join((*lines, *headers, b"", body))


def chat(**changes: object) -> bytes:
    """The body of a chat that would be answered but for the changes."""
    document = {"model": "stand-in-mini", "messages": [TURN], "max_tokens": 16, **changes}
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def nested(depth: int) -> Any:
    """Objects in objects."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def chunked(*chunks: bytes) -> bytes:
    """Chunks as they go over the wire, without the end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


CHUNKED = b"Transfer-Encoding: chunked"
GOOD = chat()
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\x00\x02\x13\x01\x01\x00"
CONTENT = b"Where is my card?"
ODD = b"\xff\xfe"

BODIES = {
    "empty": (b"", "malformed_json"),
    "not JSON": (b'{"model": ', "malformed_json"),
    "bad UTF-8": (GOOD.replace(CONTENT, ODD), "malformed_json"),
    "NUL bytes": (bytes(64), "malformed_json"),
    "a NUL byte in a text": (GOOD.replace(CONTENT, b"\0"), "malformed_json"),
    "a lone surrogate": (GOOD.replace(CONTENT, rb"\ud800"), "malformed_json"),
    "NaN": (chat(temperature=float("nan")), "malformed_json"),
    "a number of 5,000 digits": (GOOD.replace(b"16", b"9" * 5000), "malformed_json"),
    "2,000 lists deep": (GOOD.replace(b"16", b"[" * 2000 + b"]" * 2000), "malformed_json"),
    "2,000 objects deep": (
        GOOD.replace(b"16", b'{"a": ' * 2000 + b"1" + b"}" * 2000),
        "malformed_json",
    ),
    "a list": (b"[]", "invalid_request"),
    "a text": (b'"Hello"', "invalid_request"),
    "null": (b"null", "invalid_request"),
    "no model": (chat(model=...), "invalid_request"),
    "an empty model": (chat(model=""), "invalid_request"),
    "a number as model": (chat(model=4), "invalid_request"),
    "an unknown model": (chat(model="gpt-9"), "model_not_found"),
    "a very long model": (chat(model="m" * 60_000), "model_not_found"),
    "no messages": (chat(messages=...), "invalid_request"),
    "empty messages": (chat(messages=[]), "invalid_request"),
    "a text as messages": (chat(messages="Hello"), "invalid_request"),
    "a text as message": (chat(messages=["Hello"]), "invalid_request"),
    "a message without role": (chat(messages=[{"content": "Hello"}]), "invalid_request"),
    "a number as role": (chat(messages=[{**TURN, "role": 1}]), "invalid_request"),
    "a number as content": (chat(messages=[{**TURN, "content": 3}]), "invalid_request"),
    "a text as stream": (chat(stream="yes"), "invalid_request"),
    "a number as stream_options": (chat(stream=True, stream_options=3), "invalid_request"),
    "two models, the last unknown": (
        b'{"model": "stand-in-mini", "model": "gpt-9", ' + chat(model=...)[1:],
        "model_not_found",
    ),
    "two messages, the last wrong": (GOOD[:-1] + b', "messages": 3}', "invalid_request"),
}
"""Bodies that no chat has, and why they are refused; the door of the Messages API refuses them alike."""

STATUSES = {"model_not_found": 404}
"""Of the reasons in BODIES; the others are 400."""

REQUESTS = {
    "no key": (request(GOOD, key=None), 401, "key_missing"),
    "an empty key": (request(GOOD, key=b"Authorization: Bearer "), 401, "key_missing"),
    "a wrong scheme": (request(GOOD, key=b"Authorization: Basic aHc6aHc="), 401, "key_missing"),
    "a key without a scheme": (request(GOOD, key=b"Authorization: hw-test-demo"), 401, "key_missing"),
    "an unknown key": (request(GOOD, key=b"Authorization: Bearer hw-nobody"), 401, "key_invalid"),
    "an unknown x-api-key": (request(GOOD, key=b"x-api-key: hw-nobody"), 401, "key_invalid"),
    "a very long key": (request(GOOD, key=b"Authorization: Bearer " + b"k" * 15_000), 401, "key_invalid"),
    "a key that is not ASCII": (request(GOOD, key=b"Authorization: Bearer " + ODD), 401, "key_invalid"),
    "a hash as key": (
        request(GOOD, key=b"Authorization: Bearer " + SECRETS.api_key_sha256.encode()),
        401,
        "key_invalid",
    ),
    "no key in the Messages API": (request(GOOD, key=None, path=MESSAGES), 401, "key_missing"),
    "an unknown key in the Messages API": (
        request(GOOD, key=b"x-api-key: " + ODD, path=MESSAGES),
        401,
        "key_invalid",
    ),
    "an unknown path": (request(GOOD, path="/v1/chat"), 404, "route_not_found"),
    "an unknown path without a key": (request(GOOD, path="/v1/chat", key=None), 401, "key_missing"),
    "an unknown path of another encoding": (request(path="/v1/%ff%00"), 404, "route_not_found"),
    "a way around": (request(GOOD, path="/v1/../v1/chat/completions"), 404, "route_not_found"),
    "another host's path": (request(b"{", path="http://evil.example" + CHAT), 400, "malformed_json"),
    "GET": (request(method="GET"), 404, "route_not_found"),
    "PUT": (request(GOOD, method="PUT"), 404, "route_not_found"),
    "OPTIONS *": (request(method="OPTIONS", path="*"), 404, "route_not_found"),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 401, "key_missing"),
    "a websocket": (
        request(b"", b"Connection: Upgrade", b"Upgrade: websocket", method="GET"),
        404,
        "route_not_found",
    ),
    "an unknown model's card": (request(method="GET", path="/v1/models/gpt-9"), 404, "model_not_found"),
    "a compressed body": (request(GOOD, b"Content-Encoding: gzip"), 400, "invalid_request"),
    "a compressed body in the Messages API": (
        request(GOOD, b"Content-Encoding: gzip", path=MESSAGES),
        400,
        "invalid_request",
    ),
    "an unknown encoding": (request(GOOD, b"Content-Encoding: " + ODD), 400, "invalid_request"),
    "an unregistered workload": (
        request(GOOD, b"x-homeward-workload: ticket-triag"),
        400,
        "workload_not_found",
    ),
    "a workload that is no text": (request(GOOD, b"x-homeward-workload: " + ODD), 400, "workload_not_found"),
    "a body larger than announced": (request(length=BODY_LIMIT + 1), 413, "body_too_large"),
    "a body far larger than announced": (request(length=10**15), 413, "body_too_large"),
    "a large body in the Messages API": (
        request(length=BODY_LIMIT + 1, path=MESSAGES),
        413,
        "body_too_large",
    ),
    "a large body in chunks": (
        request(chunked(*[b" " * 16_000] * 5), CHUNKED, length=-1),
        413,
        "body_too_large",
    ),
    "a length that is no number": (request(GOOD, b"Content-Length: ten", length=-1), 400, "invalid_request"),
    "a negative length": (request(GOOD, b"Content-Length: -5", length=-1), 400, "invalid_request"),
    "two lengths": (request(GOOD, b"Content-Length: 5"), 400, "invalid_request"),
    "a length and chunks": (request(chunked(GOOD), CHUNKED), 400, "invalid_request"),
    "garbage for a chunk": (request(b"zz\r\nhello\r\n", CHUNKED, length=-1), 400, "invalid_request"),
    "garbage after a chunk": (
        request(chunked(GOOD) + b"zz\r\n", CHUNKED, length=-1),
        400,
        "invalid_request",
    ),
    "an unknown transfer encoding": (
        request(GOOD, b"Transfer-Encoding: magic", length=-1),
        400,
        "invalid_request",
    ),
    "a large header": (request(GOOD, b"x-large: " + b"a" * 20_000), 413, "body_too_large"),
    "a large request line": (request(GOOD, path="/" + "a" * 20_000), 413, "body_too_large"),
    "1,000 headers": (request(GOOD, *[b"x-%d: 1" % i for i in range(1000)]), 400, "invalid_request"),
    "a control character in a header": (request(GOOD, b"x-odd: a\x01b"), 400, "invalid_request"),
    "a folded header": (request(GOOD, b"x-odd: a\r\n b"), 400, "invalid_request"),
    "a space in a header's name": (request(GOOD, b"x odd: a"), 400, "invalid_request"),
    "no host": (b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400, "invalid_request"),
    "bare line feeds": (request(GOOD).replace(b"\r\n", b"\n"), 400, "invalid_request"),
    "a path that is not ASCII": (request(GOOD, path="/v1/kärnten"), 400, "invalid_request"),
    "an unknown method": (request(GOOD, method="FROB"), 400, "invalid_request"),
    "an unknown version": (request(GOOD, version="3.7"), 400, "invalid_request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"),
    "TLS": (TLS_HELLO, 400, "invalid_request"),
    "random bytes": (bytes(range(255, 0, -1)), 400, "invalid_request"),
    "HTTP/1.0 without a key": (request(GOOD, key=None, version="1.0"), 401, "key_missing"),
    "HTTP/1.0 that is not JSON": (request(b"{", version="1.0"), 400, "malformed_json"),
}
"""Requests, the status that each gets, and the error's code."""

TABLE = {
    **{
        f"{name} at {path}": (request(body, path=path), STATUSES.get(code, 400), code)
        for path in (CHAT, MESSAGES)
        for name, (body, code) in BODIES.items()
    },
    **REQUESTS,
}


async def send(stack: Stack, data: bytes, *, then_close: bool = False) -> Answer:
    """Sends bytes on a connection of their own and reads one answer; `then_close` ends our half."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
    try:
        writer.write(data)
        if then_close:
            writer.write_eof()
        return await asyncio.wait_for(receive(reader), WAIT_S)
    finally:
        writer.close()


async def receive(reader: asyncio.StreamReader) -> Answer:
    """One answer."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return CLOSED
    first, *lines = head.decode().split("\r\n")[:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split()[1]), headers, body)


def check_error(answer: Answer, code: str, *, anthropic: bool) -> None:
    """Checks that the answer is an error with that code in the shape of its door."""
    document = answer.document
    if anthropic:
        assert document.keys() == {"type", "error"}
        assert document["type"] == "error"
        assert document["error"].keys() == {"type", "message"}
        assert document["error"]["type"] == ANTHROPIC_TYPES[code]
    else:
        assert document.keys() == {"error"}
        assert document["error"].keys() == {"message", "type", "param", "code"}
        assert document["error"]["code"] == code
    assert document["error"]["message"]


async def upstream_requests(stack: Stack) -> int:
    """How many requests the upstream has seen."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/stats") as response:
        count: int = (await response.json())["requests"]
        return count


@contextmanager
def no_defect(stack: Stack) -> Iterator[None]:
    """Checks that the router logs no defect meanwhile."""
    before = len(stack.log("router"))
    yield
    logged = stack.log("router")[before:]
    assert "a defect" not in logged, logged[-1500:]
    assert "Traceback" not in logged, logged[-1500:]


@asynccontextmanager
async def unseen_upstream(stack: Stack) -> AsyncIterator[None]:
    """Checks that no request reaches the upstream meanwhile, and that the router logs no defect."""
    before = await upstream_requests(stack)
    with no_defect(stack):
        yield
    assert await upstream_requests(stack) == before


async def still_well(stack: Stack) -> None:
    """Checks that a good request is answered."""
    assert (await send(stack, request(method="GET", path="/healthz", key=None))).status == 200
    answer = await send(stack, request(GOOD))
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(("data", "status", "code"), TABLE.values(), ids=TABLE.keys())
async def test_a_bad_request_gets_a_typed_error(stack: Stack, data: bytes, status: int, code: str) -> None:
    async with unseen_upstream(stack):
        answer = await send(stack, data)
    assert answer.status == status, answer.body
    check_error(answer, code, anthropic=f"POST {MESSAGES} ".encode() in data)


async def test_an_unknown_path_has_the_shape_of_the_sdk_that_asks(stack: Stack) -> None:
    answer = await send(stack, request(GOOD, b"anthropic-version: 2023-06-01", path="/v1/complete"))
    assert answer.status == 404
    check_error(answer, "route_not_found", anthropic=True)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(GOOD, length=len(GOOD) + 100), id="in the body"),
        pytest.param(request(chunked(GOOD), CHUNKED, length=-1), id="between chunks"),
        pytest.param(request(GOOD)[:40], id="in the headers"),
        pytest.param(b"", id="before a word"),
    ],
)
async def test_a_connection_that_ends_too_early_is_closed(stack: Stack, data: bytes) -> None:
    async with unseen_upstream(stack):
        answer = await send(stack, data, then_close=True)
    assert answer.status in (0, 400), answer.body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(GOOD, length=len(GOOD) + 100), id="in the body"),
        pytest.param(request(GOOD)[:40], id="in the headers"),
        pytest.param(b"", id="before a word"),
        pytest.param(b"\r\n\r\n", id="after empty lines"),
    ],
)
async def test_a_connection_that_falls_silent_is_told_so_and_closed(stack: Stack, data: bytes) -> None:
    async with unseen_upstream(stack):
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
        writer.write(data)
        answer = await asyncio.wait_for(receive(reader), WAIT_S)
        assert answer.status == 408, answer.body
        check_error(answer, "request_timeout", anthropic=False)
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        writer.close()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(request(b"a" * 4_000_000), id="announced"),
        pytest.param(request(chunked(*[b"a" * 16_000] * 250), CHUNKED, length=-1), id="in chunks"),
    ],
)
async def test_a_client_that_sends_all_before_it_reads_learns_that_it_was_too_much(
    stack: Stack, body: bytes
) -> None:
    statuses = []
    for _ in range(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
        try:
            writer.write(body)
            await writer.drain()
            statuses.append((await asyncio.wait_for(receive(reader), WAIT_S)).status)
        except ConnectionError:
            statuses.append(0)
        finally:
            writer.close()
    assert statuses == [413] * 10


async def test_pipelined_requests_are_answered_in_their_order(stack: Stack) -> None:
    health = request(method="GET", path="/healthz", key=None)
    async with unseen_upstream(stack):
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
        writer.write(request(b"{") + request(path="/nowhere") + request(GOOD, key=None) + health)
        statuses = [(await asyncio.wait_for(receive(reader), WAIT_S)).status for _ in range(4)]
        writer.close()
    assert statuses == [400, 404, 401, 200]


async def test_a_client_that_waits_for_100_continue_gets_it(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
    writer.write(request(b"", b"Expect: 100-continue", length=len(GOOD)))
    interim = await asyncio.wait_for(receive(reader), WAIT_S)
    assert interim.status == 100, interim.body
    writer.write(GOOD)
    assert (await asyncio.wait_for(receive(reader), WAIT_S)).status == 200
    writer.close()


async def test_a_client_that_waits_for_100_continue_need_not_send_what_is_refused(stack: Stack) -> None:
    async with unseen_upstream(stack):
        answer = await send(stack, request(b"", b"Expect: 100-continue", length=BODY_LIMIT + 1))
    assert answer.status == 413


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(GOOD, version="1.0"), id="HTTP/1.0"),
        pytest.param(request(GOOD, b"x-odd: " + ODD), id="a header that is no text"),
        pytest.param(request(GOOD, "x-odd: Kärnten".encode()), id="a header that is not ASCII"),
        pytest.param(request(GOOD, b"traceparent: 00-zz-" + ODD, b"tracestate: ,=,"), id="no trace context"),
        pytest.param(request(GOOD, b"x-homeward-conversation: " + ODD), id="a conversation that is no text"),
        pytest.param(
            request(GOOD, "x-homeward-conversation: Kärnten".encode()), id="a conversation that is not ASCII"
        ),
        pytest.param(request(GOOD, b"x-homeward-conversation: " + b"c" * 9000), id="a long conversation"),
        pytest.param(request(GOOD, b"Content-Type: text/plain"), id="another content type"),
        pytest.param(request(chunked(GOOD[:9], GOOD[9:]) + b"0\r\n\r\n", CHUNKED, length=-1), id="chunks"),
        pytest.param(request(GOOD, b"Content-Encoding: identity"), id="identity"),
        pytest.param(request(GOOD + b" " * (BODY_LIMIT - len(GOOD))), id="as large as may be"),
    ],
)
async def test_an_odd_but_whole_request_is_answered(stack: Stack, data: bytes) -> None:
    with no_defect(stack):
        answer = await send(stack, data)
    assert answer.status == 200, answer.body


DEEP_CALL = {"type": "tool_use", "id": "call-1", "name": "find", "input": nested(400)}
DEEP = {
    "a field that is passed on": (CHAT, {"metadata": nested(400)}),
    "stream options": (CHAT, {"stream": True, "stream_options": {"x": nested(400)}}),
    "a tool to be translated": (MESSAGES, {"tools": [{"name": "find", "input_schema": nested(400)}]}),
    "a call to be translated": (
        MESSAGES,
        {"messages": [TURN, {"role": "assistant", "content": [DEEP_CALL]}, TURN]},
    ),
}
"""Bodies that can be read, but are too deep for some to write."""


@pytest.mark.parametrize(("path", "changes"), DEEP.values(), ids=DEEP.keys())
async def test_what_is_deep_but_readable_is_no_defect(
    stack: Stack, path: str, changes: dict[str, Any]
) -> None:
    with no_defect(stack):
        answer = await send(stack, request(chat(**changes), path=path))
    assert answer.status in (200, 400), answer.body


@pytest.mark.parametrize("models", [("gpt-9", "gpt-4o-mini"), ("gpt-4o-mini", "gpt-4o-mini")])
async def test_the_upstream_is_asked_for_the_model_that_was_routed_whichever_key_it_reads(
    stack: Stack, models: tuple[str, str]
) -> None:
    first, last = (json.dumps(model).encode() for model in models)
    body = b'{"model": ' + first + b', "model": ' + last + b", " + chat(model=...)[1:]
    answer = await send(stack, request(body))
    assert answer.status == 200, answer.body
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/last") as response:
        sent = (await response.json())["body"]
    pairs: list[tuple[str, Any]] = json.loads(base64.b64decode(sent), object_pairs_hook=list)
    assert [value for key, value in pairs if key == "model"] == ["stand-in-mini"] * 2


SLOW = {
    "headers": request(b"", b"x-slow: ")[:-4],
    "a body": request(GOOD, length=50_000),
    "a body in chunks": request(chunked(GOOD) + b"4000\r\n", CHUNKED, length=-1),
}
"""Beginnings of requests that are still good, but go on and on."""


async def drip(stack: Stack, beginning: bytes) -> Answer:
    """Sends a beginning, and then a byte now and then until there is an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["http"])
    answer = asyncio.create_task(receive(reader))
    try:
        writer.write(beginning)
        while not answer.done():
            writer.write(b"a")
            await asyncio.wait([answer], timeout=0.5)
        return await answer
    finally:
        answer.cancel()
        writer.close()


async def test_slow_clients_are_cut_off_and_others_are_answered_meanwhile(stack: Stack) -> None:
    async with unseen_upstream(stack):
        slow = asyncio.gather(*(drip(stack, data) for data in SLOW.values() for _ in range(70)))
        rounds = 0
        while not slow.done():
            await still_well_without_upstream(stack)
            rounds += 1
        answers = await slow
    assert rounds
    for answer in answers:
        assert answer.status in (0, 408)
        if answer.status:
            check_error(answer, "request_timeout", anthropic=False)
    assert any(answer.status == 408 for answer in answers)


async def still_well_without_upstream(stack: Stack) -> None:
    """Checks that requests are answered as always."""
    assert (await send(stack, request(method="GET", path="/healthz", key=None))).status == 200
    assert (await send(stack, request(b"{"))).status == 400


async def test_a_flood_of_bad_requests_leaves_memory_and_files_as_they_were(stack: Stack) -> None:
    router = psutil.Process(stack.pid("router"))
    few = asyncio.Semaphore(50)

    async def one(data: bytes, status: int) -> None:
        async with few:
            try:
                answer = await send(stack, data)
            except ConnectionError:
                answer = CLOSED
        # A client that still sends when it is refused may find its connection reset.
        assert answer.status in (status, 0)

    async def flood() -> None:
        slow = [drip(stack, data) for data in SLOW.values() for _ in range(100)]
        bad = [one(data, status) for data, status, _ in TABLE.values() for _ in range(20)]
        await asyncio.gather(*slow, *bad)

    files = router.num_fds()

    async def closed() -> bool:
        return router.num_fds() <= files + 4

    async with unseen_upstream(stack):
        # The first flood makes the pools as large as such a flood needs; the others must not add to them.
        await flood()
        await until(closed, "the router's connections are closed")
        memory = router.memory_info().rss
        await flood()
        await flood()
        await until(closed, "the router's connections are closed")
    assert router.memory_info().rss - memory < 32 * 2**20
    await still_well(stack)


# The gRPC door.


def question(**changes: Any) -> chat_pb2.Chat:
    """A chat that would be answered but for the changes."""
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hello")])
    return chat_pb2.Chat(**{"model": "stand-in-mini", "messages": [message], **changes})


def sampling(**fields: Any) -> chat_pb2.Chat:
    """A chat with sampling parameters."""
    return question(sampling=chat_pb2.SamplingParameters(**fields))


def message(**fields: Any) -> chat_pb2.Chat:
    """A chat of one message."""
    return question(messages=[chat_pb2.Message(**fields)])


def extra(**fields: Any) -> chat_pb2.Chat:
    """A chat with extra fields."""
    return question(extra_fields=struct(**fields))


def struct(**fields: Any) -> struct_pb2.Struct:
    """A Struct."""
    made = struct_pb2.Struct()
    made.update(fields)
    return made


def tools(*tool: chat_pb2.Tool) -> chat_pb2.Chat:
    """A chat with tools."""
    return question(tools=tool)


USER = chat_pb2.ROLE_USER
TEXT = [chat_pb2.ContentPart(text="Hello")]
WRONG_CHATS = {
    "nothing": (chat_pb2.Chat(), "chat.model"),
    "no messages": (chat_pb2.Chat(model="stand-in-mini"), "chat.messages"),
    "no role": (message(content=TEXT), "chat.messages[0].role"),
    "an unknown role": (message(role=99, content=TEXT), "chat.messages[0].role"),
    "an empty part": (message(role=USER, content=[chat_pb2.ContentPart()]), "chat.messages[0].content[0]"),
    "a tool without an id": (
        message(role=chat_pb2.ROLE_TOOL, content=TEXT),
        "chat.messages[0].tool_call_id",
    ),
    "temperature 5": (sampling(temperature=5), "chat.sampling.temperature"),
    "temperature -1": (sampling(temperature=-1), "chat.sampling.temperature"),
    "temperature NaN": (sampling(temperature=float("nan")), "chat.sampling.temperature"),
    "top_p 0": (sampling(top_p=0), "chat.sampling.top_p"),
    "top_p 2": (sampling(top_p=2), "chat.sampling.top_p"),
    "n 0": (sampling(n=0), "chat.sampling.n"),
    "n 17": (sampling(n=17), "chat.sampling.n"),
    "max_tokens 0": (sampling(max_tokens=0), "chat.sampling.max_tokens"),
    "frequency_penalty 3": (sampling(frequency_penalty=3), "chat.sampling.frequency_penalty"),
    "presence_penalty -3": (sampling(presence_penalty=-3), "chat.sampling.presence_penalty"),
    "5 stops": (sampling(stop=list("abcde")), "chat.sampling.stop"),
    "129 tools": (tools(*(chat_pb2.Tool(name=f"tool-{i}") for i in range(129))), "chat.tools"),
    "no format": (
        question(response_format=chat_pb2.ResponseFormat()),
        "chat.response_format.format",
    ),
    "a repeated field": (extra(temperature=1), "chat.extra_fields.temperature"),
    "its own stream": (extra(stream=True), "chat.extra_fields.stream"),
    "an infinite extra field": (extra(x=float("inf")), "chat"),
    "an infinite number in a tool": (
        tools(chat_pb2.Tool(name="find", parameters=struct(x=float("nan")))),
        "chat",
    ),
}
"""Chats that break a sentence of `chat.proto`, and the field that the error names, or one above it."""


@asynccontextmanager
async def router_stub(stack: Stack) -> AsyncIterator[router_pb2_grpc.RouterServiceStub]:
    """A client of the gRPC door."""
    async with aio.insecure_channel(stack.grpc) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)


async def complete(stub: router_pb2_grpc.RouterServiceStub, asked: chat_pb2.Chat, *, streamed: bool) -> None:
    """Asks, and waits for the end of the answer."""
    if streamed:
        request = router_pb2.CompleteStreamRequest(chat=asked)
        async for _ in stub.CompleteStream(request, metadata=LAB_KEY):
            pass
    else:
        await stub.Complete(router_pb2.CompleteRequest(chat=asked), metadata=LAB_KEY)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("wrong", "field"), WRONG_CHATS.values(), ids=WRONG_CHATS.keys())
async def test_a_chat_that_breaks_the_contract_is_an_invalid_argument(
    stack: Stack, wrong: chat_pb2.Chat, field: str, streamed: bool
) -> None:
    async with unseen_upstream(stack), router_stub(stack) as stub:
        with pytest.raises(aio.AioRpcError) as caught:
            await complete(stub, wrong, streamed=streamed)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT, caught.value.details()
    info = info_of(caught.value)
    assert (info.domain, info.reason) == ("homeward", "INVALID_REQUEST")
    assert f"{info.metadata['field']}.".startswith(f"{field}.")


@pytest.mark.parametrize(
    "routing",
    [
        pytest.param(router_pb2.Routing(purpose=99), id="an unknown purpose"),
        pytest.param(router_pb2.Routing(purpose=2, target=99), id="an unknown target"),
        pytest.param(router_pb2.Routing(target=1), id="a target in production"),
        pytest.param(router_pb2.Routing(sample_id=bytes(16)), id="a sample in production"),
    ],
)
async def test_a_routing_that_breaks_the_contract_is_an_invalid_argument(
    stack: Stack, routing: router_pb2.Routing
) -> None:
    async with unseen_upstream(stack), router_stub(stack) as stub:
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Complete(
                router_pb2.CompleteRequest(chat=question(), routing=routing), metadata=LAB_KEY
            )
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert info_of(caught.value).reason == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param((), "KEY_MISSING", id="none"),
        pytest.param((("authorization", ""),), "KEY_MISSING", id="empty"),
        pytest.param((("authorization", "Basic aHc6aHc="),), "KEY_MISSING", id="another scheme"),
        pytest.param((("authorization", "Bearer hw-nobody"),), "KEY_INVALID", id="unknown"),
        pytest.param((("authorization", "Bearer " + "k" * 6000),), "KEY_INVALID", id="very long"),
    ],
)
async def test_a_call_without_a_good_key_is_unauthenticated(
    stack: Stack, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    async with unseen_upstream(stack), router_stub(stack) as stub:
        for call in (
            stub.Complete(router_pb2.CompleteRequest(chat=question()), metadata=metadata),
            stub.ListModels(router_pb2.ListModelsRequest(), metadata=metadata),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is StatusCode.UNAUTHENTICATED
            assert info_of(caught.value).reason == reason


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(extra(x=1e300), id="a number beyond 64 bits"),
        pytest.param(extra(stream_options=3), id="stream options that are none"),
        pytest.param(
            question(extra_fields=struct_pb2.Struct(fields={"x": struct_pb2.Value()})), id="an empty value"
        ),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_odd_extra_fields_are_no_defect(stack: Stack, odd: chat_pb2.Chat, streamed: bool) -> None:
    with no_defect(stack):
        async with router_stub(stack) as stub:
            try:
                await complete(stub, odd, streamed=streamed)
            except aio.AioRpcError as error:
                # It is for the upstream to judge what Homeward does not know.
                assert info_of(error).reason in ("INVALID_REQUEST", "UPSTREAM_REJECTED")  # noqa: PT017


async def test_a_message_larger_than_the_limit_is_refused_and_the_door_stays_open(stack: Stack) -> None:
    large = router_pb2.CompleteRequest(chat=question(model="m" * (35 * 2**20)))
    async with unseen_upstream(stack), router_stub(stack) as stub:
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Complete(large, metadata=LAB_KEY)
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.ListModels(router_pb2.ListModelsRequest(), metadata=LAB_KEY)).models


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(GOOD), id="HTTP/1.1"),
        pytest.param(TLS_HELLO, id="TLS"),
        pytest.param(bytes(range(255, 0, -1)) * 100, id="random bytes"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500, id="HTTP/2 and then garbage"),
    ],
)
async def test_garbage_at_the_grpc_port_closes_that_connection_and_no_other(
    stack: Stack, data: bytes
) -> None:
    async with unseen_upstream(stack), router_stub(stack) as stub:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["grpc"])
            writer.write(data)
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), WAIT_S)
            writer.close()
        assert (await stub.ListModels(router_pb2.ListModelsRequest(), metadata=LAB_KEY)).models


async def test_bytes_that_are_no_message_are_refused(stack: Stack) -> None:
    before = await upstream_requests(stack)
    async with aio.insecure_channel(stack.grpc) as channel:
        call = channel.unary_unary("/homeward.router.v1.RouterService/Complete")
        for data in (b"\xff" * 64, bytes(range(1, 256)), b"\x0a\xff\xff\xff\x7f"):
            with pytest.raises(aio.AioRpcError) as caught:
                await call(data, metadata=LAB_KEY)
            assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        await router_pb2_grpc.RouterServiceStub(channel).ListModels(
            router_pb2.ListModelsRequest(), metadata=LAB_KEY
        )
    assert await upstream_requests(stack) == before


async def test_an_unknown_method_is_unimplemented(stack: Stack) -> None:
    async with aio.insecure_channel(stack.grpc) as channel:
        for path in (
            "/homeward.router.v1.RouterService/Forget",
            "/homeward.router.v9.RouterService/Complete",
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", metadata=LAB_KEY)
            assert caught.value.code() is StatusCode.UNIMPLEMENTED
