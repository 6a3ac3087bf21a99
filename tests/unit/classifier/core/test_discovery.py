"""What unnamed traffic is taken for: public texts whose workloads are known, and rules over small tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from services.classifier.adapters.reader import Reader
from services.classifier.core.discovery import (
    LEAST_REQUESTS,
    MAX_EXAMPLES,
    MAX_SAMPLES,
    SAMPLE_CHARS,
    Bond,
    discover,
    grouped,
)
from services.classifier.core.traffic import Sighting, Unnamed, remembered
from services.common.fingerprint import ShapeTable, shapes_of_examples
from services.common.seen import Seen, cut
from services.common.settings import MIN_EXAMPLES
from services.common.words import TaskType
from tests.support.mixed_traffic import FIXED, NOISE, Sent, mixed, read, score
from tests.support.stack import ROOT

Traffic = tuple[list[Sent], list[Unnamed]]
NAME = re.compile(r"[a-z]+(-[a-z]+)*(-\d+)?")


@pytest.fixture(scope="module")
def traffic() -> list[Traffic]:
    """Two mixes of real texts, read by the real model."""
    reader = Reader(ROOT / "models/classifier")
    mixes = [mixed(seed) for seed in (0, 1)]
    return [(sent, read(sent, reader)) for sent in mixes]


def test_the_true_workloads_are_found_and_groups_are_pure(traffic: list[Traffic]) -> None:
    # Measured: purity .946 and .992, 13 and 15 of 16 found, .917 and .968 covered.
    for sent, requests in traffic:
        result = score(sent, grouped(requests).groups)
        assert result.purity >= 0.91
        assert result.covered >= 0.87
        assert len(result.found) >= 12
        assert result.found >= set(FIXED)
        assert result.found <= {item.workload for item in sent} - {NOISE}


@pytest.mark.parametrize(
    ("workload", "bond"),
    [
        ("voice", Bond.PARTS),
        ("route", Bond.PARTS),
        ("tools", Bond.PARTS),
        ("polite", Bond.TEMPLATE),
        ("german", Bond.TEMPLATE),
        ("handbook", Bond.TEMPLATE),
    ],
)
def test_requests_with_the_same_fixed_parts_are_one_group_whatever_changes_in_them(
    traffic: list[Traffic], workload: str, bond: Bond
) -> None:
    for sent, requests in traffic:
        own = {at for at, item in enumerate(sent) if item.workload == workload}
        (group,) = [group for group in grouped(requests).groups if own & set(group.rows)]
        assert own <= set(group.rows)
        assert group.bond is bond


def test_without_any_text_the_same_groups_are_found(traffic: list[Traffic]) -> None:
    for _, requests in traffic:
        assert grouped(without_texts(requests)) == grouped(requests)


def test_each_request_is_in_one_group_or_counted_as_left_out(traffic: list[Traffic]) -> None:
    for _, requests in traffic:
        result = grouped(requests)
        rows = Counter(at for group in result.groups for at in group.rows)
        assert set(rows.values()) == {1}
        assert len(rows) + result.left_out == len(requests)
        assert min(len(group.rows) for group in result.groups) >= LEAST_REQUESTS
        assert result.left_out > 0


def test_proposals_can_be_registered_and_have_names_that_tell_nothing_of_anybody(
    traffic: list[Traffic],
) -> None:
    for _, requests in traffic:
        found = discover(requests, {}, (), 100)
        names = [item.name for item in found]
        assert len(set(names)) == len(names)
        assert all(NAME.fullmatch(name) and len(name) <= 63 for name in names)
        # The companies and dates of the voice assistant's system prompt.
        assert not re.search(r"contoso|fabrikam|acme|march", " ".join(names))
        for item in found:
            assert MIN_EXAMPLES <= len(item.examples) <= MAX_EXAMPLES
            assert len(set(item.examples)) == len(item.examples)
            assert 0 < len(item.sample_prompts) <= MAX_SAMPLES
            assert item.spend_share is None
        assert [item.request_count for item in found] == sorted(
            (item.request_count for item in found), reverse=True
        )
        by_key = {key: item for item in found for key in item.key_names[:1]}
        assert by_key["assistant"].name.endswith("-domain-belongs")
        assert by_key["web"].task_type is TaskType.TRANSLATION


def test_a_proposal_registered_names_the_requests_that_it_came_from(traffic: list[Traffic]) -> None:
    for sent, requests in traffic:
        found = {item.key_names[0]: item for item in discover(requests, {}, (), 100) if item.shapes}
        for key, workload in (("assistant", "voice"), ("shop", "tools")):
            item = found[key]
            shapes = {*item.shapes, *shapes_of_examples(item.examples)}
            table = ShapeTable((workload, shape) for shape in shapes)
            hits = [table.find(other.seen) for other in sent if other.workload == workload]
            assert all(hit is not None for hit in hits)


def test_the_same_requests_give_the_same_proposals(traffic: list[Traffic]) -> None:
    _, requests = traffic[0]
    assert discover(requests, {}, (), 20) == discover(list(requests), {}, (), 20)


def test_only_so_many_are_proposed_as_are_asked_for(traffic: list[Traffic]) -> None:
    _, requests = traffic[0]
    everything = discover(requests, {}, (), 100)
    assert [item.request_count for item in discover(requests, {}, (), 3)] == [
        item.request_count for item in everything[:3]
    ]


def test_nothing_is_proposed_of_nothing_and_of_too_little() -> None:
    assert discover([], {}, (), 20) == []
    few = made(cut("Sort these tickets by their topic, please.", ["it is broken"]), LEAST_REQUESTS - 1)
    assert discover(few, {}, (), 20) == []
    assert grouped(few).left_out == LEAST_REQUESTS - 1


def test_a_greeting_for_a_system_prompt_puts_nobody_together() -> None:
    greetings = ("You are a helpful assistant.", "You’re a helpful AI assistant.", "")
    requests = [
        item for at, text in enumerate(greetings) for item in made(cut(text, [f"{at}"]), 10, direction=7 * at)
    ]
    assert [group.bond for group in grouped(requests).groups] == [Bond.MEANING] * 3
    found = discover(requests, {}, (), 20)
    assert [item.shapes for item in found] == [()] * 3
    assert {seen.system_prompt for item in found for seen in item.examples} == {""}
    # A name is somebody's.
    own = made(cut("You are the helpful assistant of Contoso.", ["hello"]), 10)
    assert [group.bond for group in grouped(own).groups] == [Bond.PARTS]


def test_without_texts_a_name_comes_from_tools_kind_of_work_and_key() -> None:
    requests = without_texts(
        made(cut("", ["x"], tool_names=["findOrder", "refund_payment"]), 12, key="shop")
        + made(cut("Sum this up in one line for me.", ["x"]), 11, key="crm", task_type=TaskType.SUMMARIZATION)
        + made(cut("Do to this what I told you before.", ["x"]), 10, key="crm")
    )
    found = discover(requests, {}, {"summarization-crm-1"}, 20)
    assert [item.name for item in found] == ["find-order-shop-1", "summarization-crm-2", "requests-crm-1"]
    assert all(item.shapes and not item.examples and not item.sample_prompts for item in found)


@pytest.mark.parametrize(
    ("costs", "shares"),
    [
        # Of a group of 30 and one of 10; `...` is a request that the book does not have.
        ([3] * 30 + [1] * 10, [0.9, 0.1]),
        ([1] * 30 + [9] * 10, [0.75, 0.25]),
        ([0] * 30 + [1] * 10, [1.0, 0.0]),
        # Unknown is not zero.
        ([1] * 30 + [None] * 10, [None, None]),
        ([1] * 30 + [...] * 10, [None, None]),
        ([None] * 30 + [1] * 10, [None, None]),
        ([...] * 40, [None, None]),
        ([0] * 40, [None, None]),
    ],
)
def test_a_share_of_spend_is_told_if_the_spend_is_known(
    costs: Sequence[int | None], shares: list[float | None]
) -> None:
    requests = two_groups(30, 10)
    by_request = {
        item.request_id: cost for item, cost in zip(requests, costs, strict=True) if cost is not ...
    }
    found = discover(requests, by_request, (), 20)
    assert [item.spend_share for item in found] == pytest.approx(shares)


def test_a_call_in_fifty_that_broke_off_leaves_the_spend_known() -> None:
    requests = two_groups(300, 100)
    costs: dict[bytes, int | None] = {item.request_id: 2 for item in requests}
    for item in requests[:6]:
        costs[item.request_id] = None
    assert [item.spend_share for item in discover(requests, costs, (), 20)] == pytest.approx([0.75, 0.25])
    costs[requests[6].request_id] = None
    # Now it is more than one in fifty of the larger group, though not of all.
    assert [(item.request_count, item.spend_share) for item in discover(requests, costs, (), 20)] == [
        (100, 0.25),
        (300, None),
    ]


@pytest.mark.parametrize(
    ("votes", "task_type"),
    [
        ({(TaskType.CODE, 0.7): 10}, TaskType.CODE),
        ({(TaskType.CODE, 0.7): 6, (TaskType.REASONING, 0.7): 4}, TaskType.CODE),
        ({(TaskType.CODE, 0.7): 5, (TaskType.REASONING, 0.7): 5}, TaskType.UNSPECIFIED),
        # Four that are sure outweigh six that are not.
        ({(TaskType.CODE, 0.95): 5, (TaskType.REASONING, 0.5): 6}, TaskType.CODE),
        ({(TaskType.CODE, 0.9): 3, (TaskType.UNSPECIFIED, 0.0): 9}, TaskType.CODE),
        ({(TaskType.CODE, 0.9): 2, (TaskType.UNSPECIFIED, 0.0): 10}, TaskType.UNSPECIFIED),
        ({(TaskType.UNSPECIFIED, 0.0): 10}, TaskType.UNSPECIFIED),
    ],
)
def test_the_kind_of_work_is_the_majoritys_weighted_by_how_sure_each_is(
    votes: Mapping[tuple[TaskType, float], int], task_type: TaskType
) -> None:
    seen = cut("Do to this what I told you before.", ["x"])
    requests = [
        item
        for (kind, confidence), count in votes.items()
        for item in made(seen, count, task_type=kind, confidence=confidence)
    ]
    (found,) = discover(requests, {}, (), 20)
    assert found.task_type is task_type


def test_keys_are_told_the_most_frequent_first() -> None:
    seen = cut("Do to this what I told you before.", ["x"])
    requests = made(seen, 3, key="b") + made(seen, 8, key="a") + made(seen, 2, key="")
    (found,) = discover(requests, {}, (), 20)
    assert found.key_names == ("a", "b")


def test_a_sample_shows_the_beginning_and_the_end_of_a_long_prompt() -> None:
    prompt = "Do to this what I told you before."
    short, long = (
        discover(made(cut(prompt, [text]), 10), {}, (), 1)[0].sample_prompts[0]
        for text in ("x", "x y " * 500)
    )
    assert re.fullmatch(r"x \d", short)
    assert re.fullmatch(r"[xy ]+ … [xy ]+\d", long)
    assert len(long) <= SAMPLE_CHARS + 3


def test_fixed_parts_that_differ_only_in_what_changes_are_proposed_once() -> None:
    requests = [
        item
        for version in range(12)
        for item in made(
            cut(f"Sort these tickets by their topic. Version {version}.", ["x"]), 2, start=version
        )
    ]
    (found,) = discover(requests, {}, (), 20)
    assert len(found.shapes) == 1


def two_groups(first: int, second: int) -> list[Unnamed]:
    return made(cut("Sort these tickets by their topic.", ["x"]), first) + made(
        cut("Write the minutes of this meeting.", ["y"]), second, start=first
    )


def made(
    seen: Seen,
    count: int,
    *,
    key: str = "app",
    task_type: TaskType = TaskType.UNSPECIFIED,
    confidence: float = 0.9,
    direction: int = 0,
    start: int = 0,
) -> list[Unnamed]:
    """Requests that say the same but for a number, and mean nearly the same."""
    rng = np.random.default_rng([direction, count])
    found = []
    for number in range(start, start + count):
        embedding = rng.normal(size=384).astype(np.float32) * 0.01
        embedding[direction] += 1
        found.append(
            remembered(
                Sighting(
                    request_id=number.to_bytes(16, "big"),
                    time_unix_us=number,
                    key_name=key,
                    seen=Seen(
                        seen.system_prompt,
                        (*seen.turns[:-1], f"{seen.turns[-1]} {number}"),
                        seen.tool_names,
                        seen.response_schema,
                        seen.input_chars,
                    ),
                    embedding=embedding / np.float32(np.linalg.norm(embedding)),
                    task_type=task_type,
                    task_type_confidence=confidence,
                ),
                keep_prompts=True,
            )
        )
    return found


def without_texts(requests: Sequence[Unnamed]) -> list[Unnamed]:
    return [
        Unnamed(
            item.request_id,
            item.time_unix_us,
            item.key_name,
            item.shape,
            item.heads,
            item.tails,
            item.embedding,
            item.task_type,
            item.task_type_confidence,
            item.input_chars,
            b"",
        )
        for item in requests
    ]
