"""OpenAI's organisation usage: pages of `/v1/organization/usage/completions` and `/embeddings`, or their CSV.

Fields: openai/openai-openapi, `UsageCompletionsResult` and `UsageEmbeddingsResult`. `input_tokens` includes
cached and cache-write tokens. A dimension is null unless the query grouped by it. The CSV that the dashboard
exports (Usage, Export) has a result a row, with its bucket's times before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playbook.inventory import pages
from playbook.inventory.csv_chunks import Header, chunks
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import NULLS, BadValueError, count, excerpt, less, text

COMPLETIONS = "organization.usage.completions.result"
EMBEDDINGS = "organization.usage.embeddings.result"
PROVIDER = "openai"
DIMENSIONS = {
    "model": "model",
    "project": "project_id",
    "key": "api_key_id",
    "user": "user_id",
    "batch": "batch",
    "service_tier": "service_tier",
}
"""Name of each dimension here, and in the export."""
_TIMES = ("start_time", "end_time")
_CSV = frozenset({*_TIMES, "num_model_requests", "input_tokens"})
"""Columns that tell the CSV."""
_BATCH = {"true": True, "false": False}
_USUAL_TIERS = frozenset({"", "default", "auto", "standard", "batch"})
_OTHER_MEDIA = tuple(
    f"{side}_{medium}_tokens" for side in ("input", "input_cached", "output") for medium in ("audio", "image")
)
_COUNTS = (
    "num_model_requests",
    "input_tokens",
    "output_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_uncached_tokens",
    *_OTHER_MEDIA,
)


def rows(stream: Stream, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a file of pages; `line` is the ordinal of the result."""
    return pages.rows(stream, reading, _TIMES, _row)


def is_csv(names: Sequence[str]) -> bool:
    """True if a header is that of the dashboard's CSV."""
    return set(names) >= _CSV


def csv_rows(stream: Stream, reading: Reading, form: Header) -> Iterator[UsageRow | BadRow]:
    """The rows of the dashboard's CSV; days on which nothing was used have only their times."""
    wanted = {*_TIMES, *_COUNTS, *DIMENSIONS.values()}
    places = {name: place for place, name in enumerate(form.names) if name in wanted}
    kind = COMPLETIONS if "output_tokens" in places else EMBEDDINGS
    before: pages.Bucket | None = None
    said: Counter[bytes] = Counter()
    for chunk in chunks(stream, form, sorted(places.values())):
        yield from chunk.bad
        columns = {name: chunk.columns[place].to_pylist() for name, place in places.items()}
        for at, line in enumerate(chunk.lines.tolist()):
            raw = {name: values[at] for name, values in columns.items()}
            try:
                result = _result(raw, kind)
                if all(result.get(name) is None for name in _COUNTS):
                    continue
                bucket = pages.bucket_of(result, _TIMES)
                row = _row(line, bucket, result, reading)
            except BadValueError as error:
                yield BadRow(line, str(error), excerpt(raw, (*_TIMES, *_COUNTS)))
                continue
            if bucket != before:
                before, said = bucket, Counter()
            if row is not None:
                yield pages.numbered(row, said)
    reading.problem = stream.problem


def _result(raw: Mapping[str, bytes], kind: str) -> dict[str, Any]:
    """A row of the CSV as the API gives a result."""
    try:
        texts = {name: value.decode().strip() for name, value in raw.items()}
    except UnicodeDecodeError:
        raise BadValueError("the row is no UTF-8 text") from None
    result: dict[str, Any] = {
        name: None if value.lower() in NULLS - {"nan"} else value for name, value in texts.items()
    }
    batch = result.get("batch")
    return {"object": kind, **result, "batch": _BATCH.get(str(batch).lower(), batch)}


def _row(line: int, bucket: pages.Bucket, result: Mapping[str, Any], reading: Reading) -> UsageRow | None:
    kind = result.get("object", COMPLETIONS)
    if kind not in (COMPLETIONS, EMBEDDINGS):
        reading.left_out[str(kind).removeprefix("organization.usage.").removesuffix(".result")[:60]] += 1
        return None
    split = {name: result[field] for name, field in DIMENSIONS.items() if result.get(field) is not None}
    names = {name: text(value, DIMENSIONS[name]) for name, value in split.items() if name != "batch"}
    if not isinstance(split.get("batch", False), bool):
        raise BadValueError("batch is neither true nor false")
    tier = names.get("service_tier", "")
    batch = split.get("batch", False) or tier == "batch"
    project = names.get("project") or reading.project
    fresh, cached, written = _input(result)
    output = count(result.get("output_tokens"), "output_tokens")
    return UsageRow(
        kind="usage",
        line=line,
        start_time=bucket.start,
        end_time=bucket.end,
        provider=PROVIDER,
        model=names.get("model") or reading.model,
        project=project,
        key_name=names.get("key", ""),
        user=names.get("user", ""),
        service_tier=tier,
        batch=batch,
        requests=count(result.get("num_model_requests"), "num_model_requests"),
        input_tokens=fresh,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=0 if output is None and kind == EMBEDDINGS else output,
        # They are among the output; nothing tells them apart.
        reasoning_tokens=0,
        row_key=row_key(
            "openai_usage",
            kind,
            bucket.start,
            bucket.end,
            project,
            *(names.get(n, "") for n in DIMENSIONS),
            batch,
        ),
        grouping=("embeddings:" if kind == EMBEDDINGS else "") + ",".join(split),
        unpriced=_unpriced(result, tier),
    )


def _input(result: Mapping[str, Any]) -> tuple[int | None, int, int]:
    """Tokens that went past the cache, were read from it, were written to it."""
    whole = count(result.get("input_tokens"), "input_tokens")
    cached = count(result.get("input_cached_tokens"), "input_cached_tokens") or 0
    written = count(result.get("input_cache_write_tokens"), "input_cache_write_tokens") or 0
    fresh = count(result.get("input_uncached_tokens"), "input_uncached_tokens")
    if fresh is None:
        return less(whole, (cached, written), "input_tokens"), cached, written
    if whole is not None and fresh + cached + written != whole:
        raise BadValueError(
            "input_tokens is not the sum of the uncached, the cached and the cache-write tokens"
        )
    return fresh, cached, written


def _unpriced(result: Mapping[str, Any], tier: str) -> str:
    """Why the price of a token's class alone does not tell what the tokens cost."""
    media = sorted({name.split("_")[-2] for name in _OTHER_MEDIA if count(result.get(name), name)})
    if media:
        return f"{' and '.join(media)} tokens"
    return "" if tier in _USUAL_TIERS else f"service tier {tier}"
