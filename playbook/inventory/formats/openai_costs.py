"""OpenAI's costs API: pages of `/v1/organization/costs`.

Fields: openai/openai-openapi, `CostsResult`. Amounts are dollars; a line item such as
`gpt-4o-2024-08-06, cached input` names the model and what of it was paid for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from playbook.inventory import pages
from playbook.inventory.line_items import model_and_class
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import BadValueError, nanos, quantity, text

PROVIDER = "openai"
RESULT = "organization.costs.result"
_BATCH = re.compile(r"\bbatch\b", re.IGNORECASE)


def rows(stream: Stream, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a file of pages; `line` is the ordinal of the result."""
    return pages.rows(stream, reading, ("start_time", "end_time"), _row)


def _row(line: int, bucket: pages.Bucket, result: Mapping[str, Any], reading: Reading) -> UsageRow:
    amount = result.get("amount")
    if not isinstance(amount, dict):
        raise BadValueError("amount is missing")
    billed = nanos(amount.get("value"), "amount.value")
    if billed is None:
        raise BadValueError("amount.value is missing")
    split = [name for name in ("line_item", "project_id", "api_key_id") if result.get(name) is not None]
    line_item, project, key = (
        text(result.get(name), name) for name in ("line_item", "project_id", "api_key_id")
    )
    unit = text(result.get("quantity_unit"), "quantity_unit")
    model, token_class = model_and_class(line_item)
    project = project or reading.project
    return UsageRow(
        kind="cost",
        line=line,
        start_time=bucket.start,
        end_time=bucket.end,
        provider=PROVIDER,
        model=model,
        project=project,
        key_name=key,
        batch=bool(_BATCH.search(line_item)),
        billed_nanos=billed,
        currency=text(amount.get("currency"), "amount.currency").upper(),
        line_item=line_item,
        token_class=token_class,
        quantity=quantity(result.get("quantity"), "quantity"),
        quantity_unit=unit,
        row_key=row_key("openai_costs", bucket.start, bucket.end, line_item, project, key, unit),
        grouping=",".join(split),
    )
