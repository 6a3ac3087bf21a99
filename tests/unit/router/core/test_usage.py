"""Token counts: disjoint classes, and None for what nobody said."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.words import UsageSource
from services.router.core.usage import (
    FILE_CHARS,
    UNKNOWN,
    Usage,
    anthropic_begun,
    anthropic_so_far,
    at_usual_price,
    estimated,
    from_anthropic,
    from_openai,
    prompt_chars,
)

counts = st.integers(0, 10**9)


def upstream(*counts: int | None) -> Usage:
    return Usage(*counts, source=UsageSource.UPSTREAM)


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        # Chat completions.
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, upstream(9, 0, 0, 4, 0)),
        (
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 256},
            },
            upstream(86, 1920, 0, 44, 256),
        ),
        # The Responses API.
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60},
                "output_tokens": 30,
                "output_tokens_details": {"reasoning_tokens": 20},
            },
            upstream(40, 60, 0, 10, 20),
        ),
        # Embeddings generate nothing.
        ({"prompt_tokens": 8, "total_tokens": 8}, upstream(8, 0, 0, 0, 0)),
        # Servers that leave the details out, or null.
        (
            {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None},
            upstream(5, 0, 0, 0, 0),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0}, upstream(0, 0, 0, 0, 0)),
        ({"completion_tokens": 3}, upstream(None, 0, 0, 3, 0)),
        # More details than there is of the whole.
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            upstream(0, 9, 0, 1, 0),
        ),
    ],
)
def test_the_report_of_a_server_like_openais_is_taken_apart(report: dict[str, Any], usage: Usage) -> None:
    assert from_openai(report) == usage


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, upstream(9, 0, 0, 4, 0)),
        (
            {
                "input_tokens": 9,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
                "output_tokens": 4,
            },
            upstream(9, 100, 50, 4, 0),
        ),
        (
            {"input_tokens": 9, "cache_read_input_tokens": None, "output_tokens": 4},
            upstream(9, 0, 0, 4, 0),
        ),
        ({"output_tokens": 4}, upstream(None, 0, 0, 4, 0)),
        ({"input_tokens": 4}, upstream(4, 0, 0, None, 0)),
    ],
)
def test_the_report_of_anthropic_is_disjoint_already(report: dict[str, Any], usage: Usage) -> None:
    assert from_anthropic(report) == usage


@pytest.mark.parametrize("read", [from_openai, from_anthropic])
@pytest.mark.parametrize(
    "report",
    [
        None,
        "12",
        12,
        [],
        {},
        {"total_tokens": 5},
        {"prompt_tokens": None, "input_tokens": None},
        {"prompt_tokens": True, "input_tokens": False},
        {"prompt_tokens": -1, "input_tokens": -1},
        {"prompt_tokens": "9", "input_tokens": 9.5},
    ],
)
def test_what_is_no_report_leaves_everything_unknown(read: Callable[[object], Usage], report: object) -> None:
    assert read(report) == UNKNOWN == Usage(None, None, None, None, None, UsageSource.UNKNOWN)


@given(counts, counts, st.data())
def test_the_classes_add_up_to_what_the_server_counted(prompt: int, answer: int, data: st.DataObject) -> None:
    cached, reasoning = data.draw(st.integers(0, prompt)), data.draw(st.integers(0, answer))
    usage = from_openai(
        {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    assert usage.total_tokens == prompt + answer
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (cached, reasoning)


@pytest.mark.parametrize(
    ("usage", "total"), [(UNKNOWN, 0), (Usage(1, 2, 3, 4, 5), 15), (Usage(output_tokens=4), 4)]
)
def test_the_total_is_all_that_is_known(usage: Usage, total: int) -> None:
    assert usage.total_tokens == total


@pytest.mark.parametrize(("chars", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000)])
def test_an_estimate_is_four_characters_a_token_and_marked(chars: int, tokens: int) -> None:
    assert estimated(chars, 0) == Usage(tokens, 0, 0, 0, 0, UsageSource.ESTIMATED)
    assert estimated(0, chars) == Usage(0, 0, 0, tokens, 0, UsageSource.ESTIMATED)


BASE64 = "iVBO+/_-" * 400_000 + "=="
LINES = "iVBO+/7A" * 9 + "\n"


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([f"data:image/jpeg;base64,{BASE64}"], id="a picture"),
        pytest.param([f"data:image/png;name=a.png;base64,{BASE64}", BASE64], id="two files"),
        # As some write base64: in lines, and with slashes that are escaped.
        pytest.param([LINES * 100], id="lines"),
    ],
)
@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
def test_a_file_counts_as_one_whatever_its_bytes(texts: list[str], slash: str) -> None:
    said = "What is it, a/b?"
    body = json.dumps([said, *texts]).replace("/", slash).encode()
    rest = json.dumps([said, *["x"] * len(texts)]).replace("/", slash)
    assert prompt_chars(body) == len(rest) + len(texts) * (FILE_CHARS - len('"x"'))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("data:image/png;base64,iVBOR", id="a small picture"),
        pytest.param("A sentence, and one more. " * 1000, id="prose"),
        pytest.param("x" * 4096 + " and a word", id="a long word"),
    ],
)
def test_any_other_text_counts_as_it_is(text: str) -> None:
    body = json.dumps([text]).encode()
    assert prompt_chars(body) == len(body)


def test_what_is_cached_for_an_hour_has_a_price_that_no_class_has() -> None:
    begun = anthropic_begun(
        {
            "input_tokens": 3,
            "output_tokens": 1,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 100},
        }
    )
    assert (begun.input_tokens, begun.cache_write_tokens) == (3, None)
    ended = anthropic_so_far(begun, {"output_tokens": 9, "cache_creation_input_tokens": 100})
    assert (ended.output_tokens, ended.cache_write_tokens) == (9, None)


@pytest.mark.parametrize(
    ("tier", "known"),
    [(None, True), ("default", True), ("auto", True), ("priority", False), ("flex", False), (["odd"], False)],
)
def test_another_tier_than_the_lists_has_an_unknown_price(tier: object, known: bool) -> None:
    usage = from_openai({"prompt_tokens": 7, "completion_tokens": 2})
    at_tier = at_usual_price(usage, tier)
    assert (at_tier.cached_input_tokens is not None) == known
    assert (at_tier.input_tokens, at_tier.output_tokens) == (7, 2)
