"""The shipped encoder, which embeds no text twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from playbook.scorers.sets import ROOT
from services.common.encoder import Encoder

MODEL = ROOT / "models" / "classifier"


class Embedding:
    """Texts to embeddings; what was embedded is kept: some thousand rows here."""

    def __init__(self, threads: int = 2) -> None:
        self._encoder = Encoder(MODEL, threads=threads)
        self._kept: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The embeddings, row by row."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        self._kept.update(zip(new, self._encoder.encode(new).embeddings, strict=True))
        return np.stack([self._kept[text] for text in texts])
