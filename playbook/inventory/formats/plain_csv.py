"""A CSV of requests: a time, token counts, and what else a gateway or a trace has, under the usual names.

Millions of rows are usual, so whole columns are read at once; a stretch that has a bad value is read row by
row. Without a request id, a row is known by what it says: see `repeats`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from playbook.inventory.columns import COUNTS, KEY, SCHEMA, TIME, constant
from playbook.inventory.csv_chunks import Header, chunks
from playbook.inventory.csv_values import TEXTS, Columns, parsed
from playbook.inventory.providers import provider_named, provider_of
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow
from playbook.inventory.stream import Stream

_NAMES = {
    "time": (
        "timestamp time datetime date ts createdat created starttime startedat requesttime requesttimestamp"
        " eventtime arrivaltime loggedat utctimestamp"
    ),
    "model": (
        "model modelname modelid modelversion responsemodel requestmodel deployment deploymentname"
        " modelpermaslug"
    ),
    "input": (
        "inputtokens prompttokens contexttokens ncontexttokenstotal tokensprompt tokensin promptlength"
        " inputlength inputtokencount prompttokencount numprompttokens numinputtokens tokeninput"
    ),
    "uncached": "uncachedinputtokens inputuncachedtokens",
    "output": (
        "outputtokens completiontokens generatedtokens ngeneratedtokenstotal tokenscompletion tokensout"
        " outputlength outputtokencount completiontokencount candidatestokencount numcompletiontokens"
        " numoutputtokens tokenoutput responsetokens"
    ),
    "cached": "cachedtokens cachedinputtokens inputcachedtokens cachedprompttokens tokenscached",
    "cache_read": "cachereadinputtokens cachereadtokens",
    "cache_written": "cachecreationinputtokens cachewritetokens cachewriteinputtokens cachecreationtokens",
    "reasoning": "reasoningtokens outputreasoningtokens tokensreasoning thinkingtokens",
    "requests": "requests nummodelrequests numrequests nrequests requestcount",
    "provider": "provider customllmprovider providername vendor",
    "project": (
        "project projectid projectname workspace workspaceid team teamid teamalias application app appname"
    ),
    "key": "apikeyid apikeyname apikeyalias keyname keyalias keyid",
    "user": "user userid userid enduser enduserid username",
    "id": "requestid id generationid callid",
    "tier": "servicetier",
    "batch": "batch isbatch",
    "cost": "cost costusd totalcost amount amountusd spend usd responsecost costtotal",
}
FIELDS: Mapping[str, tuple[str, ...]] = {field: tuple(names.split()) for field, names in _NAMES.items()}
"""The names of a column, in lower case and without signs. `cached` is among the input, as OpenAI counts;
`cache_read` and `cache_written` are beside it, as Anthropic counts. A column of API keys is not read: it may
hold secrets."""


def columns_of(names: Sequence[str]) -> dict[str, int]:
    """Places of the known columns by field; of two with the same meaning the first in FIELDS counts."""
    places = {}
    for place, name in reversed(list(enumerate(names))):
        places[re.sub(r"[^a-z0-9]", "", name.lower())] = place
    found = {}
    for field, aliases in FIELDS.items():
        for alias in aliases:
            if alias in places:
                found[field] = places[alias]
                break
    return found


def is_one(names: Sequence[str]) -> bool:
    """True if a header is one of this format."""
    found = columns_of(names)
    return "time" in found and bool(found.keys() & {"input", "uncached", "output"})


def blocks(stream: Stream, reading: Reading, form: Header) -> Iterator[tuple[pa.Table, list[BadRow]]]:
    """The rows of a file in tables of `columns.SCHEMA`, and the bad ones among them."""
    places = columns_of(form.names)
    for chunk in chunks(stream, form, sorted(set(places.values()))):
        bad = list(chunk.bad)
        tables = [_table(values, reading) for values in parsed(chunk, places, form, bad) if len(values.lines)]
        yield pa.concat_tables(tables) if tables else SCHEMA.empty_table(), bad
    reading.problem = stream.problem


def _table(values: Columns, reading: Reading) -> pa.Table:
    length = len(values.lines)
    empty = constant("", length)
    texts = {field: values.texts.get(field, empty) for field in TEXTS}
    keys = _keys(values, texts, reading.project)
    texts["model"] = _or(texts["model"], reading.model)
    texts["project"] = _or(texts["project"], reading.project)
    provider = _mapped(_or(texts["provider"], reading.provider), provider_named)
    if "" in provider.dictionary.to_pylist():
        by_model = _mapped(texts["model"], provider_of)
        strings = provider.cast(pa.string())
        provider = pc.if_else(pc.equal(strings, ""), by_model.cast(pa.string()), strings).dictionary_encode()
    moments = pa.array(values.micros).cast(TIME)
    has_cost = values.billed.null_count < length
    known = {
        "kind": constant("usage", length),
        "line": pa.array(values.lines),
        "start_time": moments,
        "end_time": moments,
        "provider": provider,
        "model": texts["model"],
        "project": texts["project"],
        "key_name": texts["key"],
        "user": texts["user"],
        "service_tier": texts["tier"],
        "batch": values.batch,
        **values.numbers,
        "billed_nanos": values.billed,
        "currency": constant("USD", length) if has_cost else empty,
        "row_key": keys,
        "known_by_id": pa.array([bool(name) for name in values.ids or ()] or [False] * length, pa.bool_()),
        "unpriced": _mapped(texts["tier"], _unpriced),
    }
    return pa.table(
        {
            name: known.get(name, empty if pa.types.is_dictionary(kind) else pa.nulls(length, kind))
            for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
        },
        schema=SCHEMA,
    )


def _unpriced(tier: str) -> str:
    return "" if tier.lower() in ("", "default", "auto", "standard", "batch") else f"service tier {tier}"


def _or(column: pa.DictionaryArray, otherwise: str) -> pa.DictionaryArray:
    """The column, with another text where it is empty."""
    return _mapped(column, lambda word: word or otherwise) if otherwise else column


def _mapped(column: pa.DictionaryArray, function: Callable[[str], str]) -> pa.DictionaryArray:
    words = [function(word) for word in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(words, pa.string()))


def _keys(values: Columns, texts: Mapping[str, pa.DictionaryArray], project: str) -> pa.Array:
    """Digests of what the export says of each row, whatever the command was told of it but the project."""
    length = len(values.lines)
    parts = [values.micros.astype("<i8")]
    for name in (*COUNTS, "requests"):
        parts.append(pc.fill_null(values.numbers[name], -1).to_numpy(zero_copy_only=False).astype("<i8"))
    parts.append(values.batch.to_numpy(zero_copy_only=False).astype("<i8"))
    for field in TEXTS:
        digests = np.array([_digest(word) for word in texts[field].dictionary.to_pylist()], "<i8")
        parts.append(digests[texts[field].indices.to_numpy(zero_copy_only=False)])
    packed = np.ascontiguousarray(np.stack(parts, axis=1)).tobytes()
    width = 8 * len(parts)
    seed = hashlib.blake2b(project.encode("utf-8", "replace"), digest_size=16).digest()
    digest = hashlib.blake2b
    keys = [
        digest(packed[at : at + width], digest_size=16, key=seed).digest()
        for at in range(0, width * length, width)
    ]
    if values.ids is not None:
        for row, name in enumerate(values.ids):
            if name:
                keys[row] = digest(name.encode("utf-8", "replace"), digest_size=16, key=seed).digest()
    return pa.FixedSizeBinaryArray.from_buffers(KEY, length, [None, pa.py_buffer(b"".join(keys))])


def _digest(word: str) -> int:
    raw = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)
