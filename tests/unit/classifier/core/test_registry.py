"""The registry: whatever the order in which workloads come, the table is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.registry import Registry, Workload, overlaid
from services.common.fingerprint import AmbiguousError, shape_of_system_prompt
from services.common.seen import Seen
from services.common.words import QualitySensitivity, TaskType

NAMES = ("triage", "minutes", "claims", "spelling", "routes", "invoices")


def workload(name: str, *prompts: str, version: int = 1, from_settings: bool = False) -> Workload:
    return Workload(
        name=name,
        owner="x",
        task_type=TaskType.CLASSIFICATION,
        data_class="unrestricted",
        quality_sensitivity=QualitySensitivity.LOW,
        description="",
        version=version,
        shapes=tuple(map(shape_of_system_prompt, prompts)),
        examples=(),
        from_settings=from_settings,
    )


def prompt_of(name: str) -> str:
    return f"You are the desk for {name} and answer in one line with nothing but the {name} code."


@pytest.mark.parametrize("said", ["You triage.", " You\n triage.\t", "You triage.\n\n"])
def test_a_registered_system_prompt_names_its_workload_whatever_its_white_space(said: str) -> None:
    registry = Registry([workload("triage", "You  triage."), workload("other", "Else.")], version=3)
    hit = registry.shapes.find(Seen(system_prompt=said, turns=("hi",)))
    assert hit is not None
    assert (hit.workload, hit.exact, hit.confidence) == ("triage", True, 1.0)


@pytest.mark.parametrize("said", ["", "You triage!"])
def test_any_other_prompt_is_nobodys(said: str) -> None:
    registry = Registry([workload("triage", "You triage.")], version=1)
    assert registry.shapes.find(Seen(system_prompt=said, turns=("You triage.",))) is None


def test_two_workloads_with_one_system_prompt_are_refused_by_name() -> None:
    with pytest.raises(AmbiguousError, match="'a' and 'b'"):
        Registry([workload("b", "Same."), workload("a", " Same.")], version=1)


def test_a_new_version_takes_the_place_of_the_old_and_frees_its_fixed_parts() -> None:
    registry = Registry([workload("a", "One."), workload("b", "Two.")], version=7)
    after = registry.with_workload(workload("a", "Three.", version=2))
    assert (after.version, registry.version) == (8, 7)
    assert [(item.name, item.version) for item in after.workloads] == [("a", 2), ("b", 1)]
    assert after.with_workload(workload("b", "One.", version=2)).version == 9
    assert [item.version for item in registry.workloads] == [1, 1]


def test_a_workload_is_found_by_its_name() -> None:
    registry = Registry([workload("a")], version=1)
    assert registry.get("a") == workload("a")
    assert "a" in registry
    assert "b" not in registry
    with pytest.raises(KeyError):
        registry.get("b")


def test_the_settings_come_before_what_was_registered_under_the_same_name() -> None:
    registered = [workload("a", "Old.", version=4), workload("b", version=2)]
    by_name = {item.name: item for item in overlaid([workload("a", from_settings=True)], registered)}
    assert by_name["a"].from_settings
    assert by_name["b"].version == 2
    assert len(by_name) == 2


@given(st.permutations(NAMES), st.integers(min_value=0, max_value=len(NAMES)))
def test_distinct_workloads_give_the_same_table_in_any_order_of_registration(
    order: list[str], at_first: int
) -> None:
    all_at_once = Registry([workload(name, prompt_of(name)) for name in NAMES], version=1)
    registry = Registry([workload(name, prompt_of(name)) for name in order[:at_first]], version=1)
    for name in order[at_first:]:
        registry = registry.with_workload(workload(name, prompt_of(name)))
    assert registry.version == 1 + len(NAMES) - at_first
    assert registry.workloads == all_at_once.workloads
    for name in NAMES:
        for said in (prompt_of(name), f"{prompt_of(name)} Version 4.2 of 2026-11-25."):
            request = Seen(system_prompt=said, turns=("hi",))
            assert registry.shapes.find(request) == all_at_once.shapes.find(request)
            hit = registry.shapes.find(request)
            assert hit is not None
            assert hit.workload == name


@given(st.lists(st.sampled_from(NAMES), max_size=12))
def test_the_table_counts_registrations_and_each_name_keeps_its_last(order: list[str]) -> None:
    registry = Registry([], version=1)
    for number, name in enumerate(order):
        before = registry
        registry = registry.with_workload(replace(workload(name, prompt_of(name)), description=str(number)))
        assert registry.version == before.version + 1
    last = {name: str(number) for number, name in enumerate(order)}
    assert {item.name: item.description for item in registry.workloads} == last
    assert [item.name for item in registry.workloads] == sorted(last)
