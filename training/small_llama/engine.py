"""Runs a shipped version, greedily, with the prompt's prefix kept between requests."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime_genai as og


class Engine:
    """One model, one sequence at a time."""

    def __init__(self, folder: Path, ends: frozenset[int], context: int) -> None:
        """Loads the version folder.

        Args:
            folder: with genai_config.json and model.onnx.
            ends: tokens that end an answer.
            context: tokens of prompt and answer together.
        """
        self._ends = ends
        self._model = og.Model(str(folder))
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=context, do_sample=False)
        self._generator = og.Generator(self._model, params)
        self._held: list[int] = []
        """Tokens whose keys and values the generator has."""
        self.decoded = 0
        """Tokens chosen so far."""

    def answer(self, prompt: list[int], most: int) -> list[int]:
        """The likeliest answer, without its end.

        Args:
            prompt: token ids.
            most: tokens at most.

        Returns:
            Token ids.
        """
        self._read(prompt)
        made: list[int] = []
        while len(made) < most:
            token = self._likeliest()
            if token in self._ends:
                break
            made.append(token)
            self._take(token)
        return made

    def pace(self, prompt: list[int], count: int) -> float:
        """Tokens a second of decoding alone, ends ignored.

        Args:
            prompt: token ids that stand before.
            count: tokens to decode.
        """
        self._read(prompt)
        began = time.perf_counter()
        for _ in range(count):
            self._take(self._likeliest())
        return count / (time.perf_counter() - began)

    def _likeliest(self) -> int:
        self.decoded += 1
        return int(np.asarray(self._generator.get_logits()).reshape(-1).argmax())

    def _take(self, token: int) -> None:
        self._held.append(token)
        self._generator.append_tokens(np.array([token], dtype=np.int32))

    def _read(self, prompt: list[int]) -> None:
        same = 0
        while same < min(len(prompt) - 1, len(self._held)) and prompt[same] == self._held[same]:
            same += 1
        self._generator.rewind_to(same)
        self._held = list(prompt)
        self._generator.append_tokens(np.array(prompt[same:], dtype=np.int32))
