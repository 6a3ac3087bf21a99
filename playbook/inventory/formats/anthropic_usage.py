"""Anthropic's usage report: pages of `/v1/organizations/usage_report/messages`.

Fields: platform.claude.com, "Get Messages Usage Report". Input classes are disjoint, thinking is among the
output, and requests are not counted. A dimension is null unless the query grouped by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from playbook.inventory import pages
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import BadValueError, count, text

PROVIDER = "anthropic"
TOKENS = "uncached_input_tokens"
DIMENSIONS = {
    "model": "model",
    "project": "workspace_id",
    "key": "api_key_id",
    "user": "account_id",
    "service_account": "service_account_id",
    "service_tier": "service_tier",
    "context_window": "context_window",
    "inference_geo": "inference_geo",
    "speed": "speed",
}
"""Name of each dimension here, and in the export."""
LONG_WRITE = "cache writes for an hour"
"""Their price is another than that of five minutes, and stands in no price list with it."""
_USUAL = {
    "service_tier": ("", "standard", "batch"),
    "inference_geo": ("", "global", "not_available"),
    "speed": ("", "standard"),
}
"""Values at which the list price holds."""


def rows(stream: Stream, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a file of pages; `line` is the ordinal of the result."""
    return pages.rows(stream, reading, ("starting_at", "ending_at"), _rows)


def _rows(line: int, bucket: pages.Bucket, result: Mapping[str, Any], reading: Reading) -> list[UsageRow]:
    split = {name: result[field] for name, field in DIMENSIONS.items() if result.get(field) is not None}
    names = {name: text(value, DIMENSIONS[name]) for name, value in split.items()}
    project = names.get("project") or reading.project
    short, long = _written(result)
    unusual = [
        f"{name.replace('_', ' ')} {names[name]}"
        for name, usual in _USUAL.items()
        if names.get(name, "") not in usual
    ]
    key = (
        "anthropic_usage",
        bucket.start,
        bucket.end,
        project,
        *(names.get(name, "") for name in DIMENSIONS),
    )
    whole = UsageRow(
        kind="usage",
        line=line,
        start_time=bucket.start,
        end_time=bucket.end,
        provider=PROVIDER,
        model=names.get("model") or reading.model,
        project=project,
        key_name=names.get("key", ""),
        user=names.get("user") or names.get("service_account", ""),
        service_tier=names.get("service_tier", ""),
        batch=names.get("service_tier") == "batch",
        input_tokens=_required(result, TOKENS),
        cached_input_tokens=count(result.get("cache_read_input_tokens"), "cache_read_input_tokens") or 0,
        cache_write_tokens=short,
        output_tokens=_required(result, "output_tokens"),
        reasoning_tokens=0,
        row_key=row_key(*key),
        grouping=",".join(split),
        unpriced=", ".join(unusual),
        long_context={"0-200k": False, "200k-1M": True}.get(names.get("context_window", "")),
    )
    found = [whole]
    if long:
        # A row of their own, so that they alone are of unknown price.
        found.append(
            replace(
                whole,
                input_tokens=0,
                cached_input_tokens=0,
                cache_write_tokens=long,
                output_tokens=0,
                row_key=row_key(*key, LONG_WRITE),
                line_item=LONG_WRITE,
                unpriced=LONG_WRITE,
            )
        )
    return found


def _written(result: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens that were written to the cache, for five minutes and for an hour."""
    written = result.get("cache_creation")
    if written is None:
        # Flat in exports that tools have written.
        written = {
            f"ephemeral_{span}_input_tokens": result.get(f"cache_creation_{span}_input_tokens")
            for span in ("5m", "1h")
        }
    if not isinstance(written, dict):
        raise BadValueError("cache_creation is no JSON object")
    short, long = (
        count(written.get(f"ephemeral_{span}_input_tokens"), f"ephemeral_{span}_input_tokens") or 0
        for span in ("5m", "1h")
    )
    return short, long


def _required(result: Mapping[str, Any], field: str) -> int:
    found = count(result.get(field), field)
    if found is None:
        raise BadValueError(f"{field} is missing")
    return found
