"""Results of OpenAI's buckets that say the same, and the CSV of the dashboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import counts, read, written

DAY_S = 86_400
FIRST_S = 1_759_622_400  # 2025-10-05
COLUMNS = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
    "service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_audio_tokens"
)
DIMENSIONS = {
    "project_id": "proj_a",
    "user_id": "user-a",
    "api_key_id": "key_a",
    "model": "gpt-5-mini-2025-08-07",
    "batch": False,
    "service_tier": "default",
}


def result(tokens: int = 1000, **fields: Any) -> dict[str, Any]:
    """As the API gives it."""
    return {
        "object": "organization.usage.completions.result",
        **DIMENSIONS,
        "num_model_requests": 3,
        "input_tokens": tokens,
        "output_tokens": 50,
        "input_cached_tokens": 400,
        "input_uncached_tokens": tokens - 400,
        **fields,
    }


def pages(*days: list[dict[str, Any]]) -> str:
    """A page of days."""
    buckets = [
        {"start_time": FIRST_S + day * DAY_S, "end_time": FIRST_S + (day + 1) * DAY_S, "results": results}
        for day, results in enumerate(days)
    ]
    return json.dumps({"object": "page", "data": buckets})


def table(*days: list[dict[str, Any]], columns: str = COLUMNS) -> str:
    """The same as the dashboard's CSV."""
    lines = [columns]
    for day, results in enumerate(days):
        times = {"start_time": FIRST_S + day * DAY_S, "end_time": FIRST_S + (day + 1) * DAY_S}
        for item in results or [{}]:
            row = {**item, **times, "start_time_iso": f"2025-10-{day + 5:02}T00:00:00+00:00"}
            values = (row.get(name) for name in columns.split(","))
            lines.append(",".join("" if value is None else str(value).lower() for value in values))
    return "\n".join(lines) + "\n"


SAME = [result(1000), result(1000), result(2000), result(500, project_id="proj_b")]


@pytest.mark.parametrize("form", [pages, table])
def test_results_of_the_same_dimensions_are_rows_of_their_own(tmp_path: Path, form: Any) -> None:
    """However much they say: OpenAI's exports have such."""
    export, rows, bad = read(written(tmp_path, form(SAME, SAME)))
    assert export.format == "openai_usage"
    assert not bad
    assert [row.input_tokens for row in rows] == 2 * [600, 600, 1600, 100]
    assert len({row.row_key for row in rows}) == 8
    larger = [{**item, "input_tokens": 9000, "input_uncached_tokens": 8600} for item in SAME]
    _, later, _ = read(written(tmp_path, form(larger, SAME, SAME)))
    assert [row.row_key for row in later][:8] == [row.row_key for row in rows]


def test_a_page_that_stands_twice_is_the_same_page(tmp_path: Path) -> None:
    """And its rows have the same keys."""
    _, rows, _ = read(written(tmp_path, pages(SAME) + "\n" + pages(SAME)))
    assert [row.row_key for row in rows][:4] == [row.row_key for row in rows][4:]
    assert len({row.row_key for row in rows}) == 4


def test_writes_for_an_hour_of_the_same_dimensions_are_told_apart(tmp_path: Path) -> None:
    """Anthropic's results are two rows each then."""
    item = {
        "uncached_input_tokens": 5,
        "cache_creation": {"ephemeral_1h_input_tokens": 7, "ephemeral_5m_input_tokens": 1},
        "output_tokens": 2,
        "model": "claude-sonnet-4-5",
    }
    day = {
        "starting_at": "2025-10-05T00:00:00Z",
        "ending_at": "2025-10-06T00:00:00Z",
        "results": [item, item],
    }
    _, rows, bad = read(written(tmp_path, json.dumps({"data": [day]})))
    assert not bad
    assert len({row.row_key for row in rows}) == len(rows) == 4


def test_the_dashboards_csv_is_the_same_as_the_pages(tmp_path: Path) -> None:
    """Rows, keys and dimensions; days on which nothing was used are no rows."""
    days: tuple[list[dict[str, Any]], ...]
    days: tuple[list[dict[str, Any]], ...]
    days = [result(), result(batch=True, model="o3")], [], [result(service_tier=None, user_id=None)]
    _, expected, _ = read(written(tmp_path, pages(*days)))
    export, rows, bad = read(written(tmp_path, table(*days)))
    assert export.format == "openai_usage"
    assert not bad
    assert [(row.end_time - row.start_time).total_seconds() for row in rows] == 3 * [DAY_S]
    assert [counts(row) for row in rows] == 3 * [(600, 400, 0, 50, 0)]
    assert [(row.batch, row.requests, row.unpriced) for row in rows] == [
        (False, 3, ""),
        (True, 3, ""),
        (False, 3, ""),
    ]
    assert [row.line for row in rows] == [2, 3, 5]
    for name in ("row_key", "grouping", "project", "key_name", "user", "model", "start_time"):
        assert [getattr(row, name) for row in rows] == [getattr(row, name) for row in expected], name


def test_a_csv_without_output_is_of_embeddings(tmp_path: Path) -> None:
    """As the API's results are."""
    columns = "start_time,end_time,num_model_requests,model,input_tokens"
    _, [row], bad = read(written(tmp_path, table([result(model="text-embedding-3-small")], columns=columns)))
    assert not bad
    assert (counts(row), row.grouping) == ((1000, 0, 0, 0, 0), "embeddings:model")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_tokens": "many"}, "input_tokens is no number"),
        ({"batch": "perhaps"}, "batch is neither true nor false"),
        ({"input_cached_tokens": 999}, "input_tokens is not the sum"),
        ({"model": "x" * 600}, "model is longer than"),
    ],
)
def test_a_bad_row_of_the_csv_is_kept_aside(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    """And the others are read."""
    _, rows, [bad] = read(written(tmp_path, table([result(), {**result(), **fields}, result()])))
    assert (len(rows), bad.line) == (2, 3)
    assert bad.reason.startswith(reason)


def test_a_bucket_of_the_csv_without_a_time_is_bad(tmp_path: Path) -> None:
    """Its end must come after its start."""
    text = table([result()]).replace(f"{FIRST_S + DAY_S}", f"{FIRST_S}")
    _, rows, [bad] = read(written(tmp_path, text))
    assert (rows, bad.reason) == ([], "end_time is not after start_time")
