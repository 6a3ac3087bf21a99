"""A sample of the Messages API as one of chat completions, which is what shadow compares. Pure.

What a comparison rests on is that the cloud is asked the same question twice: once by the application, once
by a leg of shadow's, which is a chat. So a Messages request is compared only if its chat, translated back,
is the same Messages request again, as `plain` has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.common.errors import DomainError
from services.common.words import Target
from services.router.core import catalog, sse
from services.router.core.chat_on_messages import completion
from services.router.core.chat_on_messages_stream import ChatStream
from services.router.core.messages import to_chat
from services.router.core.sampling import Bar, BarredError, Sample

VERSIONS = frozenset({"", "2023-06-01", "2026-10-21"})
"""Values of `anthropic-version` under which a request that is answered asks the same. The later takes less
(no temperature, no documents in an assistant's turn, no citations in a user's), and what it takes means the
same (https://platform.claude.com/docs/en/api/versioning). A leg goes out under the earlier."""
_NOT_ASKED = frozenset({"model", "stream", "cache_control"})
"""Says where and how the answer comes and what may be cached, not what it is."""
_DEFAULTS: Mapping[str, object] = {
    "service_tier": "auto",
    "tool_choice": {"type": "auto"},
    "is_error": False,
    "caller": {"type": "direct"},
}
"""Fields that say the same as if they were not there."""


def as_chat(sample: Sample) -> Sample:
    """The same sample with question and answer as those of a chat completion.

    Raises:
        BarredError: FORM: they have no such form.
    """
    native = asked_natively(sample.routes)
    beta = sample.headers.get("anthropic-beta", "")
    version = sample.headers.get("anthropic-version", "")
    if native and (beta or version not in VERSIONS):
        # A leg of shadow's brings no headers.
        raise BarredError(Bar.FORM, f"anthropic-beta {beta!r}, anthropic-version {version!r}"[:200])
    try:
        chat = {"model": sample.document["model"], **to_chat(sample.document, blocks=native)}
        answer = _streamed(sample.answer) if sample.streamed else completion(sample.answer, None, 0).body
    except DomainError as error:
        raise BarredError(Bar.FORM, error.message) from None
    if not native and any(route.upstream.provider == "openai" for route in sample.routes):
        # As `MessagesCodec.request` has it.
        chat["max_completion_tokens"] = chat.pop("max_tokens", None)
    return replace(sample, document=chat, answer=answer)


def asked_natively(routes: Sequence[catalog.Route]) -> bool:
    """True if a model's Messages requests reach a cloud as such."""
    return any(
        route.upstream.target is Target.CLOUD and route.upstream.protocol == catalog.ANTHROPIC
        for route in routes
    )


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A Messages request without what is left to a default: two that ask the same have the same.

    Consecutive turns of the same role are one, as Anthropic has it (API reference, `messages`).
    """
    asked = {key: value for key, value in _bare(document).items() if key not in _NOT_ASKED}
    if "system" in asked:
        asked["system"] = _blocks(asked["system"])
    turns: list[dict[str, Any]] = []
    for message in document["messages"]:
        turn = {**_bare(message), "content": _blocks(message.get("content"))}
        if turns and turn["role"] != "system" and turns[-1]["role"] == turn["role"]:
            turns[-1]["content"] += turn["content"]
        else:
            turns.append(turn)
    asked["messages"] = turns
    if isinstance(asked.get("tools"), list):
        asked["tools"] = [_tool(tool) for tool in asked["tools"]]
    for field in ("metadata", "output_config", "tool_choice"):
        if isinstance(asked.get(field), dict):
            asked[field] = {key: value for key, value in asked[field].items() if value not in (None, False)}
    return {key: value for key, value in asked.items() if value not in ({}, _DEFAULTS.get(key, {}))}


def _blocks(content: object) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(block) for block in content] if isinstance(content, list) else []


def _block(block: object) -> object:
    if not isinstance(block, dict):
        return block
    made = {key: value for key, value in _bare(block).items() if key != "cache_control"}
    if block.get("type") == "tool_result":
        made["content"] = _blocks(block.get("content"))
    elif block.get("type") == "tool_use":
        # Its arguments are the model's own, to the last null.
        made["input"] = block.get("input")
    return made


def _tool(tool: object) -> object:
    if not isinstance(tool, dict):
        return tool
    made = {key: value for key, value in _bare(tool).items() if key != "cache_control"}
    if made.get("type") == "custom":
        del made["type"]
    return {**made, "input_schema": tool.get("input_schema")}


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in document.items()
        if value not in (None, "", []) and not (key in _DEFAULTS and value == _DEFAULTS[key])
    }


def _streamed(events: bytes) -> bytes:
    stream = ChatStream(None, 0, include_usage=False)
    return b"".join([stream.feed(event) for event in sse.Splitter().feed(events)])
