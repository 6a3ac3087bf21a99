"""What a request's tensors may be, and what is said of those that may not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploy.triton.cpu.serving.ask import Ask, RefusedError, is_stop, parse
from deploy.triton.cpu.serving.sampling import Sampling

PROMPT = {"text_input": np.array([b"hello"], dtype=object)}


def tensors(**values: Any) -> dict[str, Any]:
    return {**PROMPT, **{name: np.array(value) for name, value in values.items()}}


def test_a_prompt_alone_gets_the_llm_apis_defaults() -> None:
    assert parse(PROMPT) == Ask(
        prompt="hello",
        streaming=False,
        sampling=Sampling(),
        max_tokens=32,
        stop_words=(),
        exclude_input=False,
        finish_reason=False,
        stop_reason=False,
        cumulative_logprob=False,
        perf_metrics=False,
    )


def test_every_field_is_read() -> None:
    ask = parse(
        tensors(
            streaming=[True],
            sampling_param_temperature=np.float32([0.5]),
            sampling_param_top_k=[7],
            sampling_param_top_p=[0.25],
            sampling_param_frequency_penalty=[-1.5],
            sampling_param_presence_penalty=[2.0],
            sampling_param_seed=np.uint64([2**64 - 1]),
            sampling_param_max_tokens=[9],
            sampling_param_stop=np.array([b"\n", "né".encode(), b""], dtype=object),
            sampling_param_best_of=[1],
            sampling_param_exclude_input_from_output=[True],
            sampling_param_return_perf_metrics=[True],
            return_finish_reason=[True],
            return_stop_reason=[True],
            return_cumulative_logprob=[True],
        )
    )
    assert ask == Ask(
        "hello", True, Sampling(0.5, 7, 0.25, -1.5, 2.0, 2**64 - 1), 9, ("\n", "né"), *[True] * 5
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text_input": np.array([b"a", b"b"], dtype=object)}, "text_input: expected 1 prompt, got 2"),
        ({"text_input": np.array([], dtype=object)}, "text_input: expected 1 prompt, got 0"),
        ({"text_input": np.array([b"a\xff"], dtype=object)}, "text_input: not UTF-8: .* at byte 1"),
        ({"sampling_param_stop": np.array([b"\xff"], dtype=object)}, "sampling_param_stop: not UTF-8"),
        ({"sampling_param_max_tokens": [0]}, "sampling_param_max_tokens: expected 1 or more, got 0"),
        ({"sampling_param_max_tokens": [1, 2]}, "sampling_param_max_tokens: expected 1 value, got 2"),
        ({"sampling_param_temperature": [-0.1]}, "sampling_param_temperature: expected a number"),
        ({"sampling_param_temperature": [np.nan]}, "sampling_param_temperature: expected a number"),
        ({"sampling_param_temperature": [np.inf]}, "sampling_param_temperature: expected a number"),
        ({"sampling_param_top_p": [1.01]}, r"sampling_param_top_p: expected a number from 0.0 to 1.0"),
        ({"sampling_param_top_k": [-1]}, "sampling_param_top_k: expected 0 or more, got -1"),
        ({"sampling_param_presence_penalty": [np.nan]}, "sampling_param_presence_penalty: expected"),
        ({"sampling_param_best_of": [2]}, "sampling_param_best_of: this server makes 1 answer, got 2"),
        ({"image_url": np.array([b"x"], dtype=object)}, "image_url: not supported"),
        ({"lora_id": [1]}, "lora_id: not supported"),
        ({"lora_name": np.array([b"x"], dtype=object)}, "lora_name: not supported"),
        ({"lora_path": np.array([b"x"], dtype=object)}, "lora_path: not supported"),
        ({"lora_ckpt_source": np.array([b"x"], dtype=object)}, "lora_ckpt_source: not supported"),
    ],
)
def test_what_is_wrong_is_said_by_name(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        parse({**PROMPT, **{name: np.asarray(value) for name, value in wrong.items()}})


def test_a_request_without_a_prompt_is_refused() -> None:
    with pytest.raises(RefusedError, match="text_input: missing"):
        parse({"streaming": np.array([True])})


@pytest.mark.parametrize(
    ("given", "stop"), [({}, False), ({"stop": [False]}, False), ({"stop": [True]}, True)]
)
def test_a_stop_is_told_from_a_prompt(given: dict[str, Any], stop: bool) -> None:
    assert is_stop({name: np.array(value) for name, value in given.items()}) is stop
