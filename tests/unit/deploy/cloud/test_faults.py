"""Each fault as OpenAI's client and as a plain client meet it, and what the stand-in tells of it."""

import asyncio
import base64
import time
from typing import Any

import httpx2
import openai
import orjson
import pytest
from aiohttp import ClientSession
from openai import AsyncOpenAI

from tests.support.stack import until

MODEL = "stand-in-mini"
CALL: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Who are you?"}]}
CHAT = "/v1/chat/completions"


def fault(directives: str) -> dict[str, str]:
    return {"x-stand-in-fault": directives}


async def chat(client: AsyncOpenAI, directives: str, **options: Any) -> Any:
    return await client.chat.completions.create(**CALL, **options, extra_headers=fault(directives))


async def drain(stream: Any, seen: list[Any]) -> None:
    async for item in stream:
        seen.append(item)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_status(client: AsyncOpenAI, status: int, kind: type[openai.APIStatusError]) -> None:
    with pytest.raises(kind) as caught:
        await chat(client, f"status={status},retry-after=7")
    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["server"] == "homeward-stand-in-cloud"


async def test_status_for_the_first_requests_only(client: AsyncOpenAI) -> None:
    patient = client.with_options(max_retries=2)
    answer = await chat(patient, "status=503;times=2;id=one,retry-after=0.01")
    assert answer.choices[0].message.content


async def test_html(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await chat(client, "html")
    assert caught.value.response.headers["content-type"].startswith("text/html")


async def test_garbage(client: AsyncOpenAI, http: ClientSession) -> None:
    with pytest.raises(ValueError):
        await chat(client, "garbage")
    with pytest.raises((ValueError, openai.APIError)):
        await drain(await chat(client, "garbage", stream=True), [])
    async with http.post(CHAT, json=CALL, headers=fault("garbage")) as response:
        assert response.content_type == "application/json"
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(await response.read())


async def test_refuse(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        await chat(client, "refuse")


async def test_cut_body(client: AsyncOpenAI) -> None:
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        await chat(client, "cut-body")


async def test_cut(client: AsyncOpenAI) -> None:
    seen: list[Any] = []
    stream = await chat(client, "cut=3", stream=True)
    with pytest.raises((openai.APIError, httpx2.HTTPError)):
        await drain(stream, seen)
    assert len(seen) == 3


async def test_an_error_within_a_stream(client: AsyncOpenAI) -> None:
    seen: list[Any] = []
    stream = await chat(client, "error-event=2", stream=True)
    with pytest.raises(openai.APIError, match="asked to fail"):
        await drain(stream, seen)
    assert len(seen) == 2
    responses = await client.responses.create(
        model=MODEL, input="Who?", stream=True, extra_headers=fault("error-event=2")
    )
    # OpenAI's client gives this one as an event.
    last: Any = [event async for event in responses][-1]
    assert (last.type, last.code, last.sequence_number) == ("error", "server_error", 2)


async def test_silence(client: AsyncOpenAI) -> None:
    start = time.monotonic()
    arrived = [time.monotonic() - start async for _ in await chat(client, "silence=0.3", stream=True)]
    # That the first piece comes before the silence can't be told on a machine that is slow itself.
    assert len(arrived) > 1
    assert arrived[1] >= 0.3


async def test_slow_first(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        await chat(client.with_options(timeout=0.2), "slow-first=5")
    start = time.monotonic()
    await chat(client, "slow-first=0.3")
    assert time.monotonic() - start >= 0.3


async def test_a_fault_that_cannot_be_read(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(client, "explode")
    assert caught.value.param == "x-stand-in-fault"


async def test_what_arrived_can_be_seen(client: AsyncOpenAI, http: ClientSession) -> None:
    await client.chat.completions.create(**CALL, extra_headers={"x-trace": "abc"})
    last = await (await http.get("/stand-in/last")).json()
    assert (last["method"], last["path"]) == ("POST", CHAT)
    assert last["headers"]["x-trace"] == "abc"
    assert last["headers"]["authorization"] == "[redacted]"
    assert orjson.loads(base64.b64decode(last["body"])) == CALL
    await chat(client, "cut=1", stream=True)

    async def counted() -> bool:
        stats = await (await http.get("/stand-in/stats")).json()
        return bool(stats == {"requests": 2, "in_flight": 0, "cancelled": 0, "completed": 2})

    await until(counted, "both requests are counted as completed")
    reset = await (await http.post("/stand-in/reset")).json()
    assert reset == {"requests": 0, "in_flight": 0, "cancelled": 0, "completed": 0}
    assert await (await http.get("/stand-in/last")).json() == {}


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_is_counted(slow_cloud: str, streamed: bool) -> None:
    async def counts(**expected: int) -> bool:
        async with http.get("/stand-in/stats") as response:
            return expected.items() <= (await response.json()).items()

    async with ClientSession(slow_cloud, headers={"Authorization": "Bearer x"}) as http:
        async with ClientSession(slow_cloud, headers={"Authorization": "Bearer x"}) as leaving:
            request = asyncio.create_task(leaving.post(CHAT, json={**CALL, "stream": streamed}))
            await until(lambda: counts(in_flight=1), "the request is in flight")
            if streamed:
                response = await request
                await response.content.readany()
                response.close()
            else:
                request.cancel()
        gone = {"requests": 1, "in_flight": 0, "cancelled": 1, "completed": 0}
        await until(lambda: counts(**gone), "the client is counted as gone")


async def test_requests_that_are_none(cloud: str) -> None:
    async with ClientSession(cloud) as http:
        for method, path, status in [
            ("POST", CHAT, 401),
            ("GET", "/v1/models", 401),
            ("GET", "/nowhere", 404),
        ]:
            async with http.request(method, path, data=b"{}") as response:
                assert response.status == status
                assert (await response.json())["error"]["type"] == "invalid_request_error"
        named = {"Authorization": "Bearer x"}
        for method, path, body, status in [
            ("POST", CHAT, b"{nonsense", 400),
            ("POST", CHAT, b"[]", 400),
            ("GET", CHAT, b"", 405),
            ("POST", "/v1/models", b"", 405),
            ("GET", "/v1/nothing", b"", 404),
        ]:
            async with http.request(method, path, data=body, headers=named) as response:
                assert response.status == status
                assert response.headers["Server"] == "homeward-stand-in-cloud"
