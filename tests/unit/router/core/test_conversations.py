"""A conversation is the same through all its turns, and keeps its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.words import Evidence
from services.router.core.conversations import Conversations, conversation_id
from services.router.core.naming import ABSTAINED, Name, Registered, Table
from services.router.core.recent import Recent
from services.router.core.shown import Opening

TABLE = Table(1, {"triage": Registered()})
TRIAGE = Name("triage", Evidence.FINGERPRINT, confidence=1.0)


def test_a_conversation_is_named_by_its_opening_or_by_its_declared_id() -> None:
    first, later = Opening("Be brief.", ("Hi",), False), Opening("Be brief.", ("Hi",), True)
    other = Opening("Be brief.", ("Ho",), False)
    assert conversation_id("crm", "", first) == conversation_id("crm", "", later)
    assert conversation_id("crm", "7", first) == conversation_id("crm", "7", other)


@pytest.mark.parametrize("odd", ["\udcff", "a\ud800"])
def test_a_header_that_is_no_text_names_one_all_the_same(odd: str) -> None:
    assert len(conversation_id("crm", odd, Opening(odd, (odd,), False))) == 32


WORDS = st.text("ab\n", max_size=3)


@given(*[st.tuples(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=3).map(tuple))] * 2)
def test_different_conversations_are_never_taken_for_one(
    one: tuple[str, str, str, tuple[str, ...]], two: tuple[str, str, str, tuple[str, ...]]
) -> None:
    def essence(item: tuple[str, str, str, tuple[str, ...]]) -> object:
        return item[:2] if item[1] else item

    same = conversation_id(one[0], one[1], Opening(*one[2:], continues=False)) == conversation_id(
        two[0], two[1], Opening(*two[2:], continues=True)
    )
    assert same is (essence(one) == essence(two))


def test_names_are_kept_and_so_is_that_there_is_none() -> None:
    kept = Conversations(10)
    assert kept.name(b"1", TABLE) is None
    kept.keep(b"1", TRIAGE)
    kept.keep(b"2", ABSTAINED)
    assert kept.name(b"1", TABLE) == TRIAGE
    assert kept.name(b"2", TABLE) == ABSTAINED
    kept.keep(b"2", TRIAGE)
    assert kept.name(b"2", TABLE) == TRIAGE


def test_a_name_that_is_registered_no_longer_is_forgotten() -> None:
    kept = Conversations(10)
    kept.keep(b"1", TRIAGE)
    assert kept.name(b"1", Table(2, {})) is None


@given(st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6))))
def test_of_too_many_those_are_kept_that_were_used_last(size: int, uses: list[tuple[bool, int]]) -> None:
    recent: Recent[int, int] = Recent(size)
    order: list[int] = []
    for writes, key in uses:
        if writes:
            recent.keep(key, key)
            order = [*(item for item in order if item != key), key][-size:] if size else []
        else:
            assert recent.get(key) == (key if key in order else None)
            order = [*(item for item in order if item != key), key] if key in order else order
    assert len(recent) == len(order)
    recent.clear()
    assert len(recent) == 0
