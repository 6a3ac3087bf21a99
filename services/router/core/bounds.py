"""The most that a request can use, before it is sent: what a budget sets aside.

A bound that is too low lets a cap be passed; one that is too high only sets more aside for the seconds that
the call takes. So each errs upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.router.core import catalog, wire
from services.router.core.usage import MAX_COUNT

ANSWER_TOKENS = 16_384
"""Tokens of an answer of a request that names no limit: the most that gpt-4o and gpt-4o-mini give. A model
that thinks at length may give more; who caps such a one names a limit."""
CONTEXT_TOKENS = 1_048_576
"""The longest context that is common. What a request refers to but does not contain (a stored response, a
file) can be that long, and no answer is longer."""
IMAGE_TOKENS = 50_000
"""Tokens of an image: gpt-4o-mini counts 2,833 and 5,667 for each of up to eight tiles, 48,169 together;
others count fewer."""

_STORED = ("previous_response_id", "conversation", "prompt", "file_id", "file_url", "vector_store_ids")
_WORDS = (b"image", b"document", *(name.encode() for name in _STORED))
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_CHOICES = ("n", "best_of")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most tokens that a request can use."""

    input_tokens: int
    output_tokens: int


def bounds(request: wire.Request) -> Bounds:
    """The most tokens that a request can use.

    Tokenizers work on the bytes of UTF-8: no token is shorter than one, and JSON writes text with as many
    bytes or more. A body has also its field names, which outweigh the few tokens that frame a message. So
    the bytes of the body bound the input, but for what the body only refers to.
    """
    document = request.document
    choices = max(1, *(_count(document.get(name)) for name in _CHOICES)) * _prompts(document.get("prompt"))
    return Bounds(
        input_tokens=request.input_chars + _referred(request),
        output_tokens=0 if request.api == catalog.EMBEDDINGS else min(MAX_COUNT, choices * _answer(document)),
    )


def _prompts(prompt: object) -> int:
    """How many prompts a text completion has, each of which gets an answer."""
    # A list of numbers is one prompt's tokens.
    several = isinstance(prompt, list) and all(isinstance(item, (str, list)) for item in prompt)
    return max(1, len(prompt)) if several and isinstance(prompt, list) else 1


def _answer(document: Mapping[str, Any]) -> int:
    limits = [count for name in _LIMITS if (count := _count(document.get(name)))]
    return min(max(limits, default=ANSWER_TOKENS), CONTEXT_TOKENS)


def _referred(request: wire.Request) -> int:
    """Tokens of what the body does not contain."""
    body = request.body
    # Nearly all bodies have none of these words, and then need no walk.
    if not any(word in body for word in _WORDS):
        return 0
    images, stored = 0, False
    left: list[Any] = [request.document]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            kind = item.get("type")
            images += isinstance(kind, str) and "image" in kind
            at_top = item is request.document
            stored = stored or any(
                item.get(name) and (name != "prompt" or (at_top and isinstance(item[name], dict)))
                for name in _STORED
            )
            source = item.get("source")
            by_url = isinstance(source, dict) and source.get("type") == "url"
            stored = stored or (kind == "document" and by_url)
            left += item.values()
        elif isinstance(item, list):
            left += item
    return images * IMAGE_TOKENS + stored * CONTEXT_TOKENS


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
