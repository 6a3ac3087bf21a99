"""Which legs a sample lacks, which samples are controls, and what a request uses."""

from __future__ import annotations

from fractions import Fraction

import pytest

from services.common.words import Purpose, Target
from services.shadow.core.answers import answer, reason_of, rounded_down, rounded_up, shown
from services.shadow.core.features import features
from services.shadow.core.lanes import is_controlled, missing_legs
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.registry import SCORER_NAMES
from services.shadow.core.strata import stratum

SCHEMA = {"type": "object", "required": ["label"]}


@pytest.mark.parametrize(
    ("by", "failed", "controlled", "expected"),
    [
        (Target.CLOUD, False, False, ["sovereign SHADOW SOVEREIGN", "noise NOISE CLOUD"]),
        (
            Target.CLOUD,
            False,
            True,
            ["sovereign SHADOW SOVEREIGN", "noise NOISE CLOUD", "control NOISE CLOUD"],
        ),
        (Target.SOVEREIGN, False, False, ["cloud SHADOW CLOUD", "noise NOISE CLOUD"]),
        (Target.CLOUD, True, False, ["noise NOISE CLOUD"]),
    ],
)
def test_the_missing_legs(by: Target, failed: bool, controlled: bool, expected: list[str]) -> None:
    legs = missing_legs(by, sovereign_failed=failed, controlled=controlled)
    assert [f"{leg.role.value} {leg.purpose.name} {leg.target.name}" for leg in legs] == expected
    assert all(leg.purpose in (Purpose.SHADOW, Purpose.NOISE) for leg in legs)


def test_the_controls_are_a_share_of_the_samples_and_the_same_each_time() -> None:
    ids = [number.to_bytes(16, "big") for number in range(10_000)]
    drawn = [item for item in ids if is_controlled(item, 0.1)]
    assert 880 < len(drawn) < 1_120
    assert drawn == [item for item in ids if is_controlled(item, 0.1)]
    assert set(drawn) <= {item for item in ids if is_controlled(item, 0.2)}
    assert not any(is_controlled(item, 0.0) for item in ids)
    assert all(is_controlled(item, 1.0) for item in ids)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (answer('{"label": "a"}'), ""),
        (answer('{"name": "a"}'), "invalid"),
        (answer("a"), "invalid"),
        (answer(" "), "empty"),
        (answer("", refusal="I can't."), "refused"),
        (answer("", [("look_up", "{}")]), ""),
        (answer("", [("look_up", "{")]), "invalid"),
    ],
)
def test_how_an_answer_stands(found: Answer, reason: str) -> None:
    assert reason_of(found, SCHEMA) == reason


def test_a_scorer_is_given_the_calls_that_it_was_registered_with() -> None:
    both, first = answer("", [("a", "1"), ("b", "2")]), answer("", [("a", "1")])
    assert [call.name for call in both.tool_calls] == ["a", "b"]
    for name in (*SCORER_NAMES, "judge@1:gpt-4o"):
        assert shown(both, name) == (both if name == "tool_calls@2" else first)
        assert shown(first, name) == first
        assert shown(answer("words"), name) == answer("words")


def test_rounding_never_helps_the_sovereign_model() -> None:
    assert (rounded_down(Fraction(1, 3)), rounded_up(Fraction(1, 3))) == (333_333, 333_334)
    assert (rounded_down(Fraction(1)), rounded_up(Fraction(0))) == (1_000_000, 0)


@pytest.mark.parametrize(
    ("attributes", "registered", "expected"),
    [
        ((), (), ""),
        (("language",), (), "de"),
        (("language", "tools"), (), "de/no-tools"),
        (("language",), ("de", "en"), "de"),
        (("language",), ("en",), "other"),
        (("key",), (), "unknown"),
    ],
)
def test_the_stratum(attributes: tuple[str, ...], registered: tuple[str, ...], expected: str) -> None:
    assert stratum(attributes, {"language": "de", "tools": "no-tools", "key": ""}, registered) == expected


def test_what_a_request_uses() -> None:
    assert features(tools=0, response_format="", stop=0, streamed=False) == ()
    assert features(tools=2, response_format="json_schema", stop=1, streamed=True) == (
        "tools",
        "json_schema",
        "stop",
        "streaming",
    )
