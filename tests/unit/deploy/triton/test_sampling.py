"""What is picked from logits, for each parameter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.triton.cpu.serving.sampling import Sampler, Sampling, logprob

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], dtype=np.float32))


def picks(sampling: Sampling, count: int = 400, prompt: tuple[int, ...] = ()) -> list[int]:
    sampler = Sampler(sampling, prompt, len(LOGITS))
    return [sampler.pick(LOGITS) for _ in range(count)]


@pytest.mark.parametrize(
    ("sampling", "possible"),
    [
        (Sampling(), {1}),
        (Sampling(temperature=0.0, top_k=3), {1}),
        (Sampling(temperature=5.0, top_k=1), {1}),
        (Sampling(temperature=5.0, top_p=0.0), {1}),
        (Sampling(temperature=1e-6, seed=1), {1}),
        (Sampling(temperature=1.0, seed=1), {0, 1, 2, 3}),
        (Sampling(top_k=0, seed=1), {0, 1, 2, 3}),
        (Sampling(top_k=2, seed=1), {1, 3}),
        (Sampling(top_k=99, seed=1), {0, 1, 2, 3}),
        (Sampling(top_p=1.0, seed=1), {0, 1, 2, 3}),
        (Sampling(top_p=0.3, seed=1), {1}),
        (Sampling(top_p=0.5, seed=1), {1, 3}),
        (Sampling(top_p=0.8, seed=1), {1, 2, 3}),
        (Sampling(temperature=1.0, top_k=3, top_p=0.5, seed=1), {1, 3}),
    ],
)
def test_only_the_tokens_that_the_parameters_leave_are_picked(sampling: Sampling, possible: set[int]) -> None:
    assert set(picks(sampling)) == possible


def test_shares_are_those_of_the_model_at_temperature_1() -> None:
    drawn = np.bincount(picks(Sampling(temperature=1.0, seed=7), 20_000), minlength=4) / 20_000
    # Six standard errors of a share of 0.4 over 20,000 draws are 0.021.
    assert drawn == pytest.approx(np.exp(LOGITS), abs=0.021)


def test_the_same_seed_picks_the_same_and_another_seed_something_else() -> None:
    runs = [tuple(picks(Sampling(temperature=1.0, seed=seed), 40)) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_without_a_seed_each_answer_is_drawn_anew() -> None:
    assert len({tuple(picks(Sampling(temperature=1.0), 40)) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("sampling", "prompt", "expected"),
    [
        # A penalty over the widest gap of the logits (1.4) makes each token come once, in their order.
        (Sampling(presence_penalty=2.0), (), [1, 3, 2, 0]),
        (Sampling(frequency_penalty=2.0), (), [1, 3, 2, 0]),
        # The prompt's tokens count too.
        (Sampling(presence_penalty=2.0), (1, 1), [3, 2, 0, 1]),
        # Presence counts once, however often: 1 stays ahead of 0. Frequency counts each time.
        (Sampling(presence_penalty=0.5), (1, 1, 1), [3, 1, 1, 1]),
        (Sampling(frequency_penalty=0.5), (1, 1, 1), [3, 2, 3, 2]),
        (Sampling(presence_penalty=-2.0), (0,), [0, 0, 0, 0]),
    ],
)
def test_penalties_move_what_was_said_back(
    sampling: Sampling, prompt: tuple[int, ...], expected: list[int]
) -> None:
    assert picks(sampling, 4, prompt) == expected


@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50),
    temperature=st.floats(1e-6, 100),
    top_k=st.integers(0, 60),
    top_p=st.floats(1e-6, 1),
)
def test_any_logits_give_a_token_that_is_there(
    logits: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    sampler = Sampler(Sampling(temperature, top_k, top_p, seed=0), (), len(logits))
    assert 0 <= sampler.pick(np.array(logits, dtype=np.float32)) < len(logits)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50))
def test_logprobs_are_logarithms_of_shares_that_add_up_to_1(logits: list[float]) -> None:
    array = np.array(logits, dtype=np.float32)
    total = sum(np.exp(logprob(array, token)) for token in range(len(logits)))
    assert total == pytest.approx(1.0)
