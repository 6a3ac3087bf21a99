"""The command that writes the background."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from services.classifier.core.background import Background
from training.classifier import background
from training.classifier.rows import rows


def test_the_shipped_background_is_what_the_command_writes(tmp_path: Path) -> None:
    background.main(tmp_path / "background.npz")
    made = Background.from_file(tmp_path / "background.npz").points
    shipped = Background.from_file(background.MODEL / "background.npz").points
    assert made.ngrams == pytest.approx(shipped.ngrams, abs=1e-3)
    # Another processor adds up in another order.
    assert (made.embeddings * shipped.embeddings).sum(1).min() > 0.995


def test_the_rows_are_of_every_source_but_the_benchmarks() -> None:
    every, _ = rows(tmp := Path("/nonexistent"))
    assert not tmp.exists()
    counts = Counter(row.source for row in background.chosen(every))
    assert sum(counts.values()) == background.ROWS
    assert not [source for source in counts if "banking77" in source]
    assert set(counts) == {row.source for row in every if "banking77" not in row.source}
    assert max(counts.values()) <= 2 * background.ROWS / len(counts)
