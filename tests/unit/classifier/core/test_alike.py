"""Groups by fixed parts: what must be together, and what must not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.classifier.core.alike import by_system_prompt, by_template, by_tools
from services.classifier.core.traffic import Sighting, Unnamed, remembered
from services.common.seen import Seen, cut
from services.common.words import TaskType

LONG = (
    "You read the letters of an insurance company's customers and tell which department has to answer them."
    " Damage to a car, to a house and to health go to the departments of these names, and everything about an"
    " invoice goes to accounting. Answer with the name of one department and nothing else."
)
SHARED = "Below is an instruction that describes a task. Write a response that completes it. {} {}"
LESSONS = "Explain the following to a child of seven, with an example from the kitchen"
REVIEWS = "Say in one word whether the customer was content with what they got"


def requests(seen: Sequence[Seen]) -> list[Unnamed]:
    return [
        remembered(
            Sighting(b"", at, "", item, np.ones(384, np.float32), TaskType.UNSPECIFIED, 0.0),
            keep_prompts=False,
        )
        for at, item in enumerate(seen)
    ]


@pytest.mark.parametrize(
    ("prompts", "groups"),
    [
        (["Sort these tickets by topic."] * 3, [[0, 1, 2]]),
        (["Sort these tickets by topic.", "Sort  these tickets\nby topic."], [[0, 1]]),
        # What changes from release to release.
        (["Sort these tickets by topic. Version 1.", "Sort these tickets by topic. Version 2."], [[0, 1]]),
        # An edit of a long one.
        ([LONG, LONG.replace("nothing else", "nothing more")], [[0, 1]]),
        # Another work, the larger group first.
        (["Sort these tickets by topic."] * 2 + ["Sum these tickets up."] * 3, [[2, 3, 4], [0, 1]]),
        (
            ["Translate the letter into German."] * 2 + ["Translate the letter into Dutch."] * 2,
            [[0, 1], [2, 3]],
        ),
        # Too few.
        (["Sort these tickets by topic.", "Sum these tickets up."], []),
        ([""] * 3, []),
    ],
)
def test_system_prompts_are_alike_but_for_what_changes(prompts: list[str], groups: list[list[int]]) -> None:
    found = by_system_prompt(requests([cut(text, [str(at)]) for at, text in enumerate(prompts)]), 2)
    assert found == groups


def test_tools_and_schema_put_together_what_has_no_system_prompt() -> None:
    seen = [
        cut("", ["1"], tool_names=["a", "b"]),
        cut("", ["2"], tool_names=["b", "a"]),
        cut("", ["3"], tool_names=["a"]),
        cut("", ["4"], response_schema='{"type": "object"}'),
        cut("", ["5"], response_schema='{"type":"object"}'),
        cut("Sort these tickets by topic.", ["6"], tool_names=["a", "b"]),
        cut("", ["7"]),
    ]
    assert by_tools(requests(seen), 2) == [[0, 1], [3, 4]]


def many(template: str, task: str = "") -> list[str]:
    return [template.format(task, f"{word} and so on {word}") for word in ("alpha", "beta", "gamma", "delta")]


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (many("Tell me in one short sentence what this is about: {}{}"), [[0, 1, 2, 3]]),
        # Eight words that two templates share are not all of either.
        (many(SHARED, LESSONS) + many(SHARED, REVIEWS), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        # A head of four words and a tail of four.
        (many("Tell me about it: {}{}. What is it about?"), [[0, 1, 2, 3]]),
        # A tail alone, if it is long.
        ([f"{text} Answer in one word, yes or no." for text in many("{}{}")], [[0, 1, 2, 3]]),
        # Three words at the beginning are chance.
        (many("Tell me about {}{}"), []),
        (many("{}{}"), []),
    ],
)
@pytest.mark.parametrize("in_system_prompt", [False, True])
def test_templates_are_alike_up_to_their_slot(
    texts: list[str], groups: list[list[int]], in_system_prompt: bool
) -> None:
    seen = [cut(text, [str(at)]) if in_system_prompt else cut("", [text]) for at, text in enumerate(texts)]
    found = by_template(requests(seen), list(range(len(seen))), 4)
    assert found == groups


def test_a_templates_popular_way_to_go_on_does_not_split_it() -> None:
    head = "Tell me in one short sentence what the following is about: "
    texts = [head + "the weather in the north of the country today"] * 5 + many(head + "{}{}") * 2
    found = by_template(requests([cut("", [text]) for text in texts]), list(range(len(texts))), 4)
    assert found == [list(range(len(texts)))]


def test_only_the_rows_that_are_left_are_looked_at() -> None:
    seen = [cut("", [text]) for text in many("Tell me in one short sentence what this is about: {}{}") * 2]
    assert by_template(requests(seen), [1, 2, 5, 6], 4) == [[1, 2, 5, 6]]
