"""Anthropic's cost report: pages of `/v1/organizations/cost_report`.

Fields: platform.claude.com, "Get Cost Report". `amount` is a decimal text in cents: "123.45" in USD is $1.23.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from playbook.inventory import pages
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import BadValueError, nanos, text

PROVIDER = "anthropic"
NANOS_PER_CENT = 10_000_000
DIMENSIONS = (
    "description",
    "workspace_id",
    "model",
    "cost_type",
    "token_type",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
)
_CLASSES = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cached_input",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write",
    "output_tokens": "output",
}


def rows(stream: Stream, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a file of pages; `line` is the ordinal of the result."""
    return pages.rows(stream, reading, ("starting_at", "ending_at"), _row)


def _row(line: int, bucket: pages.Bucket, result: Mapping[str, Any], reading: Reading) -> UsageRow:
    billed = nanos(result.get("amount"), "amount", units=NANOS_PER_CENT)
    if billed is None:
        raise BadValueError("amount is missing")
    names = {name: text(result.get(name), name) for name in DIMENSIONS}
    currency = text(result.get("currency"), "currency").upper()
    project = names["workspace_id"] or reading.project
    # All of these come with a grouping by description.
    split = [name for name in ("description", "workspace_id") if result.get(name) is not None]
    return UsageRow(
        kind="cost",
        line=line,
        start_time=bucket.start,
        end_time=bucket.end,
        provider=PROVIDER,
        model=names["model"],
        project=project,
        service_tier=names["service_tier"],
        batch=names["service_tier"] == "batch",
        billed_nanos=billed,
        currency=currency,
        line_item=names["description"] or names["cost_type"],
        token_class=_CLASSES.get(names["token_type"], ""),
        row_key=row_key("anthropic_costs", bucket.start, bucket.end, project, currency, *names.values()),
        grouping=",".join(split),
    )
