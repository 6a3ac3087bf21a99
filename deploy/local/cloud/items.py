"""Reads the input of a response: a text, or items of several kinds."""

from __future__ import annotations

import orjson

from deploy.local.cloud import messages
from deploy.local.cloud.ask import Image, Turn
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields, bad_value, wrong_type

_ROLES = ("assistant", "system", "developer", "user")
_KINDS = ("message", "function_call", "function_call_output", "reasoning")
_PARTS = ("input_text", "input_image", "output_text", "refusal")


def read(fields: Fields) -> tuple[Turn, ...]:
    """The turns in `instructions` and `input`.

    Raises:
        ApiError: they are not what they should be.
    """
    turns = []
    if instructions := fields.text("instructions"):
        turns.append(Turn("system", instructions))
    value = fields.need("input")
    if isinstance(value, str):
        return (*turns, Turn("user", value))
    if not isinstance(value, list):
        raise wrong_type("input", "one of a string or an array of input items", value)
    called: set[str] = set()
    for item in fields.objects("input"):
        turns += _turns(item, called)
    if not turns:
        raise invalid("Invalid 'input': empty array.", "input", "empty_array")
    return tuple(turns)


def _turns(item: Fields, called: set[str]) -> list[Turn]:
    kind = item.text("type", "message")
    if kind == "message":
        role = item.need_text("role")
        if role not in _ROLES:
            raise bad_value(item.param("role"), role, _ROLES)
        item.need("content")
        text, images = _content(item, "content")
        return [Turn("system" if role == "developer" else role, text, images)]
    if kind == "function_call":
        called.add(item.need_text("call_id"))
        asked = [item.need_text("name"), item.need_text("arguments")]
        return [Turn("assistant", orjson.dumps(asked).decode())]
    if kind == "function_call_output":
        if item.need_text("call_id") not in called:
            raise invalid(
                f"No tool call found for function call output with call_id {item.text('call_id')}.", "input"
            )
        item.need("output")
        text, images = _content(item, "output")
        return [Turn("tool", text, images)]
    if kind == "reasoning":
        return []
    raise bad_value(item.param("type"), kind, _KINDS)


def _content(item: Fields, key: str) -> tuple[str, tuple[Image, ...]]:
    value = item.get(key)
    if isinstance(value, str):
        return value, ()
    if not isinstance(value, list):
        raise wrong_type(item.param(key), "one of a string or array of objects", value)
    texts, images = [], []
    for part in item.objects(key):
        kind = part.need_text("type")
        if kind == "input_image":
            images.append(messages.image(part.need_text("image_url"), part.param("image_url")))
        elif kind in _PARTS:
            texts.append(part.need_text("refusal" if kind == "refusal" else "text"))
        else:
            raise bad_value(part.param("type"), kind, _PARTS)
    return "\n".join(texts), tuple(images)
