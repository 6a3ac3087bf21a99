"""Upstreams fail in every way: applications get an answer or a typed error, and the book the truth."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.support.anthropic_upstream import Received, Recorder
from tests.support.stack import SECRETS, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULT = "x-stand-in-fault"
DONE = b"data: [DONE]"
QUESTION = {"role": "user", "content": "Where is my card? It was sent on 2024-05-01 to Ghent."}
UPSTREAM_KEY = "sk-indiscreet-0123456789"
LIMIT_S = 2
"""Every limit on an upstream's silence, here."""
COOLDOWN_S = 3
FAILURES = 5
"""In a row, after which an upstream is left alone."""

# Each name is an upstream with a breaker of its own, so that no test suffers from another's failures.
ISOLATED = (
    "retries",
    "patience",
    "gateway",
    "breaker",
    "breaker-late-cut",
    "breaker-late-cut-body",
    "breaker-late-garbage",
    "first-token",
    "silence",
    "cut",
    "error-event",
    "broken",
    "html",
    "refused",
    "leaver",
    "seeded",
)
# What the first of two upstreams does, and what its leg then says.
FIRST_FAILS: Mapping[str, tuple[str | None, str, int]] = {
    "down": (None, "unreachable", 3),
    "failing": ("status=503", "rejected", 3),
    "refusing": ("refuse", "broken", 3),
    "overdue": ("status=504", "timeout", 3),
    "silent": ("slow-first=30", "timeout", 1),
    "forbidding": ("status=403", "rejected", 1),
    "indiscreet": (None, "rejected", 1),
    "wrong": ("status=400", "rejected", 1),
}
KINDS = ("whole", "streamed")
UPSTREAM = """
[upstreams.{name}]
base_url = "{base_url}"
api_key = "{key}"
provider = "homeward-stand-in"

[models.{name}]
routes = [{{ upstream = "{name}", model = "stand-in-mini" }}]
"""
FALLBACK = """
[models.two-routes-{name}]
routes = [
  {{ upstream = "{name}", model = "stand-in-mini" }},
  {{ upstream = "cloud", model = "stand-in-mini" }},
]
"""
CLAUDE = """
[upstreams.claude]
protocol = "anthropic"
apis = ["messages"]
base_url = "{base_url}"
api_key = "{key}"
"""
THEN_CLAUDE = """
[models.{name}-then-claude]
routes = [
  {{ upstream = "{name}", model = "stand-in-mini" }},
  {{ upstream = "claude", model = "claude-sonnet-4-5" }},
]
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape, complete."""
        error: dict[str, Any] = orjson.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error

    @property
    def last_event(self) -> dict[str, Any]:
        """The payload of a stream's last event."""
        event = self.body.rstrip().split(b"\n\n")[-1]
        line = next(line for line in event.splitlines() if line.startswith(b"data:"))
        document: dict[str, Any] = orjson.loads(line.removeprefix(b"data:"))
        return document


class Application:
    """Sends requests of one trace."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self._stack = stack
        self._session = session
        self.trace_id = os.urandom(16).hex()

    def request(self, model: str, fault: str = "", path: str = "chat/completions", **fields: Any) -> Any:
        """A request to be opened with `async with`."""
        body = {"model": model, **_INPUT[path], **fields}
        headers = {
            "Authorization": f"Bearer {SECRETS.api_key}",
            "traceparent": f"00-{self.trace_id}-00f067aa0ba902b7-01",
            **({FAULT: fault} if fault else {}),
        }
        return self._session.post(f"{self._stack.base_url}/{path}", json=body, headers=headers)

    async def ask(
        self, model: str, fault: str = "", path: str = "chat/completions", **fields: Any
    ) -> Answered:
        """Sends a request and reads its answer, whose HTTP must end as it should."""
        async with self.request(model, fault, path, **fields) as response:
            return Answered(response.status, response.headers, await response.read())

    async def legs(self, count: int) -> list[dict[str, Any]]:
        """The legs of all requests so far."""
        legs = await self._stack.legs(count, where=f"trace_id = '{self.trace_id}'")
        assert len(legs) == count
        return legs

    async def upstream_counts(self) -> dict[str, int]:
        """What the stand-in cloud has had to do."""
        async with self._session.get(f"{self._stack.cloud}/stand-in/stats") as response:
            counts: dict[str, int] = await response.json()
            return counts


_INPUT: Mapping[str, dict[str, Any]] = {
    "chat/completions": {"messages": [QUESTION]},
    "completions": {"prompt": "The card was sent."},
    "responses": {"input": "Where is my card?"},
    "messages": {"messages": [QUESTION], "max_tokens": 50},
}


@pytest.fixture(scope="module")
def dead_url() -> Iterator[str]:
    """The address of a server that is down: its port is taken, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


async def quote_the_key(request: web.Request, _received: Received) -> web.StreamResponse:
    """401 as OpenAI's API words it, but with all of the key."""
    key = request.headers["Authorization"].removeprefix("Bearer ")
    error = {
        "message": f"Incorrect API key provided: {key}.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    return web.json_response({"error": error}, status=401, headers={"WWW-Authenticate": f"Bearer {key}"})


@pytest.fixture(scope="module")
async def indiscreet() -> AsyncIterator[Recorder]:
    async with Recorder(quote_the_key).running() as running:
        yield running


async def answer_and_linger(request: web.Request, _received: Received) -> web.StreamResponse:
    """A whole stream, whose connection then stays open without a word."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    usage = {"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    for data in (orjson.dumps(chunk), orjson.dumps(usage), b"[DONE]"):
        await response.write(b"data: " + data + b"\n\n")
    await asyncio.Event().wait()
    return response


@pytest.fixture(scope="module")
async def lingering() -> AsyncIterator[Recorder]:
    async with Recorder(answer_and_linger).running() as running:
        yield running


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, dead_url: str, indiscreet: Recorder, lingering: Recorder
) -> AsyncIterator[Stack]:
    environment = {
        "HOMEWARD_TIMEOUTS__FIRST_TOKEN_S": str(LIMIT_S),
        "HOMEWARD_TIMEOUTS__SILENCE_S": str(LIMIT_S),
        "HOMEWARD_TIMEOUTS__ANSWER_S": str(LIMIT_S),
        "HOMEWARD_TIMEOUTS__RETRY_MAX_WAIT_S": "2",
        "HOMEWARD_TIMEOUTS__BREAKER_COOLDOWN_S": str(COOLDOWN_S),
        "HOMEWARD_TIMEOUTS__BREAKER_FAILURES": str(FAILURES),
    }
    made = Stack(tmp_path_factory.mktemp("resilience"), **environment)
    addresses = dict.fromkeys(ISOLATED, f"{made.cloud}/v1")
    addresses |= {
        "dead": dead_url,
        "away": dead_url,
        "indiscreet": indiscreet.base_url,
        "lingering": lingering.base_url,
    }
    elsewhere = {"down": dead_url, "indiscreet": indiscreet.base_url}
    firsts = {
        f"first-{name}-{kind}": elsewhere.get(name, f"{made.cloud}/v1")
        for name in FIRST_FAILS
        for kind in KINDS
    }
    with made.settings_file.open("a") as file:
        for name, base_url in {**addresses, **firsts}.items():
            file.write(UPSTREAM.format(name=name, base_url=base_url, key=UPSTREAM_KEY))
        for name in firsts:
            file.write(FALLBACK.format(name=name))
        file.write(CLAUDE.format(base_url=dead_url, key=UPSTREAM_KEY))
        for name in ("seeded", "away"):
            file.write(THEN_CLAUDE.format(name=name))
    async with made as running:
        await running.start()
        yield running


@pytest.fixture(scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def app(stack: Stack, session: aiohttp.ClientSession) -> Application:
    return Application(stack, session)


def times(count: int, fault: str) -> str:
    """A fault that only the next requests meet, those of no other test."""
    return f"{fault};times={count};id={os.urandom(6).hex()}"


# --- retries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["status=503", "status=500", "status=429", "status=408", "html", "refuse"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_call_is_tried_again_until_its_answer_begins(
    app: Application, fault: str, stream: bool
) -> None:
    answered = await app.ask("retries", times(2, fault), stream=stream)
    assert answered.status == 200
    assert DONE in answered.body or not stream
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"], leg["http_status"]) == (3, "ok", 200)


async def test_a_stream_that_ends_before_its_first_byte_is_tried_again(app: Application) -> None:
    answered = await app.ask("retries", times(1, "cut=0"), stream=True)
    assert answered.status == 200
    assert answered.body.rstrip().endswith(DONE)
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"]) == (2, "ok")


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_is_wrong_is_not_tried_again(app: Application, status: int) -> None:
    answered = await app.ask("retries", f"status={status}")
    assert answered.status == status
    assert answered.error["message"] == f"The stand-in cloud was asked to answer {status}."
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"]) == (1, "rejected")


async def test_the_last_answer_comes_back_when_the_tries_are_used_up(app: Application) -> None:
    answered = await app.ask("retries", "status=503")
    assert answered.status == 503
    assert answered.error["message"] == "The stand-in cloud was asked to answer 503."
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"], leg["http_status"]) == (3, "rejected", 503)
    assert (leg["cost_nanos"], leg["error_reason"]) == (0, "UPSTREAM_REJECTED")


@pytest.mark.parametrize(("status", "attempts"), [(504, 3), (524, 1)])
async def test_what_a_call_cost_that_a_gateway_gave_up_is_unknown(
    app: Application, status: int, attempts: int
) -> None:
    answered = await app.ask("gateway", f"status={status}")
    assert answered.status == status
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"], leg["http_status"]) == (attempts, "timeout", status)
    # The server behind it may have generated and may bill for it: unknown is not zero.
    assert (leg["cost_nanos"], leg["error_reason"]) == (None, "UPSTREAM_TIMEOUT")


async def test_what_a_call_cost_that_got_no_answer_is_unknown(app: Application) -> None:
    answered = await app.ask("refused", "refuse")
    assert answered.status == 502
    assert answered.error["code"] == "upstream_broken"
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"], leg["http_status"]) == (3, "broken", 0)
    assert (leg["cost_nanos"], leg["error_reason"]) == (None, "UPSTREAM_BROKEN")


async def test_retry_after_is_waited_for(app: Application, stack: Stack) -> None:
    answered = await app.ask("patience", f"{times(1, 'status=429')},retry-after=1")
    assert answered.status == 200
    (leg,) = await app.legs(1)
    assert leg["attempts"] == 2
    waits: list[Any] = []

    async def traced() -> bool:
        waits[:] = await stack.query(
            "SELECT arrayJoin(Events.Attributes)['wait_s'] FROM otel.otel_traces"
            f" WHERE TraceId = '{app.trace_id}' AND SpanId = '{leg['span_id']}'"
        )
        return bool(waits)

    await until(traced, "the leg's span is written")
    # Without the header the wait would be drawn below retry_base_s, 0.02 s.
    assert [float(wait) for (wait,) in waits] == [1.0]


async def test_a_retry_after_beyond_the_limit_is_the_applications_to_wait_for(app: Application) -> None:
    before = await app.upstream_counts()
    answered = await app.ask("patience", "status=429,retry-after=60")
    assert answered.status == 429
    assert answered.headers["Retry-After"] == "60"
    assert answered.error["code"] == "rate_limit_exceeded"
    (leg,) = await app.legs(1)
    assert (leg["attempts"], leg["outcome"], leg["http_status"]) == (1, "rejected", 429)
    assert (await app.upstream_counts())["requests"] == before["requests"] + 1


# --- another route -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [name for name in FIRST_FAILS if name != "wrong"])
@pytest.mark.parametrize("kind", KINDS)
async def test_another_upstream_serves_what_the_first_can_not(app: Application, how: str, kind: str) -> None:
    fault, outcome, attempts = FIRST_FAILS[how]
    first = f"first-{how}-{kind}"
    model = f"two-routes-{first}"
    answered = await app.ask(model, times(attempts, fault) if fault else "", stream=kind == "streamed")
    assert answered.status == 200
    assert answered.headers["x-homeward-upstream"] == "cloud"
    legs = await app.legs(2)
    assert [leg["upstream"] for leg in legs] == [first, "cloud"]
    assert [leg["outcome"] for leg in legs] == [outcome, "ok"]
    assert [leg["attempts"] for leg in legs] == [attempts, 1]
    assert legs[0]["leg_id"] != legs[1]["leg_id"]
    assert legs[0]["request_id"] == legs[1]["request_id"]
    assert [leg["model_requested"] for leg in legs] == [model, model]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_request_is_not_sent_to_another_upstream(app: Application, kind: str) -> None:
    first = f"first-wrong-{kind}"
    answered = await app.ask(f"two-routes-{first}", FIRST_FAILS["wrong"][0] or "", stream=kind == "streamed")
    assert answered.status == 400
    assert [leg["upstream"] for leg in await app.legs(1)] == [first]


async def test_an_upstream_that_is_down_is_a_typed_error(app: Application) -> None:
    answered = await app.ask("dead")
    assert answered.status == 502
    assert answered.error["code"] == "upstream_unreachable"
    assert answered.error["type"] == "server_error"
    assert "'dead'" in answered.error["message"]


@pytest.mark.parametrize(
    ("first", "fault", "status", "code"),
    [
        ("seeded", "status=429", 429, "rate_limit_exceeded"),
        ("seeded", "status=503", 503, None),
        ("away", "", 502, "upstream_unreachable"),
    ],
)
async def test_what_could_not_be_asked_does_not_hide_what_was_answered(
    app: Application, first: str, fault: str, status: int, code: str | None
) -> None:
    # Anthropic's API has no seed; SDKs try again after the first answer, and not after that.
    answered = await app.ask(f"{first}-then-claude", fault, seed=1)
    assert answered.status == status
    assert code is None or answered.error["code"] == code
    assert [leg["upstream"] for leg in await app.legs(1)] == [first]


# --- the breaker -------------------------------------------------------------------------------------


async def test_a_failing_upstream_is_left_alone_and_then_tried_again(app: Application) -> None:
    for fault in ("status=503", times(FAILURES - 3, "status=503")):
        await app.ask("breaker", fault)
    before = await app.upstream_counts()
    answered = await app.ask("breaker")
    assert answered.status == 503
    assert answered.error["code"] == "breaker_open"
    assert 1 <= int(answered.headers["Retry-After"]) <= COOLDOWN_S
    assert (await app.upstream_counts())["requests"] == before["requests"], "the upstream is not asked"
    leg = (await app.legs(3))[-1]
    assert (leg["outcome"], leg["error_reason"], leg["attempts"]) == ("unreachable", "BREAKER_OPEN", 0)
    assert (leg["http_status"], leg["cost_nanos"]) == (0, 0)
    # Other upstreams of the same server are not concerned.
    assert (await app.ask("retries")).status == 200

    async def served() -> bool:
        return (await app.ask("breaker")).status == 200

    await until(served, "the breaker closes again")
    assert (await app.ask("breaker")).status == 200


@pytest.mark.parametrize("fault", ["cut", "cut-body", "garbage"])
async def test_answers_that_break_off_open_the_breaker_too(app: Application, fault: str) -> None:
    model = f"breaker-late-{fault}"
    directive = "cut=2" if fault == "cut" else fault
    for _ in range(FAILURES):
        answered = await app.ask(model, directive, stream=fault == "cut")
        assert b"upstream_broken" in answered.body
    before = await app.upstream_counts()
    answered = await app.ask(model)
    assert answered.status == 503
    assert answered.error["code"] == "breaker_open"
    assert (await app.upstream_counts())["requests"] == before["requests"]


# --- silence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_answer_that_does_not_begin_is_a_timeout(app: Application, stream: bool) -> None:
    answered = await app.ask("first-token", "slow-first=30", stream=stream)
    assert answered.status == 504
    assert answered.error["code"] == "upstream_timeout"
    assert ("first token" if stream else "answer") in answered.error["message"]
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"]) == ("timeout", "UPSTREAM_TIMEOUT")
    # The upstream may have generated and may bill for it: unknown is not zero.
    assert leg["cost_nanos"] is None


async def test_a_stream_that_falls_silent_ends_with_an_error_event(app: Application) -> None:
    answered = await app.ask("silence", "silence=30", stream=True)
    assert answered.status == 200
    assert answered.body.count(b"data:") == 2, "the first event, and the error"
    assert DONE not in answered.body
    assert answered.last_event["error"]["code"] == "upstream_timeout"
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"]) == ("timeout", "UPSTREAM_TIMEOUT")
    assert leg["usage_source"] == "estimated"


async def test_a_stream_ends_with_its_last_event_even_if_the_connection_stays(app: Application) -> None:
    answered = await app.ask("lingering", stream=True)
    assert answered.body.rstrip().endswith(DONE)
    assert b"error" not in answered.body
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["input_tokens"], leg["output_tokens"]) == ("ok", 3, 1)


# --- broken answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses", "messages"])
async def test_a_stream_that_is_cut_ends_with_an_error_event(app: Application, path: str) -> None:
    answered = await app.ask("cut", "cut=4", path, stream=True)
    assert answered.status == 200
    for ending in (DONE, b"response.completed", b"message_stop"):
        assert ending not in answered.body
    event = answered.last_event
    if path == "messages":
        assert (event["type"], event["error"]["type"]) == ("error", "api_error")
        message = event["error"]["message"]
    elif path == "responses":
        assert (event["type"], event["code"]) == ("error", "upstream_broken")
        message = event["message"]
    else:
        assert event["error"]["type"] == "server_error"
        assert event["error"]["code"] == "upstream_broken"
        message = event["error"]["message"]
    assert "broke off" in message
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"]) == ("broken", "UPSTREAM_BROKEN")
    assert leg["usage_source"] == "estimated"
    assert leg["input_tokens"] > 0
    assert leg["attempts"] == 1


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
async def test_an_error_event_of_the_upstream_passes_once_and_ends_the_stream(
    app: Application, path: str
) -> None:
    answered = await app.ask("error-event", "error-event=4", path, stream=True)
    assert answered.status == 200
    assert answered.body.count(b"asked to fail within the stream") == 1
    assert b"asked to fail within the stream" in orjson.dumps(answered.last_event)
    assert DONE not in answered.body
    assert b"message_stop" not in answered.body
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"]) == ("broken", "UPSTREAM_BROKEN")


@pytest.mark.parametrize("fault", ["garbage", "cut-body"])
@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
async def test_an_answer_that_is_none_is_a_typed_error(app: Application, fault: str, path: str) -> None:
    answered = await app.ask("broken", fault, path)
    assert answered.status == 502
    assert answered.headers["Content-Type"].startswith("application/json")
    assert answered.error["type"] == "server_error"
    assert answered.error["code"] == "upstream_broken"
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"], leg["http_status"]) == ("broken", "UPSTREAM_BROKEN", 200)
    assert leg["cost_nanos"] is None
    assert (await app.ask("broken")).status == 200


async def test_a_stream_that_is_none_ends_with_an_error_event(app: Application) -> None:
    answered = await app.ask("broken", "garbage", stream=True)
    assert b"stand-in garbage" not in answered.body
    assert answered.last_event["error"]["code"] == "upstream_broken"
    assert DONE not in answered.body
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["streamed"]) == ("broken", True)
    assert (await app.ask("broken")).status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_page_of_a_proxy_is_a_typed_error(app: Application, stream: bool) -> None:
    answered = await app.ask("html", "html", stream=stream)
    assert answered.status == 502
    assert answered.headers["Content-Type"].startswith("application/json")
    assert answered.error["type"] == "server_error"
    assert answered.error["code"] == "upstream_rejected"
    assert "answered 502" in answered.error["message"]
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["http_status"], leg["attempts"]) == ("rejected", 502, 3)
    assert (await app.ask("html")).status == 200


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_refusal_of_homewards_own_key_is_not_leaked(
    app: Application, indiscreet: Recorder, path: str, stream: bool
) -> None:
    answered = await app.ask("indiscreet", path=path, stream=stream)
    assert indiscreet.last.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert answered.status == 502, "401 would tell the application that its own key is wrong"
    everything = answered.body + b"".join(value.encode() for value in answered.headers.values())
    assert UPSTREAM_KEY.encode() not in everything
    assert b"Incorrect API key" not in everything
    message = orjson.loads(answered.body)["error"]["message"]
    assert "[upstreams.indiscreet]" in message
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["http_status"]) == ("rejected", 401)
    assert (leg["error_reason"], leg["attempts"]) == ("UPSTREAM_REJECTED", 1)


# --- applications that leave -------------------------------------------------------------------------


async def cancelled_upstream(app: Application, before: Mapping[str, int]) -> None:
    async def reached() -> bool:
        counts = await app.upstream_counts()
        return counts["cancelled"] > before["cancelled"] and not counts["in_flight"]

    await until(reached, "the upstream's call is cancelled")


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
async def test_an_application_that_leaves_in_mid_stream_ends_the_call_upstream(
    app: Application, path: str
) -> None:
    before = await app.upstream_counts()
    # Shorter than the limit on silence, so that nothing else can end the call.
    response = await app.request("leaver", f"silence={LIMIT_S * 0.9}", path, stream=True)
    await response.content.readuntil(b"\n\n")
    response.close()
    await cancelled_upstream(app, before)
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"], leg["http_status"]) == ("cancelled", "CANCELLED", 200)
    assert leg["usage_source"] == "estimated"
    assert leg["input_tokens"] > 0
    assert leg["cost_nanos"] == leg["input_tokens"] * 150 + leg["output_tokens"] * 600


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_application_that_leaves_before_the_answer_ends_the_call_upstream(
    app: Application, stream: bool
) -> None:
    before = await app.upstream_counts()
    asking = asyncio.ensure_future(app.ask("leaver", f"slow-first={LIMIT_S * 0.9}", stream=stream))

    async def busy() -> bool:
        return (await app.upstream_counts())["in_flight"] > 0

    await until(busy, "the upstream has the call")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await cancelled_upstream(app, before)
    (leg,) = await app.legs(1)
    assert (leg["outcome"], leg["error_reason"], leg["http_status"]) == ("cancelled", "CANCELLED", 0)


async def test_applications_that_leave_do_not_count_against_the_upstream(app: Application) -> None:
    for _ in range(FAILURES + 1):
        before = await app.upstream_counts()
        response = await app.request("leaver", f"silence={LIMIT_S * 0.9}", stream=True)
        await response.content.readuntil(b"\n\n")
        response.close()
        await cancelled_upstream(app, before)
    assert (await app.ask("leaver")).status == 200
