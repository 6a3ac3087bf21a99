"""A request's way from prompt to last token, over a model whose every next token is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest

from deploy.triton.cpu.serving.ask import Ask, RefusedError
from deploy.triton.cpu.serving.generation import Cache, Chunk, Generation, Model, Times
from deploy.triton.cpu.serving.sampling import Sampling

LETTERS = "abcdefghij"
END = len(LETTERS)
MODEL = Model(context_tokens=200, vocabulary_tokens=END + 1, end_tokens=frozenset([END]))
ASK = Ask(
    prompt="",
    streaming=True,
    sampling=Sampling(),
    max_tokens=4,
    stop_words=(),
    exclude_input=True,
    finish_reason=True,
    stop_reason=True,
    cumulative_logprob=False,
    perf_metrics=False,
)


class Written:
    """A lane whose model says what is written, each token with a share of one half."""

    def __init__(self, says: Sequence[int], reused_tokens: int = 0) -> None:
        self._says = list(says)
        self.reused_tokens = reused_tokens
        self.reads: list[int] = [reused_tokens]

    @property
    def tokens(self) -> int:
        return sum(self.reads)

    def read(self, tokens: Sequence[int]) -> None:
        self.reads.append(len(tokens))

    def logits(self) -> npt.NDArray[np.float32]:
        shares = np.full(MODEL.vocabulary_tokens, 0.5 / END, dtype=np.float32)
        shares[self._says.pop(0)] = 0.5
        logits: npt.NDArray[np.float32] = np.log(shares)
        return logits


def generation(ask: Ask, prompt_tokens: int = 3) -> Generation:
    return Generation(
        ask=ask,
        prompt=[0] * prompt_tokens,
        prompt_text="PROMPT ",
        model=MODEL,
        decode=lambda token: LETTERS[token],
        times=Times(arrival_ns=1),
    )


def run(work: Generation, lane: Written) -> list[Chunk]:
    """Turns it to its end; the time is the number of the look at the clock."""
    clock = count(10)
    work.start(lane, 5)
    chunks = []
    while work.finish_reason is None:
        chunk = work.turn(lambda: next(clock))
        if chunk is not None:
            chunks.append(chunk)
    return chunks


def said(ask: Ask, says: Sequence[int]) -> list[tuple[str, str | None, str | None]]:
    return [(c.text, c.finish_reason, c.stop_reason) for c in run(generation(ask), Written(says))]


@pytest.mark.parametrize(
    ("ask", "says", "chunks"),
    [
        (
            ASK,
            [1, 2, END],
            [("b", None, None), ("bc", None, None), ("bc", "stop", None)],
        ),
        (
            replace(ASK, max_tokens=2),
            [1, 2, 3],
            [("b", None, None), ("bc", "length", None)],
        ),
        (ASK, [END], [("", "stop", None)]),
        # What may begin the stop word sends nothing; the word ends the answer before itself.
        (
            replace(ASK, stop_words=("cd",)),
            [1, 2, 3, 4],
            [("b", None, None), ("b", "stop", "cd")],
        ),
        (replace(ASK, stop_words=("cd",)), [2, END], [("c", "stop", None)]),
        (replace(ASK, streaming=False), [1, 2, END], [("bc", "stop", None)]),
        (
            replace(ASK, exclude_input=False, max_tokens=2),
            [1, 2],
            [("PROMPT b", None, None), ("PROMPT bc", "length", None)],
        ),
    ],
)
def test_every_chunk_has_the_whole_text_and_only_the_last_a_reason(
    ask: Ask, says: list[int], chunks: list[tuple[str, str | None, str | None]]
) -> None:
    assert said(ask, says) == chunks


def test_the_token_that_ends_the_answer_is_not_counted_as_output() -> None:
    work = generation(ASK)
    run(work, Written([1, 2, END]))
    assert work.output_tokens == 2


def test_the_context_ends_an_answer_that_max_tokens_would_not() -> None:
    work = generation(replace(ASK, max_tokens=1000), prompt_tokens=MODEL.context_tokens - 2)
    run(work, Written([1] * 9))
    assert (work.output_tokens, work.finish_reason) == (2, "length")


@pytest.mark.parametrize(
    ("tokens", "words"), [(0, "no tokens"), (200, "200 tokens, but the model's context")]
)
def test_a_prompt_that_leaves_no_room_is_refused(tokens: int, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        generation(ASK, tokens)


def test_a_long_prompt_is_read_in_pieces_and_only_where_it_is_new() -> None:
    work = generation(replace(ASK, max_tokens=1), prompt_tokens=190)
    lane = Written([1], reused_tokens=64)
    chunks = run(work, lane)
    assert lane.reads == [64, 32, 32, 32, 30]
    assert [chunk.text for chunk in chunks] == ["b"]
    # 190 tokens are 6 blocks of 32, and the answer fits into the sixth.
    assert work.cache == Cache(reused_blocks=2, missed_blocks=4, new_blocks=4)
    assert work.cache.hit_rate == pytest.approx(2 / 6)


def test_the_cumulative_logprob_is_the_sum_over_the_tokens() -> None:
    work = generation(replace(ASK, cumulative_logprob=True, max_tokens=3))
    assert [chunk.cumulative_logprob for chunk in run(work, Written([1, 2, 3]))] == pytest.approx(
        [n * np.log(0.5) for n in (1, 2, 3)]
    )


def test_times_are_those_of_the_tokens() -> None:
    work = generation(replace(ASK, max_tokens=3))
    run(work, Written([1, 2, 3]))
    assert work.times == Times(arrival_ns=1, first_scheduled_ns=5, first_token_ns=10, last_token_ns=12)
