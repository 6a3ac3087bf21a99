"""Makes pages of OpenAI's usage and costs API for an organisation that does not exist.

`python -m tools.openai_usage_pages OUTDIR [--start DAY] [--days N] [--seed N]` writes
`usage_completions.jsonl` (one page a line, as a script that follows `next_page` leaves them),
`usage_embeddings.json` (one page) and `costs.json` (an array of pages). The bill is that of the usage, at
OpenAI's prices of 2025. The same arguments give the same bytes. Fields are those of
data/usage/openai_usage_costs_schema.json.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

BUCKETS_A_PAGE = 31
"""As many days as the API gives at most."""
RATES: dict[str, tuple[str, str, str]] = {
    "gpt-4o-2024-08-06": ("2.50", "1.25", "10.00"),
    "gpt-4o-mini-2024-07-18": ("0.15", "0.075", "0.60"),
    "gpt-4.1-2025-04-14": ("2.00", "0.50", "8.00"),
    "text-embedding-3-small": ("0.02", "0.02", "0"),
}
"""Dollars per million input, cached input and output tokens (OpenAI's price list, 2025)."""
BATCH_FACTOR = Decimal("0.5")
_EMBEDDINGS = "text-embedding-3-small"


@dataclass(frozen=True, slots=True)
class Use:
    """What a project uses one model for."""

    project: str
    key: str
    model: str
    requests: int
    """On a working day."""
    input_tokens: int
    """A request."""
    output_tokens: int
    """A request."""
    cached: float
    """Share of the input that is read from the cache."""
    batch: bool = False
    weekend: float = 0.2
    """Share of a working day's requests that a Saturday has."""
    growth: float = 0.0
    """Growth in a year."""
    since: date = date(2025, 1, 1)


USES = (
    Use(
        "proj_support_bot", "key_support_prod", "gpt-4o-mini-2024-07-18", 61_000, 2_900, 210, 0.62, growth=0.6
    ),
    Use("proj_support_bot", "key_support_prod", "gpt-4o-2024-08-06", 9_400, 3_400, 320, 0.58),
    Use("proj_support_bot", "key_support_test", "gpt-4o-2024-08-06", 240, 2_700, 280, 0.1, weekend=0.0),
    Use("proj_ticket_triage", "key_triage", "gpt-4o-mini-2024-07-18", 38_000, 850, 12, 0.35),
    Use(
        "proj_contract_summaries",
        "key_contracts",
        "gpt-4o-2024-08-06",
        2_100,
        14_500,
        640,
        0.02,
        weekend=0.05,
    ),
    Use("proj_night_reports", "key_reports", "gpt-4o-mini-2024-07-18", 52_000, 1_900, 350, 0, True, 1.0),
    Use(
        "proj_code_review",
        "key_review_ci",
        "gpt-4.1-2025-04-14",
        4_600,
        9_800,
        900,
        0.44,
        growth=1.4,
        since=date(2025, 4, 14),
    ),
    Use("proj_research", "key_research", "gpt-4o-2024-08-06", 310, 5_200, 1_700, 0.05, weekend=0.6),
    Use("proj_catalogue", "key_search", _EMBEDDINGS, 88_000, 410, 0, 0, weekend=0.9),
)


def main() -> None:
    """Writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=date.fromisoformat, default=date(2025, 1, 1))
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for file in write(given.folder, start=given.start, days=given.days, seed=given.seed):
        print(file)


def write(folder: Path, *, start: date = date(2025, 1, 1), days: int = 365, seed: int = 1) -> list[Path]:
    """Writes the three files, and gives their paths: completions, embeddings, costs."""
    folder.mkdir(parents=True, exist_ok=True)
    random_ = random.Random(seed)
    usage: dict[str, list[dict[str, Any]]] = {"completions": [], "embeddings": []}
    costs: list[dict[str, Any]] = []
    for number in range(days):
        day = start + timedelta(days=number)
        results = [_result(use, day, number, random_) for use in USES if day >= use.since]
        by_kind = {
            kind: [item for item in results if item["object"] == f"organization.usage.{kind}.result"]
            for kind in usage
        }
        for kind, found in by_kind.items():
            usage[kind].append(_bucket(day, [item for item in found if item["num_model_requests"]]))
        costs.append(_bucket(day, list(_bill(results))))
    files = [folder / "usage_completions.jsonl", folder / "usage_embeddings.json", folder / "costs.json"]
    completions = [json.dumps(page) for page in _pages(usage["completions"])]
    files[0].write_text("\n".join(completions) + "\n", encoding="utf-8")
    files[1].write_text(json.dumps(_page(usage["embeddings"], None), indent=2), encoding="utf-8")
    files[2].write_text(json.dumps(list(_pages(costs)), indent=1), encoding="utf-8")
    return files


def _result(use: Use, day: date, number: int, random_: random.Random) -> dict[str, Any]:
    busy = use.weekend if day.weekday() >= 5 else 1.0
    busy *= (1 + use.growth) ** (number / 365) * math.exp(random_.gauss(0, 0.12))
    requests = round(use.requests * busy)
    whole = round(requests * use.input_tokens * math.exp(random_.gauss(0, 0.05)))
    common = {
        "num_model_requests": requests,
        "project_id": use.project,
        "user_id": None,
        "api_key_id": use.key,
        "model": use.model,
    }
    if use.model == _EMBEDDINGS:
        return {"object": "organization.usage.embeddings.result", "input_tokens": whole, **common}
    cached = round(whole * use.cached * random_.uniform(0.9, 1.05))
    output = round(requests * use.output_tokens * math.exp(random_.gauss(0, 0.08)))
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": whole,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": 0,
        "input_uncached_tokens": whole - cached,
        "output_tokens": output,
        "input_text_tokens": whole - cached,
        "output_text_tokens": output,
        "input_cached_text_tokens": cached,
        "input_audio_tokens": 0,
        "input_cached_audio_tokens": 0,
        "output_audio_tokens": 0,
        "input_image_tokens": 0,
        "input_cached_image_tokens": 0,
        "output_image_tokens": 0,
        **common,
        "batch": use.batch,
        "service_tier": None,
    }


def _bill(results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What a day's usage costs, by project and line item."""
    tokens: dict[tuple[str, str, str, bool], int] = {}
    for item in results:
        cached = item.get("input_cached_tokens", 0)
        classes = {
            "input": item["input_tokens"] - cached,
            "cached input": cached,
            "output": item.get("output_tokens", 0),
        }
        for name, count in classes.items():
            place = (item["project_id"], item["model"], name, item.get("batch", False))
            tokens[place] = tokens.get(place, 0) + count
    for (project, model, name, batch), count in sorted(tokens.items()):
        if not count:
            continue
        rate = Decimal(RATES[model][("input", "cached input", "output").index(name)])
        dollars = count * rate * (BATCH_FACTOR if batch else 1) / 1_000_000
        yield {
            "object": "organization.costs.result",
            "amount": {"value": float(dollars), "currency": "usd"},
            "line_item": f"{model}, {'batch ' if batch else ''}{name}",
            "project_id": project,
            "api_key_id": None,
            "quantity": count,
            "quantity_unit": "tokens",
        }


def _bucket(day: date, results: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results}


def _pages(buckets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for at in range(0, len(buckets), BUCKETS_A_PAGE):
        rest = at + BUCKETS_A_PAGE < len(buckets)
        yield _page(buckets[at : at + BUCKETS_A_PAGE], f"page_{at:08d}" if rest else None)


def _page(buckets: list[dict[str, Any]], next_page: str | None) -> dict[str, Any]:
    return {"object": "page", "data": buckets, "has_more": next_page is not None, "next_page": next_page}


if __name__ == "__main__":
    main()
