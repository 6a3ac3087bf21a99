import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.fingerprint import DIGEST_BYTES, fingerprint


@pytest.mark.parametrize(
    "text", ["You triage tickets.", "  You triage\ttickets.\n", "You\r\n\r\ntriage   tickets."]
)
def test_white_space_does_not_matter(text: str) -> None:
    assert fingerprint(text) == hashlib.sha256(b"You triage tickets.").digest()[:16]


@pytest.mark.parametrize("text", ["you triage tickets.", "You triage tickets", "Youtriage tickets.", ""])
def test_every_other_difference_does(text: str) -> None:
    assert fingerprint(text) != fingerprint("You triage tickets.")


@given(st.lists(st.text(alphabet="abcö", min_size=1), max_size=5))
def test_only_the_words_count(words: list[str]) -> None:
    digest = fingerprint(" ".join(words))
    assert len(digest) == DIGEST_BYTES
    assert digest == fingerprint("\n" + "\t ".join(words) + " ")
