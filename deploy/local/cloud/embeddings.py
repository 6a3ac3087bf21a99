"""`POST /v1/embeddings`."""

from __future__ import annotations

import base64
import struct
from typing import Any

from deploy.local.cloud import models, tokens, vectors
from deploy.local.cloud.ask import Usage
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields, wrong_type
from deploy.local.cloud.generate import Generator
from deploy.local.cloud.reply import Reply

MAX_INPUTS = 2048
"""Most texts in one request, as at OpenAI."""


async def reply(document: dict[str, Any], _generator: Generator) -> Reply:
    """Answers a request.

    Raises:
        ApiError: the request is wrong.
    """
    fields = Fields(document)
    model = models.named(fields, models.EMBEDDING, "v1/embeddings")
    texts, used = _inputs(fields)
    dimensions = fields.whole("dimensions", 1, vectors.DIMENSIONS) or vectors.DIMENSIONS
    packed = fields.choice("encoding_format", ("float", "base64"), "float") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector = vectors.embed(text, dimensions)
        data.append(
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        )
    usage = {"prompt_tokens": used, "total_tokens": used}
    whole = {"object": "list", "data": data, "model": model, "usage": usage}
    return Reply("embeddings", model, Usage(used, 0, 0), lambda: whole)


def _inputs(fields: Fields) -> tuple[list[str], int]:
    """The texts, and their tokens together. Tokens given by number are hashed as if they were words."""
    value = fields.need("input")
    items = [value] if isinstance(value, str) or _is_tokens(value) else value
    if not isinstance(items, list):
        raise wrong_type("input", "a string, an array of strings or an array of tokens", value)
    if not items or len(items) > MAX_INPUTS or any(item in ("", []) for item in items):
        raise invalid(
            f"'$.input' is invalid: expected 1 to {MAX_INPUTS} inputs, none of them empty.", "input"
        )
    texts, used = [], 0
    for index, item in enumerate(items):
        if isinstance(item, str):
            texts.append(item)
            used += tokens.count(item)
        elif _is_tokens(item):
            texts.append(" ".join(map(str, item)))
            used += len(item)
        else:
            raise wrong_type(f"input[{index}]", "a string or an array of tokens", item)
    return texts, used


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
