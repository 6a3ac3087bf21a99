"""The background as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.classifier.core.background import Background, write
from services.classifier.core.ngrams import ngrams
from services.classifier.core.reading import Reading
from services.classifier.core.regression import points

SHIPPED = Path(__file__).parents[4] / "models" / "classifier" / "background.npz"


def readings() -> list[Reading]:
    random = np.random.default_rng(0)
    found = []
    for text in ("Summarize the report.", "", "Write a poem about the sea, please."):
        vector = random.normal(size=384)
        embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
        found.append(Reading(embedding, *ngrams(text), np.zeros(10, np.float32), True))
    return found


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "background.npz", readings())
    found, expected = Background.from_file(tmp_path / "background.npz").points, points(readings())
    assert found.embeddings == pytest.approx(expected.embeddings, abs=1e-3)
    assert found.ngrams == pytest.approx(expected.ngrams, abs=1e-3)
    assert np.linalg.norm(found.embeddings, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_shipped_one_is_small_and_of_some_hundred_requests() -> None:
    assert SHIPPED.stat().st_size <= 1_000_000
    rows = Background.from_file(SHIPPED).points
    assert 200 <= len(rows.embeddings) <= 1000
    near = rows.embeddings @ rows.embeddings.T - 2 * np.eye(len(rows.embeddings))
    # Of every kind: few have a twin.
    assert (near.max(-1) > 0.99).mean() < 0.05
    assert np.median(near) < 0.2


def test_a_file_that_is_no_background_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(KeyError):
        Background.from_file(tmp_path / "other.npz")
    with pytest.raises(OSError, match=r"nothing\.npz"):
        Background.from_file(tmp_path / "nothing.npz")
