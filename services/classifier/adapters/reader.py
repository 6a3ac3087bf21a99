"""The model as a whole: requests in, readings out. It serves, and the command that evaluates has it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.classifier.adapters.language import LanguageGate
from services.classifier.core.general import GeneralModel
from services.classifier.core.ngrams import ngrams
from services.classifier.core.reading import Reading
from services.classifier.core.window import window
from services.common.encoder import Encoder
from services.common.seen import Seen


class Reader:
    """Reads requests. `read` may be called from several threads at once."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Loads the encoder, the general model and the language gate.

        Args:
            folder: `models/classifier` or one like it.
            threads: of the encoder, for one call.

        Raises:
            OSError: a file of the folder is missing.
        """
        self.encoder = Encoder(folder, threads=threads)
        self._language = LanguageGate()
        self.general = GeneralModel.from_file(folder / "heads.npz")

    def read(self, requests: Sequence[Seen]) -> list[Reading]:
        """What the model makes of each request."""
        if not requests:
            return []
        texts = [window(seen) for seen in requests]
        encoded = self.encoder.encode(texts)
        known = np.array([self._language.knows(seen) for seen in requests])
        grams = [ngrams(text) for text in texts]
        task_types = self.general.task_types(requests, encoded.states, grams) * known[:, None]
        return [
            Reading(encoded.embeddings[row], *pair, task_types[row].astype(np.float32), bool(known[row]))
            for row, pair in enumerate(grams)
        ]
