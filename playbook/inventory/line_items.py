"""What a line of a bill is paid for: which model, which class of tokens, and how many of them.

The forms are those that OpenAI's costs API was seen to give: `gpt-5.5-2026-04-23, cached input`,
`priority | gpt-5.6-sol, output, long context`, `ft-gpt-4o-2024-08-06, input`, `gpt-audio-mini-2025-12-15
audio, input`, `whisper-1, audio`, `web search tool calls`. Other exports have columns for model and class.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from fractions import Fraction

INPUT, CACHED_INPUT, CACHE_WRITE, OUTPUT, REQUEST, OTHER = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "request",
    "other",
)
"""The classes of a bill. Reasoning is billed as output; `other` is no text token: audio, storage, tools."""

_CLASSES = (
    (re.compile(r"\bcache(d)?[ _-]?(writes?|creation|write input)\b"), CACHE_WRITE),
    (re.compile(r"\b(cached|cache[ _-]?(hits?|reads?))\b"), CACHED_INPUT),
    (re.compile(r"\b(input|prompt)\b"), INPUT),
    (re.compile(r"\b(output|completion|reasoning)\b"), OUTPUT),
    (re.compile(r"\brequests?\b"), REQUEST),
)
_OTHER_MODALITY = re.compile(r"\b(audio|images?|video|speech)\b")
_MODALITY = re.compile(r" (text|audio|images?|video|speech)$")
_TIER = re.compile(r"^(priority|flex|batch|scale|default|standard) \| ")
_MODEL = re.compile(r"^[a-z0-9][a-z0-9._:/@-]*$")

_DATES = (
    re.compile(r"[-@]20\d\d-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])$"),
    re.compile(r"-(0[1-9]|1[0-2])([0-2]\d|3[01])$"),
    re.compile(r"-latest$"),
    re.compile(r"-v\d+(:\d+)?$"),
)
"""What ends the name of a snapshot: `-2024-08-06`, `-20241022`, `@20241022`, `-0613`, `-latest`, `-v2:0`."""


_UNITS = (
    (re.compile(r"\b1 ?m(\b|_|tok)|million|\b1000000(\b|_)", re.ASCII), 1_000_000),
    (re.compile(r"\b1 ?k(\b|_|tok)|thousand|\b1000(\b|_)", re.ASCII), 1_000),
)
"""In lower case without commas; queries/inventory_usage.sql has the same."""


def model_and_class(line_item: str) -> tuple[str, str]:
    """The model that a line item names and the class it is paid for; empty if it names no model."""
    text = _TIER.sub("", " ".join(line_item.lower().split()))
    model, comma, what = text.partition(", ")
    if not comma:
        return "", OTHER
    modality = _MODALITY.search(model)
    model = _MODALITY.sub("", model)
    if not _MODEL.match(model):
        return "", OTHER
    if (modality and modality.group(1) != "text") or _OTHER_MODALITY.search(what):
        return model, OTHER
    return model, next((name for pattern, name in _CLASSES if pattern.search(what)), OTHER)


def undated(model: str) -> str:
    """A model's name without what says which snapshot it is, in lower case.

    `ft:BASE:…` and `ft-BASE` are fine-tuned models of the same base: a bill does not say which.
    """
    name = model.lower()
    if name.startswith("ft:"):
        name = "ft-" + name.split(":")[1]
    for pattern in _DATES:
        name = pattern.sub("", name) or name
    return name


def booked_as(model: str, booked: Collection[str]) -> str:
    """The name under which the book has a billed model.

    A name that the book has is itself. But if the book has the name without its date too, all snapshots count
    as that one: a request for `gpt-4o` is billed as the snapshot that answered. A snapshot that the book does
    not have is the only booked one of the same name, if there is one.

    Args:
        model: as billed, or as booked.
        booked: all names in the book.
    """
    by_name: dict[str, set[str]] = {}
    for name in booked:
        by_name.setdefault(undated(name), set()).add(name)
    alike = by_name.get(undated(model), set())
    bare = next((name for name in sorted(alike) if name.lower() == undated(name)), None)
    if bare is not None:
        return bare
    same = next((name for name in sorted(alike) if name.lower() == model.lower()), None)
    if same is not None:
        return same
    return next(iter(alike)) if len(alike) == 1 else model.lower()


def tokens(quantity: Decimal | None, unit: str, token_class: str) -> Fraction | None:
    """How many tokens (or requests) a line is for; None if it does not say.

    OpenAI gives no unit with tokens; elsewhere it is `tokens`, `1K tokens`, `1M tokens`.
    """
    if quantity is None or token_class == OTHER:
        return None
    name = unit.lower()
    if not name or (token_class == REQUEST and "request" in name):
        return Fraction(quantity)
    if "token" not in name:
        return None
    name = name.replace(",", "")
    return Fraction(quantity) * next((many for pattern, many in _UNITS if pattern.search(name)), 1)
