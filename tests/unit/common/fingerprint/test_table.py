"""Whose the fixed parts of a request are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.fingerprint import (
    AmbiguousError,
    Hit,
    Shape,
    ShapeTable,
    shape_of,
    shape_of_system_prompt,
    shapes_of_examples,
)
from services.common.seen import Seen

CONTOSO = "You triage the tickets of Contoso, release 1.0. Name the one queue that fits."
NORTHWIND = CONTOSO.replace("Contoso", "Northwind")
FABRIKAM = CONTOSO.replace("Contoso", "Fabrikam")


def asked(system_prompt: str = "", *turns: str, tools: tuple[str, ...] = (), schema: str = "") -> Seen:
    return Seen(system_prompt, turns, tools, schema)


def name(table: ShapeTable, seen: Seen) -> str | None:
    hit = table.find(seen)
    return hit.workload if hit else None


@pytest.mark.parametrize(
    ("seen", "hit"),
    [
        (asked(CONTOSO), Hit("triage", True, 1.0)),
        (
            asked(CONTOSO.replace(" ", "\n\n"), "Hi", tools=("t",), schema='{"a": 1}'),
            Hit("triage", True, 1.0),
        ),
        (asked(NORTHWIND.replace("1.0", "7")), Hit("triage", False, 0.999)),
        (asked("You write poems about the sea."), None),
        (asked(""), None),
        # A user's content never stands for a system prompt.
        (asked("", CONTOSO), None),
        (asked("Be brief.", CONTOSO), None),
        (asked(" \n", CONTOSO), None),
    ],
)
def test_a_system_prompt_names_a_request_and_nothing_that_the_user_wrote_does(
    seen: Seen, hit: Hit | None
) -> None:
    assert ShapeTable([("triage", shape_of_system_prompt(CONTOSO))]).find(seen) == hit


def test_two_workloads_that_differ_in_a_name_are_told_apart_to_the_letter_and_no_other_is_guessed() -> None:
    table = ShapeTable([("c", shape_of_system_prompt(CONTOSO)), ("n", shape_of_system_prompt(NORTHWIND))])
    assert [name(table, asked(prompt)) for prompt in (CONTOSO, NORTHWIND, FABRIKAM)] == ["c", "n", None]


@pytest.mark.parametrize(
    ("tools", "schema", "named", "similar"),
    [
        (("t",), "", "tools", "tools"),
        ((), '{"a": 1}', "schema", "schema"),
        ((), "", "neither", None),
        (("t",), '{"a": 1}', None, None),
        (("u",), "", None, None),
    ],
)
def test_tools_and_schema_decide_where_system_prompts_do_not(
    tools: tuple[str, ...], schema: str, named: str | None, similar: str | None
) -> None:
    table = ShapeTable(
        [
            ("tools", shape_of(asked(CONTOSO, tools=("t",)))),
            ("schema", shape_of(asked(CONTOSO, schema='{"a":1}'))),
            ("neither", shape_of(asked(CONTOSO))),
        ]
    )
    assert name(table, asked(CONTOSO, tools=tools, schema=schema)) == named
    assert name(table, asked(NORTHWIND, tools=tools, schema=schema)) == similar


@pytest.mark.parametrize(
    ("one", "two", "part"),
    [
        (shape_of_system_prompt(CONTOSO), shape_of_system_prompt(f" {CONTOSO}\n"), "system prompt"),
        (shape_of(asked(tools=("b", "a"))), shape_of(asked(tools=("a", "b"))), "tools and schema"),
        (Shape(template_head="a b c d e f"), Shape(template_head="a b c d e f"), "template"),
    ],
)
def test_two_workloads_with_one_shape_are_refused_by_name(one: Shape, two: Shape, part: str) -> None:
    with pytest.raises(AmbiguousError, match=f"'a' and 'b' have the same {part}") as caught:
        ShapeTable([("b", one), ("a", two)])
    assert (caught.value.name, caught.value.other, caught.value.part) == ("a", "b", part)
    ShapeTable([("a", one), ("a", two)])


def test_shapes_without_a_part_name_nothing() -> None:
    table = ShapeTable([("a", Shape()), ("b", Shape())])
    assert [name(table, seen) for seen in (asked(), asked("", "Hi"), asked("Hi"))] == [None] * 3


def test_tools_and_schema_name_a_request_that_has_no_system_prompt_if_both_are_the_same() -> None:
    table = ShapeTable([("a", shape_of(asked(tools=("x", "y"), schema='{"a": 1}')))])
    assert table.find(asked("", "Hi", tools=("y", "x"), schema='{"a":1}')) == Hit("a", True, 1.0)
    others = [
        asked("", "Hi", tools=("x",), schema='{"a":1}'),
        asked("", "Hi", tools=("x", "y")),
        asked("", "Hi", schema='{"a":1}'),
        asked("Be brief.", "Hi", tools=("x", "y"), schema='{"a":1}'),
    ]
    assert [name(table, seen) for seen in others] == [None] * 4


# Templates

LETTERS = (
    "Where is the parcel?",
    "My card was stolen.",
    "I need 3 more.",
    "Please cancel",
    "It broke",
    "Thanks",
)
FORM = "Summarize the letter below in two sentences: {}\n\nWrite in plain words."
TEMPLATE = ShapeTable(
    ("sum", shape) for shape in shapes_of_examples([asked("", FORM.format(x)) for x in LETTERS])
)


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (asked("", FORM.format("Another one.")), True),
        (asked("", FORM.format("Another one. " * 5000)), True),
        (asked("", FORM.format("").upper()), True),
        # Anchored at both ends.
        (asked("", "Hello! " + FORM.format("Another one.")), False),
        (asked("", FORM.format("Another one.") + " Thanks!"), False),
        (asked("", FORM.format("Another one.").partition("Write")[0]), False),
        (asked("", "Summarize the letter below in two sentences: write in plain"), False),
        # Only a request that is like the examples in all else.
        (asked("Be brief.", FORM.format("Another one.")), False),
        (asked("", "Welcome.", FORM.format("Another one.")), False),
        (asked("", FORM.format("Another one."), tools=("t",)), False),
        (asked("", FORM.format("Another one."), schema='{"a": 1}'), False),
    ],
)
def test_a_template_names_what_begins_and_ends_like_it(seen: Seen, named: bool) -> None:
    hit = TEMPLATE.find(seen)
    assert (hit is not None) is named
    assert hit is None or (not hit.exact and hit.confidence < 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a b c d e f x", "short"),
        ("a b c d e f g x", "long"),
        ("a b c d e f g x z", "both"),
        # Neither contains the other: it could be either.
        ("a b c d e f g x y", None),
        ("a b c d e f x y", "tail"),
    ],
)
def test_of_templates_that_contain_another_the_longer_one_names(text: str, named: str | None) -> None:
    heads = {"short": ("a b c d e f", ""), "long": ("a b c d e f g", ""), "both": ("a b c d e f g", "z")}
    shapes = {key: Shape(template_head=head, template_tail=tail) for key, (head, tail) in heads.items()}
    shapes["tail"] = Shape(template_head="a b c d e f", template_tail="y")
    assert name(ShapeTable(shapes.items()), asked("", text)) == named


# Order

PARTS = st.builds(
    asked,
    st.sampled_from(["", CONTOSO, NORTHWIND, FABRIKAM, "Be brief, be kind."]),
    tools=st.sampled_from([(), ("t",), ("t", "u")]),
    schema=st.sampled_from(["", '{"a": 1}']),
)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), PARTS), max_size=8), PARTS, st.randoms(use_true_random=False)
)
def test_the_order_of_registration_never_matters(
    registered: list[tuple[str, Seen]], seen: Seen, rng: random.Random
) -> None:
    def answer(order: list[tuple[str, Seen]]) -> object:
        try:
            return ShapeTable((owner, shape_of(item)) for owner, item in order).find(seen)
        except AmbiguousError as error:
            return error.part

    shuffled = registered.copy()
    rng.shuffle(shuffled)
    answers = {repr(answer(registered)), repr(answer(shuffled))}
    # Of several conflicts either may be told.
    assert len(answers) == 1 or all(part in ("'system prompt'", "'tools and schema'") for part in answers)
