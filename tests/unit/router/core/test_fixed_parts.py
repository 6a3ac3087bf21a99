"""Fixed parts are compared once for each system prompt and table."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.fingerprint import Hit, ShapeTable, fingerprint, shape_of, shape_of_system_prompt
from services.common.seen import Seen
from services.router.core.fixed_parts import FixedParts

PROMPT = "You triage the tickets of Contoso, release 1.0. Name the one queue that fits."
TRIAGE = ShapeTable([("triage", shape_of_system_prompt(PROMPT))])
OTHER = ShapeTable([("other", shape_of_system_prompt(PROMPT))])
CHANGED = Seen(system_prompt=PROMPT.replace("1.0", "2.0"))


class Counting(ShapeTable):
    """Counts how often it had to compare."""

    comparisons = 0

    def compared(self, *parts: Any) -> Hit | None:
        self.comparisons += 1
        return super().compared(*parts)


def test_a_registered_prompt_is_found_to_the_letter_and_without_what_changes() -> None:
    parts = FixedParts()
    exact = parts.find(TRIAGE, Seen(system_prompt=PROMPT))
    assert (exact.hit, exact.shape.digest) == (Hit("triage", True, 1.0), fingerprint(PROMPT))
    changed = parts.find(TRIAGE, CHANGED)
    assert changed.hit is not None
    assert (changed.hit.workload, changed.hit.exact) == ("triage", False)
    assert changed.shape.masked_digest == shape_of(CHANGED).masked_digest


@pytest.mark.parametrize("prompt", [CHANGED.system_prompt, "You write poems about the sea."])
def test_what_was_compared_is_remembered_whether_it_was_found_or_not(prompt: str) -> None:
    table, parts = Counting([("triage", shape_of_system_prompt(PROMPT))]), FixedParts()
    found = [parts.find(table, Seen(system_prompt=prompt, turns=(str(turn),))) for turn in range(5)]
    assert found == [found[0]] * 5
    assert table.comparisons == 1


def test_a_new_table_is_asked_anew() -> None:
    parts = FixedParts()
    names = [parts.find(table, CHANGED).hit for table in (TRIAGE, OTHER, ShapeTable(), TRIAGE)]
    assert [hit and hit.workload for hit in names] == ["triage", "other", None, "triage"]


def test_tools_that_decide_are_not_taken_from_another_request() -> None:
    parts = FixedParts()
    with_tools = [Seen(system_prompt=PROMPT, tool_names=(name,)) for name in "ab"]
    table = ShapeTable((name, shape_of(seen)) for name, seen in zip("ab", with_tools, strict=True))
    asked = [Seen(system_prompt=CHANGED.system_prompt, tool_names=(name,)) for name in "abc"]
    assert [(hit := parts.find(table, item).hit) and hit.workload for item in asked] == ["a", "b", None]


def test_a_request_without_a_system_prompt_has_its_tools_only() -> None:
    table = ShapeTable([("a", shape_of(Seen(tool_names=("x", "y"))))])
    found = FixedParts().find(table, Seen(turns=("Hi",), tool_names=("y", "x")))
    assert found.hit == Hit("a", True, 1.0)
    assert found.shape.tool_names == ("x", "y")
