"""One request's way from prompt to last token, as a state machine that is turned token by token.

It owns no thread and no clock: the scheduler turns it, and says what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deploy.triton.cpu.serving.ask import Ask, RefusedError
from deploy.triton.cpu.serving.sampling import Sampler, logprob
from deploy.triton.cpu.serving.text import Decode, Text

BLOCK_TOKENS = 32
"""A prompt is read and reused in blocks of this size, TensorRT-LLM's default `tokens_per_block`. A block at a
time holds nobody up; and a block is always read as one, whatever was there before, so that its numbers are
the same to the last bit and a seed says the same twice."""


class Lane(Protocol):
    """What a generation needs of the engine's lanes."""

    reused_tokens: int

    @property
    def tokens(self) -> int:
        """How many tokens it has read."""

    def read(self, tokens: Sequence[int]) -> None:
        """Reads on."""

    def logits(self) -> npt.NDArray[np.float32]:
        """The logits of the next token."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a generation needs to know of the model."""

    context_tokens: int
    vocabulary_tokens: int
    end_tokens: frozenset[int]


@dataclass(slots=True)
class Times:
    """When things happened, in nanoseconds since the epoch; 0 is not yet."""

    arrival_ns: int
    first_scheduled_ns: int = 0
    first_token_ns: int = 0
    last_token_ns: int = 0


@dataclass(frozen=True, slots=True)
class Cache:
    """How the prompt's blocks were found."""

    reused_blocks: int
    missed_blocks: int
    new_blocks: int
    """Taken for this request, its answer's among them."""

    @property
    def hit_rate(self) -> float:
        """Share of the prompt's blocks that were there."""
        asked = self.reused_blocks + self.missed_blocks
        return self.reused_blocks / asked if asked else 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is answered after a token: everything so far."""

    text: str
    finish_reason: str | None
    """`stop` or `length` on the last one."""
    stop_reason: str | None
    cumulative_logprob: float


@dataclass(slots=True)
class Generation:
    """One request in work."""

    ask: Ask
    prompt: Sequence[int]
    prompt_text: str
    """The prompt as the tokens give it back; goes before the answer if the request wants it there."""
    model: Model
    decode: Decode
    times: Times
    output_tokens: int = 0
    """Tokens of the answer; the one that ends it is not counted."""
    finish_reason: str | None = None
    lane: Lane | None = None
    _unread: list[int] = field(default_factory=list)
    _sampler: Sampler = field(init=False)
    _text: Text = field(init=False)
    _logprob: float = 0.0
    _sent: str = ""

    def __post_init__(self) -> None:
        """Checks that the prompt leaves room for an answer.

        Raises:
            RefusedError: it does not, or is empty.
        """
        room = self.model.context_tokens - len(self.prompt)
        if not self.prompt:
            raise RefusedError("text_input: no tokens in it")
        if room < 1:
            raise RefusedError(
                f"text_input: {len(self.prompt)} tokens, but the model's context is "
                f"{self.model.context_tokens} tokens with the answer"
            )
        self._sampler = Sampler(self.ask.sampling, self.prompt, self.model.vocabulary_tokens)
        self._text = Text(self.decode, self.ask.stop_words)

    def start(self, lane: Lane, now_ns: int) -> None:
        """Puts it to work."""
        self.lane = lane
        self._unread = list(self.prompt[lane.tokens :])
        self.times.first_scheduled_ns = now_ns

    @property
    def reused_tokens(self) -> int:
        """How many tokens of the prompt needed no reading."""
        return self.lane.reused_tokens if self.lane else 0

    @property
    def cache(self) -> Cache:
        """How the prompt's blocks were found."""
        prompt_blocks = _blocks(len(self.prompt))
        reused = self.reused_tokens // BLOCK_TOKENS
        all_blocks = _blocks(len(self.prompt) + self.output_tokens)
        return Cache(reused, prompt_blocks - reused, all_blocks - reused)

    def turn(self, clock: Callable[[], int]) -> Chunk | None:
        """Reads what is unread, a piece at a time, and then makes the next token.

        Args:
            clock: nanoseconds since the epoch.

        Returns:
            What to send, or None while there is nothing new to show.
        """
        assert self.lane is not None
        piece = self._unread[:BLOCK_TOKENS]
        del self._unread[:BLOCK_TOKENS]
        self.lane.read(piece)
        if self._unread:
            return None
        logits = self.lane.logits()
        token = self._sampler.pick(logits)
        if self.ask.cumulative_logprob:
            self._logprob += logprob(logits, token)
        self.times.last_token_ns = clock()
        self.times.first_token_ns = self.times.first_token_ns or self.times.last_token_ns
        self.finish_reason = self._finish(token)
        if self.finish_reason is not None:
            self._text.end()
        elif not self.ask.streaming or self._text.shown == self._sent:
            return None
        self._sent = self._text.shown
        before = "" if self.ask.exclude_input else self.prompt_text
        return Chunk(before + self._sent, self.finish_reason, self._text.stopped_by, self._logprob)

    def _finish(self, token: int) -> str | None:
        if token in self.model.end_tokens:
            return "stop"
        self.output_tokens += 1
        if self._text.add(token):
            return "stop"
        if self.output_tokens >= min(self.ask.max_tokens, self.model.context_tokens - len(self.prompt)):
            return "length"
        self._unread.append(token)
        return None


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)
