"""A cost export in FOCUS 1.x (focus.finops.org), CSV or Parquet: Azure, AWS, Google and others.

`BilledCost` counts, not `EffectiveCost`: it is what the invoice adds up to, so the book can be reconciled to
it, and a commitment's purchase and its use are not both counted. What was prepaid is in the row of its
purchase, and use that it covers is billed zero.

Only rows of the service category "AI and Machine Learning" can be LLM spend; the others are counted and left
out. Few of them are priced by token: the usage type, meter or description tells which (Bedrock's usage types
end in `-input-tokens` and so on, Azure's meters say `Inp` and `Outp`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from playbook.inventory.csv_chunks import Header, chunks
from playbook.inventory.providers import provider_named
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import NULLS, BadValueError, excerpt, nanos, quantity, text, time

REQUIRED = ("BilledCost", "ChargePeriodStart", "ServiceCategory")
"""Columns that tell the format."""
CATEGORY = "AI and Machine Learning"
_NAMES = (
    "BilledCost",
    "BillingCurrency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ProviderName",
    "ServiceProviderName",
    "SubAccountName",
    "SubAccountId",
    "x_UsageType",
    "x_SkuMeterName",
    "SkuMeter",
    "ChargeDescription",
)
"""Columns that are read. FOCUS 1.3 calls the provider ServiceProviderName."""
_IDENTITY = (
    "AvailabilityZone",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodStart",
    "CapacityReservationId",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountId",
    "CommitmentDiscountStatus",
    "ConsumedUnit",
    "InvoiceId",
    "PricingCategory",
    "ProviderName",
    "ServiceProviderName",
    "RegionId",
    "ResourceId",
    "ServiceName",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "Tags",
    "Id",
    "x_UsageType",
    "x_SkuMeterName",
)
"""Columns that tell one charge from another, whatever its amount: a restated charge replaces itself."""
_NOT_YET = frozenset({"InvoiceId"})
"""Those that a charge gets with the invoice of its month: empty in its key, which is the same before."""
_SHOWN = ("ChargePeriodStart", "ChargePeriodEnd", "BilledCost", "ConsumedQuantity", "BillingCurrency")
_CLASSES = (
    (r"cache[-_ ]?writ|cchd? ?wr", "cache_write"),
    (r"cache[-_ ]?read|cached|\bcchd\b", "cached_input"),
    (r"input|\binp\b|prompt", "input"),
    (r"output|\boutp\b|\bopt\b|completion|response", "output"),
)
_TOKENS = re.compile(r"token", re.IGNORECASE)
_USAGE_TYPE = re.compile(
    # USE1-Claude3.5Sonnet-input-tokens-batch: region, model, what of it.
    r"^(?:[A-Z]{2,5}\d?-)?(?P<model>.+?)[-_ ](?:cache-(?:read|write)-)?(?:input|output)-tokens?.*$"
)


def is_one(names: Sequence[str]) -> bool:
    """True if a header is one of this format."""
    return {name.lower() for name in REQUIRED} <= {name.lower() for name in names}


def csv_rows(stream: Stream, reading: Reading, form: Header) -> Iterator[UsageRow | BadRow]:
    """The rows of a CSV file."""
    places = _places(form.names)
    order = sorted(set(places.values()))
    for chunk in chunks(stream, form, order):
        yield from chunk.bad
        category = chunk.columns[places["ServiceCategory"]]
        kept = pc.equal(category, pa.scalar(CATEGORY.encode(), pa.binary()))
        _leave_out(category, kept, reading)
        lines = chunk.lines[kept.to_numpy(zero_copy_only=False)].tolist()
        columns = {name: chunk.columns[place].filter(kept).to_pylist() for name, place in places.items()}
        for at, line in enumerate(lines):
            try:
                record = {name: values[at].decode() for name, values in columns.items()}
            except UnicodeDecodeError:
                yield BadRow(line, "the row is no UTF-8 text", "")
                continue
            yield _read(line, record, reading)
    reading.problem = stream.problem


def parquet_rows(path: Path, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a Parquet file; `line` is the ordinal of the row."""
    try:
        with pq.ParquetFile(path) as file:
            places = _places(file.schema_arrow.names)
            names = [file.schema_arrow.names[place] for place in sorted(set(places.values()))]
            wanted = {name: file.schema_arrow.names[place] for name, place in places.items()}
            line = 0
            for batch in file.iter_batches(batch_size=20_000, columns=names):
                category = batch.column(wanted["ServiceCategory"])
                category = pc.fill_null(category.cast(pa.string()), "").cast(pa.binary())
                kept = pc.equal(category, pa.scalar(CATEGORY.encode(), pa.binary()))
                _leave_out(category, kept, reading)
                lines = (pc.indices_nonzero(kept).to_numpy() + (line + 1)).tolist()
                columns = {name: _plain(batch.column(of).filter(kept)) for name, of in wanted.items()}
                for at, number in enumerate(lines):
                    yield _read(number, {name: values[at] for name, values in columns.items()}, reading)
                line += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reading.problem = f"the Parquet file can't be read on ({str(error).splitlines()[0][:120]})"
        yield BadRow(0, reading.problem, "")


def token_class(what: str) -> str:
    """The class of the tokens that a usage type, meter or description names; empty if it names none."""
    if not _TOKENS.search(what):
        return ""
    return next((found for pattern, found in _CLASSES if re.search(pattern, what, re.IGNORECASE)), "")


def _places(names: Sequence[str]) -> dict[str, int]:
    by_name = {name.lower(): place for place, name in reversed(list(enumerate(names)))}
    wanted = dict.fromkeys(("ServiceCategory", *_NAMES, *_IDENTITY))
    return {name: by_name[name.lower()] for name in wanted if name.lower() in by_name}


def _leave_out(category: pa.Array, kept: pa.Array, reading: Reading) -> None:
    for item in pc.value_counts(category.filter(pc.invert(kept))).to_pylist():
        name = item["values"].decode("utf-8", "replace")[:60]
        reading.left_out["no category" if name.lower() in NULLS else name] += item["counts"]


def _plain(column: pa.Array) -> list[Any]:
    if pa.types.is_nested(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _read(line: int, record: Mapping[str, Any], reading: Reading) -> UsageRow | BadRow:
    try:
        return _row(line, record, reading)
    except BadValueError as error:
        return BadRow(line, str(error), excerpt(record, _SHOWN))


def _row(line: int, record: Mapping[str, Any], reading: Reading) -> UsageRow:
    billed = nanos(record["BilledCost"], "BilledCost")
    if billed is None:
        raise BadValueError("BilledCost is missing")
    start = time(record["ChargePeriodStart"], "ChargePeriodStart")
    end = record.get("ChargePeriodEnd")
    end_time = start if _empty(end) else time(end, "ChargePeriodEnd")
    if end_time < start:
        raise BadValueError("ChargePeriodEnd is before ChargePeriodStart")
    # The most telling of the names that the providers give to what was sold.
    item = next(
        (
            str(record[name]).strip()
            for name in ("x_UsageType", "SkuMeter", "x_SkuMeterName", "ChargeDescription")
            if not _empty(record.get(name))
        ),
        "",
    )
    named = _USAGE_TYPE.match(item)
    project = _first(record, "SubAccountName", "SubAccountId") or reading.project
    return UsageRow(
        kind="cost",
        line=line,
        start_time=start,
        end_time=end_time,
        provider=provider_named(_first(record, "ProviderName", "ServiceProviderName")) or reading.provider,
        model=text(named["model"] if named else reading.model, "model"),
        project=project,
        batch="batch" in item.lower(),
        billed_nanos=billed,
        currency=text(record.get("BillingCurrency"), "BillingCurrency").upper(),
        line_item=text(item[:256], "line item"),
        token_class=token_class(item),
        quantity=quantity(record.get("ConsumedQuantity"), "ConsumedQuantity"),
        quantity_unit=text(record.get("ConsumedUnit"), "ConsumedUnit"),
        row_key=row_key(
            "focus",
            reading.project,
            start,
            end_time,
            *(
                "" if name in _NOT_YET or _empty(record.get(name)) else _words(record[name])
                for name in _IDENTITY
            ),
        ),
    )


def _words(value: object) -> str:
    """The same for a value of a CSV and of a Parquet file, as far as types can be."""
    try:
        return time(value, "time").isoformat() if not isinstance(value, (int, float)) else str(value)
    except BadValueError:
        return str(value)


def _first(record: Mapping[str, Any], *names: str) -> str:
    return next((text(record[name], name) for name in names if not _empty(record.get(name))), "")


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in NULLS)
