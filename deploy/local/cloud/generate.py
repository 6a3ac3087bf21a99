"""Answers an `Ask`: what to say, how long it may be, and what it cost."""

from __future__ import annotations

import asyncio
import random
import secrets
from concurrent.futures import ThreadPoolExecutor

import orjson

from deploy.local.cloud import say, tokens, toolbox
from deploy.local.cloud.ask import Answer, Ask, Call, Usage
from deploy.local.cloud.cache import PrefixCache


class Generator:
    """Answers, and remembers the prefixes of the prompts."""

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache
        # One, since more would only take each other's core.
        self._encoding = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoding")

    async def answers(self, ask: Ask) -> list[Answer]:
        """As many answers as were asked for."""
        if ask.tools or say.may_choose(ask):
            # The encoder would hold up the streams of others.
            return await asyncio.get_running_loop().run_in_executor(self._encoding, _answers, ask)
        return _answers(ask)

    def usage(self, ask: Ask, answers: list[Answer]) -> Usage:
        """What the request consumed. The prompt is from now on in the cache."""
        parts = [f"<{turn.role}>{turn.text}" if ask.chat else turn.text for turn in ask.turns]
        if ask.tools:
            # Tools stand before the messages, as in OpenAI's cache.
            parts.insert(0, orjson.dumps([[t.name, t.description, t.parameters] for t in ask.tools]).decode())
        if ask.schema is not None:
            parts.insert(0, orjson.dumps(ask.schema).decode())
        prompt = [token for part in parts for token in tokens.split(part)]
        extra = tokens.MESSAGE_TOKENS * len(ask.turns) + tokens.REPLY_TOKENS if ask.chat else 0
        extra += tokens.IMAGE_TOKENS * sum(len(turn.images) for turn in ask.turns)
        cached = self._cache.seen(ask.model, prompt)
        return Usage(len(prompt) + extra, cached, sum(answer.tokens for answer in answers))


def _answers(ask: Ask) -> list[Answer]:
    return [_answer(ask, _noise(ask, index)) for index in range(ask.n)]


def _noise(ask: Ask, index: int) -> random.Random | None:
    if ask.temperature <= 0:
        return None
    return random.Random() if ask.seed is None else random.Random(ask.seed * 128 + index)


def _answer(ask: Ask, noise: random.Random | None) -> Answer:
    tool = toolbox.choose(ask)
    if tool is not None:
        text, finish, used = _limited(toolbox.arguments(tool, ask, noise), (), ask.max_tokens)
        call = Call(f"call_{secrets.token_hex(12)}", tool.name, text)
        # OpenAI says "stop" where the request named the tool, and "tool_calls" where the model chose it.
        chosen = finish == "stop" and not ask.tool_choice.startswith("=")
        return Answer("", call, "tool_calls" if chosen else finish, used)
    text, finish, used = _limited(say.say(ask, noise), ask.stop, ask.max_tokens)
    return Answer(text, None, finish, used)


def _limited(text: str, stop: tuple[str, ...], max_tokens: int | None) -> tuple[str, str, int]:
    """The text up to the first of `stop` and no longer than allowed, why it ends, and its tokens."""
    ends = [place for word in stop if word and (place := text.find(word)) >= 0]
    if ends:
        text = text[: min(ends)]
    parts = tokens.split(text)
    if max_tokens is not None and len(parts) > max_tokens:
        return "".join(parts[:max_tokens]), "length", max_tokens
    return text, "stop", len(parts)
