"""Protos ↔ core, where a number of the wire is more than anything here can keep."""

from __future__ import annotations

import pytest
from homeward.classifier.v1 import classifier_pb2

from services.classifier import translate
from services.classifier.translate import MAX_INPUT_CHARS


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0, 0), (7, 7), (2**63 - 1, MAX_INPUT_CHARS), (2**63, MAX_INPUT_CHARS), (2**64 - 1, MAX_INPUT_CHARS)],
)
def test_a_count_of_characters_is_within_what_the_tables_can_count(sent: int, kept: int) -> None:
    request = classifier_pb2.ClassifyRequest(turns=["hello"], input_chars=sent)
    assert translate.seen(request).input_chars == kept
