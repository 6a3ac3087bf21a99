"""chrF beside sacreBLEU's, which is what the literature reports."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from services.shadow.core.scorers.chrf import chrf

ORACLES = {beta: CHRF(beta=beta) for beta in (1, 2)}
TEXTS = st.text(st.sampled_from("ab c\nÄ漢🦆") | st.characters(exclude_categories=("Cs",)), max_size=40)


@given(TEXTS, TEXTS, st.sampled_from(sorted(ORACLES)))
@settings(max_examples=300)
def test_it_is_that_of_sacrebleu(text: str, reference: str, beta: int) -> None:
    if not text.strip() or not reference.strip():
        assert chrf(text, reference, beta=beta) == 0
        return
    expected = ORACLES[beta].sentence_score(text, [reference]).score / 100
    assert chrf(text, reference, beta=beta) == pytest.approx(expected, abs=1e-9)


def test_half_of_a_surrogate_pair_is_a_character() -> None:
    assert chrf("\ud83e", "\ud83e") == pytest.approx(1)
