"""The numbers of a request: their ranges, what holds where it says nothing, and what is no number."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.router.core.sovereign.sampling import (
    MAX_STOP_CHARS,
    MAX_STOPS,
    MAX_TOP_K,
    Defaults,
    Sampling,
    parse_sampling,
)

DEFAULTS = Defaults(temperature=0.6, top_p=0.9, top_k=40)
QUIET = Sampling(
    temperature=0.6,
    top_p=0.9,
    top_k=40,
    frequency_penalty=0.0,
    presence_penalty=0.0,
    seed=None,
    stop=(),
    max_tokens=None,
)
RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
WHOLE = {
    "top_k": (1, MAX_TOP_K),
    "max_tokens": (1, 10**12),
    "max_completion_tokens": (1, 10**12),
    "seed": (-(2**63), 2**63 - 1),
}


def refusal(**fields: Any) -> DomainError | None:
    try:
        parse_sampling(fields, DEFAULTS)
    except DomainError as error:
        return error
    return None


@pytest.mark.parametrize("fields", [{}, dict.fromkeys([*RANGES, *WHOLE, "stop"]), {"stop": []}])
def test_where_a_request_says_nothing_the_model_s_own_defaults_hold(fields: dict[str, Any]) -> None:
    assert parse_sampling(fields, DEFAULTS) == QUIET


@pytest.mark.parametrize("field", RANGES)
def test_a_number_is_taken_within_its_range_and_refused_outside(field: str) -> None:
    low, high = RANGES[field]
    for value in (low, high, (low + high) / 2, -0.0):
        assert getattr(parse_sampling({field: value}, DEFAULTS), field) == value
    for value in (low - 1e-9, high + 1e-9, -1e300, 10**40, math.nan, math.inf, -math.inf):
        error = refusal(**{field: value})
        assert error is not None, value
        assert error.reason is Reason.INVALID_REQUEST
        assert error.metadata["field"] == field


@pytest.mark.parametrize("field", WHOLE)
def test_a_whole_number_is_taken_within_its_range_and_refused_outside(field: str) -> None:
    low, high = WHOLE[field]
    assert refusal(**{field: low}) is None
    assert refusal(**{field: high}) is None
    for value in (low - 1, 1.5, 3.0, 1e30, math.nan):
        error = refusal(**{field: value})
        assert error is not None, value
        assert error.metadata["field"] == field
    assert "max" in field or refusal(**{field: high + 1}) is not None


@pytest.mark.parametrize("field", [*RANGES, *WHOLE])
@pytest.mark.parametrize("value", [True, False, "1", "", [], [1], {}, {"a": 1}])
def test_what_is_no_number_is_refused(field: str, value: object) -> None:
    error = refusal(**{field: value})
    assert error is not None
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, field)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_seed_fits_the_contract_and_no_two_are_one(seed: int) -> None:
    sent = parse_sampling({"seed": seed}, DEFAULTS).seed
    assert sent is not None
    assert int(np.array([sent], dtype=np.uint64)[0]) == sent
    assert (sent if sent < 2**63 else sent - 2**64) == seed


def test_the_largest_top_k_fits_the_contract() -> None:
    assert int(np.array([MAX_TOP_K], dtype=np.int32)[0]) == MAX_TOP_K


@pytest.mark.parametrize(
    ("fields", "max_tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_tokens": 9, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
    ],
)
def test_the_newer_name_of_the_limit_goes_before_the_older(fields: dict[str, Any], max_tokens: int) -> None:
    assert parse_sampling(fields, DEFAULTS).max_tokens == max_tokens


@pytest.mark.parametrize(
    ("value", "stop"),
    [
        ("END", ("END",)),
        (" ", (" ",)),
        (["a", "b", "a"], ("a", "b", "a")),
        ([], ()),
        (["x" * MAX_STOP_CHARS] * MAX_STOPS, ("x" * MAX_STOP_CHARS,) * MAX_STOPS),
        (["\ud800", "é😀", "\x00"], ("\ud800", "é😀", "\x00")),
    ],
)
def test_stop_is_a_word_or_a_list_of_words(value: object, stop: tuple[str, ...]) -> None:
    assert parse_sampling({"stop": value}, DEFAULTS).stop == stop


@pytest.mark.parametrize(
    "value",
    [
        "",
        [""],
        ["a", ""],
        ["a", None],
        [5],
        [["a"]],
        5,
        True,
        {},
        {"a": 1},
        ["a"] * 17,
        "x" * 257,
        ["x" * 257],
    ],
)
def test_what_is_no_stop_word_is_refused(value: object) -> None:
    error = refusal(stop=value)
    assert error is not None
    assert (error.reason, error.metadata["field"]) == (Reason.INVALID_REQUEST, "stop")
    assert len(error.message) < 200
