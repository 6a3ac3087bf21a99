"""Reads a request for a server that takes one prompt: what to render, how to sample, what to check after.

Fields are passed on, left out without harm, or refused by name; none is silently dropped that would change
the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.common.errors import invalid_request
from services.router.core.sovereign.refusals import not_supported
from services.router.core.sovereign.sampling import Defaults, Sampling, parse_sampling
from services.router.core.sovereign.structured import Format, parse_format, with_instruction
from services.router.core.sovereign.tools import NO_TOOLS, Tools, parse_tools
from services.router.core.sovereign.turns import parse_turns
from services.router.core.unread import refuse_unread

_READ = frozenset(
    {
        *("model", "stream", "stream_options"),
        *("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"),
        *("max_tokens", "max_completion_tokens", "stop", "parallel_tool_calls"),
    }
)
_READ_OF_CHAT = _READ | {"messages", "response_format", "tools", "tool_choice"}
_READ_OF_COMPLETION = _READ | {"prompt"}
_HARMLESS = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention"),
    }
)
"""Says something to a provider, and nothing of the answer."""
_REFUSED = {
    "n": (1, "more than one answer a call"),
    "best_of": (1, "the best of several answers"),
    "logprobs": (False, "probabilities of tokens: its contract has none"),
    "top_logprobs": (0, "probabilities of tokens: its contract has none"),
    "logit_bias": ({}, "a bias on tokens"),
    "modalities": (["text"], "anything but text"),
    "functions": ([], "function calls of the old form; use tools"),
    "echo": (False, "an echo of the prompt"),
    "suffix": ("", "a suffix"),
    # Of a completion; a chat's are read.
    "response_format": ({"type": "text"}, "a format where there is no chat"),
    "tools": ([], "tools where there is no chat"),
    "tool_choice": ("none", "tools where there is no chat"),
}
"""Field: (the value that asks for nothing, what any other asks for)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, read."""

    turns: list[dict[str, Any]]
    """For the chat template; empty if `prompt` is set."""
    prompt: str | None
    """A prompt that is complete as it is, from /v1/completions."""
    sampling: Sampling
    tools: Tools
    format: Format | None
    streamed: bool
    include_usage: bool
    """True if a streamed answer shall end with its usage."""

    @property
    def bound(self) -> bool:
        """True if the answer as a whole must have a form, which only its end can show."""
        return self.format is not None or self.tools.opening != ""


def parse_chat(document: Mapping[str, Any], defaults: Defaults) -> Plan:
    """Reads a chat completion's request.

    Raises:
        DomainError: INVALID_REQUEST or FEATURE_NOT_SUPPORTED.
    """
    _refuse(document, _READ_OF_CHAT)
    turns = parse_turns(document["messages"])
    form = parse_format(document.get("response_format"))
    return Plan(
        turns=turns if form is None else with_instruction(turns, form.words),
        prompt=None,
        sampling=parse_sampling(document, defaults),
        tools=parse_tools(document),
        format=form,
        streamed=bool(document.get("stream")),
        include_usage=_include_usage(document),
    )


def parse_completion(document: Mapping[str, Any], defaults: Defaults) -> Plan:
    """Reads the request of a completion of one text.

    Raises:
        DomainError: INVALID_REQUEST or FEATURE_NOT_SUPPORTED.
    """
    _refuse(document, _READ_OF_COMPLETION)
    prompt = document["prompt"]
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise not_supported("prompt", "several prompts a call, or prompts in tokens")
        prompt = prompt[0]
    return Plan(
        turns=[],
        prompt=prompt,
        sampling=parse_sampling(document, defaults),
        tools=NO_TOOLS,
        format=None,
        streamed=bool(document.get("stream")),
        include_usage=_include_usage(document),
    )


def _refuse(document: Mapping[str, Any], read: Collection[str]) -> None:
    refuse_unread(document, read, _HARMLESS, _REFUSED, not_supported)


def _include_usage(document: Mapping[str, Any]) -> bool:
    options = document.get("stream_options") or {}
    wanted = options.get("include_usage")
    if wanted is not None and not isinstance(wanted, bool):
        raise invalid_request("stream_options.include_usage", "true or false", type(wanted).__name__)
    return bool(wanted)
