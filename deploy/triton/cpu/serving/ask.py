"""The input tensors of a request, parsed into one value that can't be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.triton.cpu.serving.sampling import Sampling

DEFAULT_MAX_TOKENS = 32
"""What TensorRT-LLM's SamplingParams takes when a request does not say (tensorrt_llm/sampling_params.py)."""
UNSUPPORTED = ("image_url", "lora_id", "lora_name", "lora_path", "lora_ckpt_source")
"""Inputs of the contract that this server refuses."""

Tensors = Mapping[str, npt.NDArray[Any]]


class RefusedError(Exception):
    """A request is wrong; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for."""

    prompt: str
    streaming: bool
    sampling: Sampling
    max_tokens: int
    """At least 1."""
    stop_words: tuple[str, ...]
    exclude_input: bool
    """False puts the prompt before the text."""
    finish_reason: bool
    """Whether to answer this output; so with the next three."""
    stop_reason: bool
    cumulative_logprob: bool
    perf_metrics: bool


def is_stop(tensors: Tensors) -> bool:
    """True if this is no prompt but the wish to stop an earlier request of the same id.

    Raises:
        RefusedError: `stop` is no scalar.
    """
    return bool(_scalar(tensors, "stop", False))


def parse(tensors: Tensors) -> Ask:
    """Reads the input tensors by name.

    Raises:
        RefusedError: one is missing, has a wrong shape or value, or asks for what is not served here.
    """
    for name in UNSUPPORTED:
        if name in tensors:
            raise RefusedError(f"{name}: not supported by this server; leave it out")
    best_of = int(_scalar(tensors, "sampling_param_best_of", 1))
    if best_of != 1:
        raise RefusedError(f"sampling_param_best_of: this server makes 1 answer, got {best_of}")
    if "text_input" not in tensors:
        raise RefusedError("text_input: missing; it is the prompt")
    prompts = _texts(tensors, "text_input")
    if len(prompts) != 1:
        raise RefusedError(f"text_input: expected 1 prompt, got {len(prompts)}")
    max_tokens = int(_scalar(tensors, "sampling_param_max_tokens", DEFAULT_MAX_TOKENS))
    if max_tokens < 1:
        raise RefusedError(f"sampling_param_max_tokens: expected 1 or more, got {max_tokens}")
    seed = _scalar(tensors, "sampling_param_seed", None)
    return Ask(
        prompt=prompts[0],
        streaming=bool(_scalar(tensors, "streaming", False)),
        sampling=Sampling(
            temperature=_number(tensors, "temperature", None, 0.0, math.inf),
            top_k=_whole(tensors, "top_k"),
            top_p=_number(tensors, "top_p", None, 0.0, 1.0),
            frequency_penalty=_number(tensors, "frequency_penalty", 0.0, -math.inf, math.inf) or 0.0,
            presence_penalty=_number(tensors, "presence_penalty", 0.0, -math.inf, math.inf) or 0.0,
            seed=None if seed is None else int(seed),
        ),
        max_tokens=max_tokens,
        # An empty stop word would stop every answer before its first letter.
        stop_words=tuple(word for word in _texts(tensors, "sampling_param_stop") if word),
        exclude_input=bool(_scalar(tensors, "sampling_param_exclude_input_from_output", False)),
        finish_reason=bool(_scalar(tensors, "return_finish_reason", False)),
        stop_reason=bool(_scalar(tensors, "return_stop_reason", False)),
        cumulative_logprob=bool(_scalar(tensors, "return_cumulative_logprob", False)),
        perf_metrics=bool(_scalar(tensors, "sampling_param_return_perf_metrics", False)),
    )


def _scalar(tensors: Tensors, name: str, default: Any) -> Any:
    if name not in tensors:
        return default
    tensor = tensors[name]
    if tensor.size != 1:
        raise RefusedError(f"{name}: expected 1 value, got {tensor.size}")
    return tensor.reshape(-1)[0]


def _number(tensors: Tensors, name: str, default: float | None, low: float, high: float) -> float | None:
    value = _scalar(tensors, f"sampling_param_{name}", default)
    if value is None:
        return None
    if not (math.isfinite(value) and low <= value <= high):
        raise RefusedError(f"sampling_param_{name}: expected a number from {low} to {high}, got {value}")
    return float(value)


def _whole(tensors: Tensors, name: str) -> int | None:
    value = _scalar(tensors, f"sampling_param_{name}", None)
    if value is not None and value < 0:
        raise RefusedError(f"sampling_param_{name}: expected 0 or more, got {value}")
    return None if value is None else int(value)


def _texts(tensors: Tensors, name: str) -> list[str]:
    if name not in tensors:
        return []
    try:
        return [str(value, "utf-8") for value in np.ravel(tensors[name])]
    except UnicodeDecodeError as error:
        raise RefusedError(f"{name}: not UTF-8: {error.reason} at byte {error.start}") from None
