"""How tokens are chosen, and when to stop: the numbers of a request, checked.

Ranges are those of OpenAI's API reference (chat completions), which clients rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.common.errors import invalid_request

MAX_STOPS = 16
"""Stop words of a request. OpenAI takes 4; other servers take more."""
MAX_STOP_CHARS = 256
"""Characters of a stop word: as many are held back from a stream."""
MAX_SEED = 2**64
MAX_TOP_K = 2**31 - 1
"""The contract's type. No vocabulary is larger."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a request says nothing: the model folder's `generation_config.json`."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the server is told."""

    temperature: float
    """0 is always the likeliest token."""
    top_p: float
    top_k: int | None
    frequency_penalty: float
    presence_penalty: float
    seed: int | None
    stop: tuple[str, ...]
    max_tokens: int | None
    """None is as many as the context holds."""


def parse_sampling(document: Mapping[str, Any], defaults: Defaults) -> Sampling:
    """Reads a request's numbers.

    Raises:
        DomainError: INVALID_REQUEST.
    """
    seed = _integer(document, "seed", -(2**63), 2**63 - 1)
    longest = _integer(document, "max_completion_tokens", 1, None)
    if longest is None:
        longest = _integer(document, "max_tokens", 1, None)
    top_k = _integer(document, "top_k", 1, MAX_TOP_K)
    return Sampling(
        temperature=_number(document, "temperature", 0, 2, defaults.temperature),
        top_p=_number(document, "top_p", 0, 1, defaults.top_p),
        top_k=defaults.top_k if top_k is None else top_k,
        frequency_penalty=_number(document, "frequency_penalty", -2, 2, 0.0),
        presence_penalty=_number(document, "presence_penalty", -2, 2, 0.0),
        # The contract's seed has no sign.
        seed=None if seed is None else seed % MAX_SEED,
        stop=_stop(document.get("stop")),
        max_tokens=longest,
    )


def _number(document: Mapping[str, Any], field: str, low: float, high: float, default: float) -> float:
    value = document.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise invalid_request(field, f"a number from {low} to {high}", repr(value)[:40])
    return float(value)


def _integer(document: Mapping[str, Any], field: str, low: int, high: int | None) -> int | None:
    value = document.get(field)
    if value is None:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise invalid_request(field, f"a whole number {limits}", repr(value)[:40])
    return int(value)


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise invalid_request("stop", "a word or a list of words, none empty", repr(value)[:40])
    if len(words) > MAX_STOPS or any(len(word) > MAX_STOP_CHARS for word in words):
        raise invalid_request(
            "stop", f"at most {MAX_STOPS} words of at most {MAX_STOP_CHARS} characters", "more"
        )
    return tuple(words)
