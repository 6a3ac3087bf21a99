"""The encoder: texts in, vectors out. onnxruntime and the tokenizer, nothing else.

Each text goes through the network alone. On a CPU a batch is no faster at this size, and what a text gives
would hang on its neighbours, since the kernel scales the activations of a call as one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

# Its wheels start a telemetry client when they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

MAX_TOKENS = 128
"""Of a text, with the two that mark its ends: the model was trained on no more."""
EMBEDDING = 384
STATE = 768
_CHARS_A_TOKEN = 16
"""More than this many characters a token are never read: a bound on what the tokenizer gets."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some texts, encoded; row by row."""

    embeddings: NDArray[np.float32]
    """(n, 384), rows of length 1: near for texts of like meaning."""
    states: NDArray[np.float32]
    """(n, 768): what the general model's head reads."""


class Encoder:
    """The network. `encode` may be called from several threads at once."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Loads `encoder.onnx` and `tokenizer.json` of a folder.

        Args:
            folder: `models/classifier` or one like it.
            threads: that work on one text.

        Raises:
            FileNotFoundError: one of the files is missing.
        """
        for name in ("encoder.onnx", "tokenizer.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing; `make train-classifier` writes it")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # As it ships it pads to 128 tokens, which would cost a short text the time of a long one.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Waiting threads would spin on cores that the router needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The fusions would put a slower normalisation in (see training/classifier/graph.py).
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(
            str(folder / "encoder.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encodes texts of any length and any characters; 128 tokens of each are read."""
        embeddings = np.empty((len(texts), EMBEDDING), np.float32)
        states = np.empty((len(texts), STATE), np.float32)
        for row, text in enumerate(texts):
            ids = np.array([self._ids(text)], np.int64)
            embedding, state = self._session.run(("embedding", "state"), {"ids": ids})
            embeddings[row], states[row] = embedding[0], state[0]
        return Encoded(embeddings, states)

    def _ids(self, text: str) -> list[int]:
        # Half of a surrogate pair, which JSON can carry, is no character to the tokenizer.
        whole = text[: MAX_TOKENS * _CHARS_A_TOKEN].encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(whole).ids
        return ids
