"""Reads the messages of a chat."""

from __future__ import annotations

import base64
import binascii
import re

import orjson

from deploy.local.cloud.ask import Image, Turn
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields, bad_value, wrong_type

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_DATA_URL = re.compile(r"data:(image/[\w.+-]+);base64,(.*)", re.DOTALL)


def read(fields: Fields) -> tuple[Turn, ...]:
    """The messages in `messages`.

    Raises:
        ApiError: they are not messages, or a tool's result belongs to no call.
    """
    fields.need("messages")
    messages = fields.objects("messages")
    if not messages:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty"
            " array instead.",
            "messages",
            "empty_array",
        )
    called: set[str] = set()
    turns = []
    for index, message in enumerate(messages):
        turns.append(_turn(message, called, f"messages.[{index}].role"))
        called.update(call.need_text("id") for call in message.objects("tool_calls"))
    return tuple(turns)


def image(url: str, param: str) -> Image:
    """An image by its URL; one in a data URL is measured.

    Raises:
        ApiError: it is neither a data URL of an image nor http(s).
    """
    if url.startswith(("https://", "http://")):
        return Image("", None)
    match = _DATA_URL.fullmatch(url)
    try:
        if match is None:
            raise binascii.Error
        return Image(match[1], len(base64.b64decode(match[2], validate=True)))
    except binascii.Error:
        raise invalid(
            "Invalid image URL. Expected a valid URL, or a base64-encoded data URL with an image MIME type"
            " (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=').",
            param,
            "invalid_image_url",
        ) from None


def _turn(message: Fields, called: set[str], where: str) -> Turn:
    role = message.need_text("role")
    if role not in _ROLES:
        raise bad_value(message.param("role"), role, _ROLES)
    if role == "tool" and message.need_text("tool_call_id") not in called:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
            " 'tool_calls'.",
            where,
        )
    calls = message.objects("tool_calls") if role == "assistant" else []
    if not calls and not (role == "assistant" and message.get("refusal")):
        message.need("content")
    text, images = _content(message)
    for call in calls:
        function = Fields(call.need("function"), call.param("function"))
        asked = [function.need_text("name"), function.need_text("arguments")]
        text = f"{text}\n{orjson.dumps(asked).decode()}"
    role = {"developer": "system", "function": "tool"}.get(role, role)
    return Turn(role, text, images)


def _content(message: Fields) -> tuple[str, tuple[Image, ...]]:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise wrong_type(message.param("content"), "one of a string or array of objects", content)
    texts, images = [], []
    for part in message.objects("content"):
        kind = part.need_text("type")
        if kind in ("text", "refusal"):
            texts.append(part.need_text(kind))
        elif kind == "image_url":
            inner = Fields(part.need("image_url"), part.param("image_url"))
            images.append(image(inner.need_text("url"), inner.param("url")))
        else:
            raise bad_value(part.param("type"), kind, ("text", "image_url", "refusal"))
    return "\n".join(texts), tuple(images)
