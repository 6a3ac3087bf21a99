"""Servers of models that tests look into: one that keeps what arrives, and one that speaks Anthropic's API.

Both are real HTTP servers on a free port of this process. They must be used on the event loop that started
them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """A request, byte by byte."""

    path: str
    """With the query."""
    raw_headers: tuple[tuple[bytes, bytes], ...]
    """In their order and spelling."""
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name."""
        return {name.decode().lower(): value.decode() for name, value in self.raw_headers}

    @property
    def document(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def wire(self) -> bytes:
        """All that arrived: what must not be in here has not been sent."""
        return b"\n".join((self.path.encode(), *(b": ".join(pair) for pair in self.raw_headers), self.body))


class Recorder:
    """Keeps every request, and answers as `respond` says."""

    def __init__(
        self, respond: Callable[[web.Request, Received], Awaitable[web.StreamResponse]] | None = None
    ) -> None:
        self.requests: list[Received] = []
        self.base_url = ""
        """With /v1, once it listens."""
        self._respond = respond

    @property
    def last(self) -> Received:
        """The request that came last."""
        return self.requests[-1]

    async def respond(self, request: web.Request, received: Received) -> web.StreamResponse:
        """Answers one request."""
        assert self._respond is not None
        return await self._respond(request, received)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """Listens while the context is open."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/v1/{rest:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(request.raw_path, request.raw_headers, await request.read())
        self.requests.append(received)
        return await self.respond(request, received)


KEY = "sk-ant-upstream"
USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3000,
    "output_tokens": 7,
}
"""What every answer reports."""
REQUEST_ID = "req_stand_in_anthropic"
WITHHELD = "How do I make a virus?"
"""What it does not answer."""
THINKING_TOKENS = 2
"""Those of the output's tokens that go into thinking, if the request asks for thinking."""


class AnthropicUpstream(Recorder):
    """Speaks the Messages API: whole answers, streams, tools and errors (docs.anthropic.com/en/api).

    It calls the tool that it is told to, or the first that it is offered unless the last turn has a tool's
    result, and else repeats what was said; it refuses what is WITHHELD. What it sends is kept in `sent`.
    """

    def __init__(self, dated: str = "") -> None:
        """`dated` is put behind the model's name in answers, as Anthropic does with its aliases."""
        super().__init__()
        self.sent = b""
        """The body of the last answer, all events joined."""
        self._dated = dated

    async def respond(self, request: web.Request, received: Received) -> web.StreamResponse:
        """Answers one request."""
        refusal = _refusal(request, received)
        if refusal is not None:
            self.sent = orjson.dumps(refusal[1])
            return web.Response(body=self.sent, status=refusal[0], content_type="application/json")
        document = received.document
        message: dict[str, Any] = {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": f"{document['model']}{self._dated}",
            "content": _content(document),
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": dict(USAGE),
        }
        if document.get("thinking"):
            message["usage"]["output_tokens_details"] = {"thinking_tokens": THINKING_TOKENS}
        if not message["content"]:
            message["stop_reason"] = "refusal"
        elif message["content"][0]["type"] == "tool_use":
            message["stop_reason"] = "tool_use"
        headers = {"request-id": REQUEST_ID}
        if not document.get("stream"):
            # Spaces that no serialiser of ours would write: an answer that is unchanged still has them.
            self.sent = orjson.dumps(message, option=orjson.OPT_INDENT_2)
            return web.Response(body=self.sent, content_type="application/json", headers=headers)
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.sent = b""
        for event in _events(message):
            piece = b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
            self.sent += piece
            await response.write(piece)
        return response


def _refusal(request: web.Request, received: Received) -> tuple[int, dict[str, Any]] | None:
    def error(status: int, kind: str, message: str) -> tuple[int, dict[str, Any]]:
        body = {"type": kind, "message": message}
        return status, {"type": "error", "error": body, "request_id": REQUEST_ID}

    if request.method != "POST" or request.path != "/v1/messages":
        return error(404, "not_found_error", f"Not found: {request.path}")
    if request.headers.get("x-api-key") != KEY:
        return error(401, "authentication_error", "invalid x-api-key")
    if not request.headers.get("anthropic-version"):
        return error(400, "invalid_request_error", "anthropic-version: header is required")
    document = received.document
    for field in ("model", "max_tokens", "messages"):
        if field not in document:
            return error(400, "invalid_request_error", f"{field}: Field required")
    if document["max_tokens"] < 1:
        return error(400, "invalid_request_error", "max_tokens: must be at least 1")
    if not 0 <= document.get("temperature", 1) <= 1:
        return error(400, "invalid_request_error", "temperature: range: 0..1")
    for index, turn in enumerate(document["messages"]):
        if turn["role"] not in ("user", "assistant", "system") or (turn["role"] == "system" and not index):
            return error(400, "invalid_request_error", f"messages.{index}.role: unexpected")
        if any(block.get("text") == "" for block in _blocks(turn)):
            return error(400, "invalid_request_error", f"messages.{index}: text blocks must be non-empty")
    for index, tool in enumerate(document.get("tools", ())):
        custom = tool.get("type") in (None, "custom")
        if custom and tool.get("input_schema", {}).get("type") != "object":
            return error(400, "invalid_request_error", f"tools.{index}.input_schema.type: Field required")
    return None


def _blocks(turn: dict[str, Any]) -> list[dict[str, Any]]:
    content = turn["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _content(document: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = _blocks(document["messages"][-1])
    results = [block for block in blocks if block["type"] == "tool_result"]
    choice = document.get("tool_choice", {})
    if document.get("tools") and not results and choice.get("type") != "none":
        name = choice.get("name", document["tools"][0]["name"])
        return [{"type": "tool_use", "id": "toolu_01", "name": name, "input": {"city": "Bruges"}}]
    said = " ".join(block["text"] for block in blocks if block["type"] == "text")
    if said == WITHHELD:
        return []
    found = " ".join(str(block.get("content")) for block in results)
    return [{"type": "text", "text": f"You said: {said or found}"}]


def _events(message: dict[str, Any]) -> list[dict[str, Any]]:
    usage = message["usage"]
    started = {**message, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    ended = {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {name: value for name, value in usage.items() if name.startswith("output")},
    }
    return [
        {"type": "message_start", "message": started},
        *(event for block in message["content"] for event in _block_events(block)),
        ended,
        {"type": "message_stop"},
    ]


def _block_events(block: dict[str, Any]) -> list[dict[str, Any]]:
    if block["type"] == "text":
        empty: dict[str, Any] = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in re.findall(r"\s*\S+", block["text"])]
    else:
        empty = {**block, "input": {}}
        text = orjson.dumps(block["input"]).decode()
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in (text[:5], text[5:])]
    return [
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
    ]
