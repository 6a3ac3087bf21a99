"""Which disagreements are kept, and how much of their texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.examples import (
    DAY_US,
    Keeping,
    Standing,
    Texts,
    Turn,
    admitted,
    bounded,
    disagreement,
    sha256,
)

SALT = bytes(16)
EURO = "€"
"""Three bytes."""


@pytest.mark.parametrize(
    ("sovereign", "noise", "expected"),
    [
        (0, 1_000_000, -1_000_000),
        (400_000, 900_000, -500_000),
        (0, 0, None),
        (1_000_000, 1_000_000, None),
        (900_000, 400_000, None),
        (None, 1_000_000, None),
        (0, None, None),
    ],
    ids=["apart", "somewhat", "noise", "agree", "better", "no-answer", "no-noise"],
)
def test_what_shows_a_disagreement(sovereign: int | None, noise: int | None, expected: int | None) -> None:
    assert disagreement(sovereign, noise) == expected


standings = st.lists(
    st.builds(
        Standing,
        st.integers(-3, -1),
        st.integers(0, 10**6).map(lambda number: number.to_bytes(4, "big")),
        st.sampled_from(["", "", "a", "b", "c"]),
    ),
    max_size=30,
    unique_by=lambda item: item.sample_id,
)


@given(standings, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_worst_are_kept_in_whatever_order_they_come(
    every: list[Standing], limit: int, random: object
) -> None:
    best: dict[object, Standing] = {}
    for item in sorted(every):
        best.setdefault(item.cluster or item.sample_id, item)
    expected = sorted(best.values())[:limit]
    random.shuffle(every)  # type: ignore[attr-defined]  # random.Random
    kept: list[Standing] = []
    for item in every:
        keep, out = admitted(item, kept, limit)
        assert keep or not out
        kept = [old for old in kept if old not in out] + [item] * keep
    assert sorted(kept) == expected


def test_a_workload_without_days_keeps_nothing() -> None:
    keeping = Keeping({"triage": 2})
    assert keeping.expires("triage", 5) == 5 + 2 * DAY_US
    assert keeping.days_of("another") == 0
    assert keeping.expires("another", 5) == 5


CHAT = (("system", "S" * 100), ("user", "old" * 100), ("assistant", "A" * 100), ("user", "U" * 100))


@pytest.mark.parametrize(
    ("max_bytes", "turns", "left_out"),
    [
        (10_000, [("system", 100), ("user", 300), ("assistant", 100), ("user", 100)], 0),
        (700, [("system", 100), ("user", 50), ("assistant", 100), ("user", 100)], 0),
        (480, [("system", 100), ("assistant", 40), ("user", 100)], 1),
        (260, [("system", 30), ("user", 100)], 2),
        (100, [("user", 50)], 3),
    ],
)
def test_what_the_user_said_last_has_room_first(
    max_bytes: int, turns: list[tuple[str, int]], left_out: int
) -> None:
    texts = bounded(CHAT, "c" * 1_000, "short", max_bytes, SALT)
    assert [(turn.speaker, len(turn.text)) for turn in texts.turns] == turns
    assert texts.turns_left_out == left_out
    assert len(texts.cloud.text) == min(1_000, max_bytes // 4)
    assert texts.cloud.bytes_left_out == 1_000 - len(texts.cloud.text)
    assert texts.sovereign == Turn("assistant", "short")


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "tool"]), st.text(max_size=40)), max_size=6),
    st.text(max_size=60),
    st.text(max_size=60),
    st.integers(0, 200),
)
def test_no_more_is_kept_than_may_be_and_nothing_is_left_out_in_silence(
    chat: list[tuple[str, str]], cloud: str, sovereign: str, max_bytes: int
) -> None:
    texts = bounded(chat, cloud, sovereign, max_bytes, SALT)
    kept = [*texts.turns, texts.cloud, texts.sovereign]
    assert sum(len(turn.text.encode()) for turn in kept) <= max_bytes
    assert len(texts.turns) + texts.turns_left_out == len(chat)
    for said, turn in ((cloud, texts.cloud), (sovereign, texts.sovereign)):
        assert said.startswith(turn.text)
        assert len(said.encode()) == len(turn.text.encode()) + turn.bytes_left_out
    assert Texts.from_json(texts.to_json()) == texts


def test_a_sign_is_not_cut_in_two() -> None:
    texts = bounded([("user", EURO * 3)], "", "", 16, SALT)
    assert texts.turns == (Turn("user", EURO * 2, 3),)


def test_a_lone_surrogate_does_not_break_it() -> None:
    assert b"?" in bounded([], "\ud800", "", 100, SALT).to_json()


def test_the_hash_is_one_that_anybody_can_compute() -> None:
    content = bounded([("user", f"5 {EURO}")], "yes", "no", 100, SALT).to_json()
    again = json.dumps(json.loads(content), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert sha256(again.encode()) == sha256(content)
    assert sha256(content) != sha256(bounded([("user", f"5 {EURO}")], "yes", "no", 100, b"1" * 16).to_json())
