"""What gateways write: whose model it is, ids that are none, and tokens that are counted in other ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import counts, read, written

HEAD = "time,model,provider,input_tokens,output_tokens\n"


def csv_with(name: str) -> str:
    """A row of a CSV."""
    return f"{HEAD}2025-05-01,some-model,{name},1,2\n"


def log_with(name: str) -> str:
    """A line of a log."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    return json.dumps({"time": "2025-05-01", "model": "some-model", "provider": name, "usage": usage})


@pytest.mark.parametrize("form", [csv_with, log_with])
@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("OpenAI", "openai"),
        ("Azure OpenAI", "azure"),
        ("Amazon Bedrock", "aws"),
        ("bedrock", "aws"),
        ("vertex_ai", "google"),
        ("Google AI Studio", "google"),
        ("xAI", "x-ai"),
        ("Together", "together"),
    ],
)
def test_a_provider_is_called_as_the_price_list_calls_it(
    tmp_path: Path, form: Any, name: str, provider: str
) -> None:
    """Whoever names it."""
    _, [row], _ = read(written(tmp_path, form(name)))
    assert row.provider == provider
    _, [row], _ = read(written(tmp_path, form("")), provider=name)
    assert row.provider == provider


def test_what_a_provider_is_called_is_no_part_of_the_key(tmp_path: Path) -> None:
    """A row that was imported as it is written is replaced."""
    keys = {
        read(written(tmp_path, csv_with("")), provider=name)[1][0].row_key for name in ("OpenAI", "openai")
    }
    assert len(keys) == 1


@pytest.mark.parametrize("null", ["", "NULL", "None", "null", "\\N", " "])
@pytest.mark.parametrize("odd", ["", "2025-05-01 00:00:00 UTC,gpt-4o,7,7,zz\n"])
def test_an_id_that_is_nothing_is_no_id(tmp_path: Path, null: str, odd: str) -> None:
    """In whole columns, and row by row where a value is odd: no two rows are one for it."""
    rows = "".join(f"2025-05-01,gpt-4o,{n},1,{null}\n" for n in range(3)) + "2025-05-01,gpt-4o,1,1,a1\n"
    _, found, bad = read(written(tmp_path, "time,model,input_tokens,output_tokens,request_id\n" + rows + odd))
    assert not bad
    assert [row.known_by_id for row in found][:4] == [False, False, False, True]
    assert len({row.row_key for row in found}) == len(found)


LITELLM = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 500,
}
ANTHROPIC = {
    "input_tokens": 200,
    "output_tokens": 50,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 500,
}


@pytest.mark.parametrize(
    ("usage", "expected", "unpriced"),
    [
        # LiteLLM: the prompt includes reads and writes.
        (LITELLM, (200, 500, 300, 50, 0), ""),
        (
            LITELLM | {"prompt_tokens_details": {"cached_tokens": 500, "cache_creation_tokens": 300}},
            (200, 500, 300, 50, 0),
            "",
        ),
        (
            LITELLM
            | {
                "prompt_tokens_details": {
                    "cached_tokens": 500,
                    "cache_creation_tokens": 300,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 300},
                }
            },
            (200, 500, 300, 50, 0),
            "cache writes for an hour",
        ),
        (
            LITELLM
            | {"prompt_tokens_details": {"cache_creation_token_details": {"ephemeral_1h_input_tokens": 0}}},
            (200, 500, 300, 50, 0),
            "",
        ),
        # A version of it left the writes out.
        (LITELLM | {"prompt_tokens": 700, "total_tokens": 750}, (200, 500, 300, 50, 0), ""),
        # Anthropic's own classes are disjoint.
        (ANTHROPIC, (200, 500, 300, 50, 0), ""),
        (
            ANTHROPIC | {"cache_creation": {"ephemeral_1h_input_tokens": 300}},
            (200, 500, 300, 50, 0),
            "cache writes for an hour",
        ),
        # OpenAI's completion includes the reasoning, xAI's does not.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "total_tokens": 130,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (100, 0, 0, 10, 20),
            "",
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 30,
                "total_tokens": 330,
                "prompt_tokens_details": {"cached_tokens": 40},
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            (60, 40, 0, 30, 200),
            "",
        ),
    ],
)
def test_tokens_become_disjoint_classes_in_each_form(
    tmp_path: Path, usage: dict[str, Any], expected: tuple[int, ...], unpriced: str
) -> None:
    """Each token once."""
    line = {"time": "2025-05-01", "model": "some-model", "usage": usage}
    _, [row], bad = read(written(tmp_path, json.dumps(line)))
    assert not bad
    assert (counts(row), row.unpriced) == (expected, unpriced)


def test_openrouters_activity_names_model_and_app(tmp_path: Path) -> None:
    """Under names of its own."""
    text = (
        "generation_id,created_at,cost_total,model_permaslug,provider_name,app_name,tokens_prompt,"
        "tokens_completion,tokens_reasoning,tokens_cached\n"
        "gen-1,2025-10-05 12:00:00.000,0.01,openai/gpt-4o,OpenAI,Desk,100,20,0,30\n"
    )
    export, [row], bad = read(written(tmp_path, text))
    assert (export.format, bad) == ("plain_csv", [])
    assert (row.model, row.provider, row.project) == ("openai/gpt-4o", "openai", "Desk")
    assert (counts(row), row.known_by_id) == ((70, 30, 0, 20, 0), True)
