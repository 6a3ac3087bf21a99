"""Names for groups of requests: telling, unique, and never of anybody."""

from __future__ import annotations

import pytest

from services.classifier.core.titles import numbered, telling_words, unique, words_of_tools
from services.common.seen import Seen, cut

MANY = range(12)
ELSEWHERE = [cut("", [f"please write a song of {word}"]) for word in ("love", "sun", "rain", "snow")] * 3


@pytest.mark.parametrize(
    ("group", "words"),
    [
        # In the order in which they are said; among equals the first of the alphabet are chosen.
        (
            [cut("Summarize tickets politely.", [f"it broke {n}"]) for n in MANY],
            ["summarize", "politely", "broke"],
        ),
        # A name, in whatever sentence it is written with a capital.
        (
            [cut("", [f"ask Maria about invoices, maria knows {n}"]) for n in MANY],
            ["ask", "invoices", "knows"],
        ),
        # Also where others write it without.
        (
            [cut("", [f"ask {'maria' if n % 2 else 'Maria'} about invoices {n}"]) for n in MANY],
            ["ask", "invoices"],
        ),
        # Numbers, addresses, days.
        ([cut("", [f"refund order 4711 for a@b.example on monday {n}"]) for n in MANY], ["refund", "order"]),
        # What only some of them say is theirs.
        ([cut("", [f"refund {'abcdefghijkl'[n] * 5} quickly"]) for n in MANY], ["refund", "quickly"]),
        # What all say, here and elsewhere, tells nothing.
        ([cut("", [f"please write a refund {n}"]) for n in MANY], ["refund"]),
        # A language or a format says what the work is.
        ([cut("", [f"put that into German for me {n}"]) for n in MANY], ["put", "german"]),
        ([cut("", ["謝謝你的幫助"]) for _ in MANY], []),
        ([], []),
    ],
)
def test_the_words_that_tell_a_group_from_others(group: list[Seen], words: list[str]) -> None:
    found, _ = telling_words([group, ELSEWHERE])
    assert found == words


def test_names_are_unique() -> None:
    assert unique(["a", "b"], ()) == "a-b"
    assert unique(["a", "b"], {"a-b"}) == "a-b-2"
    assert unique(["a", "b"], {"a-b", "a-b-2"}) == "a-b-3"
    assert numbered(["summarization", "crm"], ()) == "summarization-crm-1"
    assert numbered(["context_qa", "crm"], {"context-qa-crm-1"}) == "context-qa-crm-2"


@pytest.mark.parametrize("words", [["a" * 20] * 3, ["x" * 63], ["Ä ö!", "k" * 80]])
def test_names_are_no_longer_than_the_contract_allows(words: list[str]) -> None:
    for number in range(1, 120, 40):
        taken = {numbered(words, {f"{numbered(words, ())[:-2]}-{n}" for n in range(1, number)})}
        assert all(len(name) <= 63 and name == name.strip("-") for name in taken)


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ((), []),
        (("search_orders", "x"), ["search", "orders"]),
        (("findOrder2",), ["find", "order"]),
        (("a1",), []),
    ],
)
def test_a_tools_name_is_made_of_words(tools: tuple[str, ...], words: list[str]) -> None:
    assert words_of_tools(tools) == words
