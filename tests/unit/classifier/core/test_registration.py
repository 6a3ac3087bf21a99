"""A registration is refused for what it lacks, for what it shares, and never for anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.registration import (
    MAX_DESCRIPTION_CHARS,
    MAX_OWNER_CHARS,
    Submission,
    check,
    check_request_id,
    next_registry,
    word,
    workload,
)
from services.classifier.core.registry import Registry
from services.common.errors import DomainError, Reason
from services.common.fingerprint import Shape, shape_of_system_prompt
from services.common.seen import Seen, cut
from services.common.words import QualitySensitivity, TaskType


def examples(count: int, system_prompt: str = "") -> tuple[Seen, ...]:
    return tuple(cut(system_prompt, [f"{'what' * (n + 1)} is number {n}"]) for n in range(count))


GOOD = Submission(
    name="ticket-triage",
    owner="care",
    task_type=TaskType.CLASSIFICATION,
    data_class="internal",
    quality_sensitivity=QualitySensitivity.MEDIUM,
    description="Sorts tickets.",
    shapes=(shape_of_system_prompt("You triage tickets."),),
    examples=examples(5),
)
DIGEST = b"d" * 16


def checked(**fields: Any) -> None:
    check(replace(GOOD, **fields), {"internal"}, {"bank-intent"})


def tool(count: int) -> tuple[str, ...]:
    return tuple(f"tool{n:03}" for n in range(count))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "a"},
        {"name": "a" * 63},
        {"data_class": "unrestricted"},
        {"description": ""},
        {"description": "Tri des tickets : « urgent » ou non."},
        {"owner": "x" * MAX_OWNER_CHARS, "description": "x" * MAX_DESCRIPTION_CHARS},
        {"task_type": TaskType.UNSPECIFIED, "quality_sensitivity": QualitySensitivity.UNSPECIFIED},
        {"examples": ()},
        {"shapes": ()},
        {"examples": examples(50)},
        {"examples": (*examples(5), *examples(5))},
        {"shapes": (Shape(digest=DIGEST),)},
        {"shapes": (Shape(tool_names=tool(128)), Shape(template_head="translate the text below into welsh"))},
    ],
)
def test_what_the_contract_allows_is_registered(fields: dict[str, Any]) -> None:
    checked(**fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "workload.name"),
        ({"name": "Ticket-Triage"}, "workload.name"),
        ({"name": "ticket_triage"}, "workload.name"),
        ({"name": "ticket-triage\n"}, "workload.name"),
        ({"name": "-a"}, "workload.name"),
        ({"name": "a" * 64}, "workload.name"),
        ({"owner": ""}, "workload.owner"),
        ({"owner": " \t"}, "workload.owner"),
        ({"owner": "x" * (MAX_OWNER_CHARS + 1)}, "workload.owner"),
        ({"owner": "care\x1b[31m"}, "workload.owner"),
        ({"description": "x" * (MAX_DESCRIPTION_CHARS + 1)}, "workload.description"),
        ({"description": "one\ntwo"}, "workload.description"),
        ({"data_class": ""}, "workload.data_class"),
        ({"data_class": "secret"}, "workload.data_class"),
        ({"examples": examples(4)}, "examples"),
        ({"examples": examples(51)}, "examples"),
        ({"examples": examples(4) * 3}, "examples"),
        ({"examples": (*examples(5), Seen(turns=(" ", "\n")))}, "examples[5]"),
        ({"examples": (), "shapes": ()}, "workload"),
        ({"shapes": (Shape(),)}, "workload.fingerprints[0]"),
        # Nothing looks for these alone.
        ({"shapes": (Shape(masked_digest=DIGEST, sketch=tuple(range(64))),)}, "workload.fingerprints[0]"),
        ({"shapes": (Shape(template_tail="thank you very much"),)}, "workload.fingerprints[0]"),
        ({"shapes": (Shape(digest=b"short"),)}, "workload.fingerprints[0].digest"),
        ({"shapes": (Shape(digest=DIGEST, sketch=(1, 2)),)}, "workload.fingerprints[0].sketch"),
        (
            {"shapes": (Shape(digest=DIGEST), Shape(schema_digest=b"x"))},
            "workload.fingerprints[1].schema_digest",
        ),
        ({"shapes": (Shape(tool_names=tool(129)),)}, "workload.fingerprints[0].tool_names"),
        ({"shapes": (Shape(tool_names=("b", "a")),)}, "workload.fingerprints[0].tool_names"),
        ({"shapes": (Shape(tool_names=("a", "a")),)}, "workload.fingerprints[0].tool_names"),
        ({"shapes": (Shape(tool_names=("",)),)}, "workload.fingerprints[0].tool_names"),
        ({"shapes": (Shape(tool_names=("a" * 65,)),)}, "workload.fingerprints[0].tool_names"),
        *(
            ({"shapes": (Shape(template_head=head),)}, "workload.fingerprints[0].template_head")
            for head in (
                "x" * 4000,
                "  ",
                "please",
                "sort this ticket",
                "Sort this ticket into one queue",
                "sort this ticket into  one queue",
                "sort this ticket: which queue",
                "sort this ticket into 12 queues",
                " sort this ticket into one queue",
            )
        ),
        (
            {"shapes": (Shape(template_head="sort this ticket for me", template_tail="Thanks!"),)},
            "workload.fingerprints[0].template_tail",
        ),
    ],
)
def test_what_it_does_not_allow_is_told_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(DomainError) as caught:
        checked(**fields)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == field
    assert f"`{field}` must be " in caught.value.message


def test_a_data_class_that_is_unknown_is_told_with_those_that_there_are() -> None:
    with pytest.raises(DomainError, match=r"one of internal, unrestricted .* not 'secret'"):
        checked(data_class="secret")


def test_a_name_from_the_settings_is_changed_there_only() -> None:
    with pytest.raises(DomainError) as caught:
        checked(name="bank-intent")
    assert caught.value.reason is Reason.WORKLOAD_IN_SETTINGS
    assert caught.value.metadata == {"workload": "bank-intent"}


@pytest.mark.parametrize("request_id", [b"", b"x" * 15, b"x" * 17])
def test_a_request_id_is_a_uuid(request_id: bytes) -> None:
    check_request_id(b"x" * 16)
    with pytest.raises(DomainError) as caught:
        check_request_id(request_id)
    assert caught.value.metadata["field"] == "request_id"


def test_a_number_that_is_no_word_of_the_contract_is_told() -> None:
    assert word(TaskType, 3, "workload.task_type") is TaskType.CLASSIFICATION
    with pytest.raises(DomainError, match=r"`workload.task_type` must be a TaskType .* not the number 99"):
        word(TaskType, 99, "workload.task_type")


def test_a_workload_has_the_given_fixed_parts_and_those_of_its_examples_once() -> None:
    prompt = "You triage tickets."
    made = workload(replace(GOOD, examples=(*examples(6, prompt), *examples(6, prompt))), 3)
    assert made.shapes == (shape_of_system_prompt(prompt),)
    assert made.examples == examples(6, prompt)
    assert (made.name, made.version, made.from_settings) == ("ticket-triage", 3, False)


def test_more_than_64_fixed_parts_are_too_many() -> None:
    given_parts = tuple(Shape(digest=bytes([n]) * 16) for n in range(60))
    workload(replace(GOOD, shapes=given_parts, examples=examples(0)), 1)
    several = tuple(cut(f"You are desk {'x' * n}.", ["hi"]) for n in range(1, 6))
    with pytest.raises(DomainError, match="at most 64 together"):
        workload(replace(GOOD, shapes=given_parts, examples=several), 1)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (shape_of_system_prompt(" You triage\ntickets. "), "system prompt"),
        (Shape(tool_names=("file", "sort")), "tools and schema"),
        (Shape(template_head="sort this ticket into one of", template_tail="thanks"), "template"),
    ],
)
def test_fixed_parts_of_another_workload_are_refused_with_its_name(parts: Shape, told: str) -> None:
    holder = replace(
        GOOD,
        name="zz-first",
        examples=(),
        shapes=(
            *GOOD.shapes,
            Shape(tool_names=("file", "sort")),
            Shape(template_head="sort this ticket into one of", template_tail="thanks"),
        ),
    )
    registry = Registry([workload(holder, 1)], version=1)
    for name in ("aa-second", "zzz-second"):
        with pytest.raises(DomainError) as caught:
            next_registry(registry, workload(replace(GOOD, name=name, examples=(), shapes=(parts,)), 1))
        assert caught.value.reason is Reason.WORKLOAD_AMBIGUOUS
        assert caught.value.metadata == {"workload": name, "other": "zz-first", "part": told}
    # Its own fixed parts are no obstacle to its next version.
    assert next_registry(registry, workload(holder, 2)).get("zz-first").version == 2


@given(
    st.builds(
        replace,
        st.just(GOOD),
        name=st.text(max_size=70),
        owner=st.text(max_size=250),
        data_class=st.text(max_size=20),
        description=st.text(max_size=20),
        examples=st.lists(
            st.builds(Seen, turns=st.lists(st.text(max_size=5), max_size=2).map(tuple)), max_size=8
        ).map(tuple),
    )
)
def test_whatever_is_submitted_is_accepted_or_refused_with_a_reason(submission: Submission) -> None:
    try:
        check(submission, {"internal"}, ())
    except DomainError as error:
        assert error.reason is Reason.INVALID_REQUEST  # noqa: PT017
    else:
        assert workload(submission, 1).name == submission.name
