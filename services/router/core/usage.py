"""What one leg consumed, in disjoint token classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.common.words import UsageSource

CHARS_PER_TOKEN = 4
"""Rule of thumb for English text (OpenAI's help centre, "What are tokens and how to count them?").
Used only where a leg ended before its server reported usage, and marked as an estimate."""
USUAL_TIERS = frozenset({"auto", "default", "standard"})
"""Values of `service_tier` that the price lists are for; `flex` costs less, `priority` more."""
FILE_CHARS = 1_000 * CHARS_PER_TOKEN
"""What a picture or another file counts as: gpt-4o and Claude count 100 to 1,600 tokens for a picture,
however many bytes it has."""
_FILE = re.compile(rb'"(?:data:[^",]{0,200}+,)?+[A-Za-z0-9+/=_\\-]{4096,}+"')
"""A file in a body: base64 as long as no word is, with the backslashes of escaped slashes and line ends."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one leg. None is unknown, which is not zero.

    The book gives each class its list price. So of tokens that have another, the count of a class is left
    unknown, and the cost with it.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = UsageSource.UNKNOWN

    @property
    def total_tokens(self) -> int:
        """All known tokens."""
        return (
            (self.input_tokens or 0)
            + (self.cached_input_tokens or 0)
            + (self.cache_write_tokens or 0)
            + (self.output_tokens or 0)
            + (self.reasoning_tokens or 0)
        )


UNKNOWN = Usage()

MAX_COUNT = 10**12
"""A larger count is a server's mistake, and unknown; it would not fit the book."""


def from_openai(report: object) -> Usage:
    """Usage as OpenAI-compatible servers report it, in `usage` of any of their APIs.

    There, the cached tokens are among the prompt's and the reasoning tokens among the completion's;
    here they are apart.
    """
    if not isinstance(report, Mapping):
        return UNKNOWN
    prompt = _count(report, "prompt_tokens", "input_tokens")
    answer = _count(report, "completion_tokens", "output_tokens")
    if prompt is None and answer is None:
        return UNKNOWN
    cached = _detail(report, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    reasoning = _detail(report, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    return Usage(
        input_tokens=None if prompt is None else max(0, prompt - cached),
        cached_input_tokens=cached,
        cache_write_tokens=0,
        output_tokens=max(0, (answer or 0) - reasoning),
        reasoning_tokens=reasoning,
        source=UsageSource.UPSTREAM,
    )


def from_anthropic(report: object) -> Usage:
    """Usage as Anthropic's Messages API reports it: input classes are disjoint, thinking is in the output."""
    if not isinstance(report, Mapping):
        return UNKNOWN
    fresh, answer = _count(report, "input_tokens"), _count(report, "output_tokens")
    if fresh is None and answer is None:
        return UNKNOWN
    thinking = _detail(report, ("output_tokens_details",), "thinking_tokens")
    # What is written for an hour has a price of its own, which no class of the book has.
    for_an_hour = _detail(report, ("cache_creation",), "ephemeral_1h_input_tokens")
    return Usage(
        input_tokens=fresh,
        cached_input_tokens=_count(report, "cache_read_input_tokens") or 0,
        cache_write_tokens=None if for_an_hour else _count(report, "cache_creation_input_tokens") or 0,
        output_tokens=None if answer is None else max(0, answer - thinking),
        reasoning_tokens=thinking,
        source=UsageSource.UPSTREAM,
    )


def anthropic_begun(report: object) -> Usage:
    """Usage in a stream's first event, whose count of the output is that of its first token."""
    return replace(from_anthropic(report), output_tokens=None, reasoning_tokens=None)


def anthropic_so_far(before: Usage, report: Mapping[str, Any]) -> Usage:
    """Usage after a later event of a message's stream: the first event has the input's counts, a later one
    the output's and, lately, all of them."""
    known = {
        "input_tokens": before.input_tokens,
        "cache_read_input_tokens": before.cached_input_tokens,
        "cache_creation_input_tokens": before.cache_write_tokens,
    }
    now = from_anthropic({**known, **{key: value for key, value in report.items() if value is not None}})
    unpriced = before.source is UsageSource.UPSTREAM and before.cache_write_tokens is None
    return replace(now, cache_write_tokens=None) if unpriced else now


def at_usual_price(usage: Usage, tier: object) -> Usage:
    """The usage, with an unknown count if the server says that it has another price than the list's.

    Args:
        tier: `service_tier` of the answer.
    """
    usual = tier is None or (isinstance(tier, str) and tier in USUAL_TIERS)
    return usage if usual else replace(usage, cached_input_tokens=None)


def prompt_chars(body: bytes) -> int:
    """Characters of a request's body on which an estimate of its tokens rests: files by what they count."""
    files = [match.end() - match.start() for match in _FILE.finditer(body)]
    return len(body) - sum(files) + len(files) * FILE_CHARS


def estimated(input_chars: int, output_chars: int) -> Usage:
    """What was probably used until a leg ended early."""
    return Usage(
        input_tokens=math.ceil(input_chars / CHARS_PER_TOKEN),
        cached_input_tokens=0,
        cache_write_tokens=0,
        output_tokens=math.ceil(output_chars / CHARS_PER_TOKEN),
        reasoning_tokens=0,
        source=UsageSource.ESTIMATED,
    )


def _count(report: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        value = report.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
            return value
    return None


def _detail(report: Mapping[str, Any], tables: tuple[str, ...], key: str) -> int:
    for table in tables:
        details = report.get(table)
        if isinstance(details, Mapping):
            return _count(details, key) or 0
    return 0
