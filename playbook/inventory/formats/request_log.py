"""A log of requests, one JSON object a line: what was asked, in OpenAI's or Anthropic's form, and its usage.

The body may stand under `request`, `body` and the like, or be the line itself; the usage in the answer or
beside it. OpenAI's batch output (`custom_id`, `response.body`) is one too. Of the text only its fixed parts'
fingerprint is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from playbook.inventory.formats.anthropic_usage import LONG_WRITE
from playbook.inventory.providers import provider_named, provider_of
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import CUT_OFF, MAX_RECORD_BYTES, Stream
from playbook.inventory.values import BadValueError, count, excerpt, less, text, time
from services.common.fingerprint import fingerprint
from services.router.core import catalog, shown, wire

_BODIES = ("request", "request_body", "requestBody", "body", "kwargs", "params")
_ANSWERS = ("response", "response_body", "responseBody", "completion", "output", "result")
_TEXT_FIELDS = ("messages", "prompt", "input", "system", "instructions")
TIMES = (
    "timestamp",
    "time",
    "@timestamp",
    "ts",
    "created_at",
    "createdAt",
    "created",
    "start_time",
    "startTime",
    "request_time",
    "requestTime",
    "datetime",
    "date",
)
"""Where a time may stand, the likeliest first; else the answer's `created` counts."""
_IDS = ("request_id", "requestId", "id", "call_id", "custom_id")
_PROJECTS = ("project", "project_id", "workspace", "workspace_id", "team", "team_id", "team_alias", "app")
_KEYS = ("key_name", "api_key_name", "api_key_id", "api_key_alias", "key_alias")
_USERS = ("user", "user_id", "end_user")
_PROVIDERS = ("provider", "custom_llm_provider")
_COUNTS = ("input_tokens", "prompt_tokens", "output_tokens", "completion_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_tokens")
_USUAL_TIERS = frozenset({"", "default", "auto", "standard", "batch"})


def is_one(record: Mapping[str, Any]) -> bool:
    """True if a line looks like one of this format."""
    body, answer = _body(record), _answer(record)
    asks = bool(body.get("model")) and any(field in body for field in _TEXT_FIELDS)
    return asks or bool(_usage(record, answer)) or "custom_id" in record


def rows(stream: Stream, reading: Reading) -> Iterator[UsageRow | BadRow]:
    """The rows of a file; each line is read by itself."""
    last = None
    for line, raw in stream.lines():
        last = None
        if raw is None:
            yield BadRow(line, f"longer than {MAX_RECORD_BYTES // 1024 // 1024} MiB", "")
            continue
        if not raw.strip():
            continue
        try:
            record = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            # Of text that is no record nothing is kept: it may be a prompt.
            last = BadRow(line, f"no JSON ({error.msg})"[:200], f"{len(raw):,} bytes")
            yield last
            continue
        if not isinstance(record, dict):
            yield BadRow(line, "no JSON object", "")
            continue
        try:
            yield _row(line, record, reading)
        except BadValueError as error:
            yield BadRow(line, str(error), _excerpt(record))
    reading.problem = stream.problem or (CUT_OFF if last is not None and "end of data" in last.reason else "")


def _row(line: int, record: Mapping[str, Any], reading: Reading) -> UsageRow:
    body, answer = _body(record), _answer(record)
    usage = _usage(record, answer)
    at = time(*_time(record, answer))
    model = (
        text(answer.get("model"), "model")
        or text(body.get("model"), "model")
        or text(record.get("model"), "model")
        or reading.model
    )
    named = {
        field: _first(record, names)
        for field, names in (("project", _PROJECTS), ("key", _KEYS), ("user", _USERS), ("id", _IDS))
    }
    user = named["user"] or _first(body, ("user",))
    tier = _first(answer, ("service_tier",)) or _first(record, ("service_tier",))
    batch = "custom_id" in record or record.get("batch") is True
    counts, unpriced = _counts(usage)
    project = named["project"] or reading.project
    api = _api(body, answer, usage)
    request_fingerprint = _fingerprint(api, body, named["key"], reading)
    identity: tuple[object, ...] = (named["id"],)
    if not named["id"]:
        identity = (at, model, named["key"], user, request_fingerprint, *counts)
    if not unpriced and tier not in _USUAL_TIERS:
        unpriced = f"service tier {tier}"
    fresh, cached, written, output, reasoning = counts
    return UsageRow(
        kind="usage",
        line=line,
        start_time=at,
        end_time=at,
        provider=provider_named(_first(record, _PROVIDERS)) or reading.provider or provider_of(model),
        model=model,
        project=project,
        key_name=named["key"],
        user=user,
        service_tier=tier,
        batch=batch,
        requests=1,
        input_tokens=fresh,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=0 if output is None and api == catalog.EMBEDDINGS and fresh is not None else output,
        reasoning_tokens=reasoning,
        fingerprint=request_fingerprint,
        row_key=row_key("request_log", reading.project, *identity),
        unpriced=unpriced,
        known_by_id=bool(named["id"]),
    )


def _body(record: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _BODIES:
        found = _object(record.get(name))
        if found:
            # Some log the call around the body.
            return _object(found.get("body")) or found
    return record


def _answer(record: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in _ANSWERS:
        found = _object(record.get(name))
        if found:
            return _object(found.get("body")) or found
    return {}


def _usage(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _object(answer.get("usage")) or _object(record.get("usage"))
    if found:
        return found
    return record if any(isinstance(record.get(name), int) for name in _COUNTS) else {}


def _object(value: object) -> Mapping[str, Any]:
    """The object that a value is, or that stands in it as text; empty if it is none."""
    if isinstance(value, str) and value[:1] == "{":
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _time(record: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[object, str]:
    for name in TIMES:
        if record.get(name) is not None:
            return record[name], name
    for name in ("created", "created_at"):
        if answer.get(name) is not None:
            return answer[name], f"the answer's {name}"
    return None, "time"


def _counts(
    usage: Mapping[str, Any],
) -> tuple[tuple[int | None, int | None, int | None, int | None, int | None], str]:
    """Tokens in their five classes, and why a list price can't be told of them."""
    if not usage:
        return (None, None, None, None, None), ""
    into = _object(usage.get("prompt_tokens_details")) or _object(usage.get("input_tokens_details"))
    out_of = _object(usage.get("completion_tokens_details")) or _object(usage.get("output_tokens_details"))
    whole = _either(usage, "prompt_tokens", "input_tokens")
    output = _either(usage, "completion_tokens", "output_tokens")
    if whole is None and output is None:
        raise BadValueError("usage has no token counts")
    audio = any(count(part.get("audio_tokens"), "audio_tokens") for part in (into, out_of))
    read = count(usage.get("cache_read_input_tokens"), "cache_read_input_tokens")
    written = count(usage.get("cache_creation_input_tokens"), "cache_creation_input_tokens")
    unpriced = "audio tokens" if audio else ""
    anthropic = usage.get("prompt_tokens") is None and "input_tokens" in usage
    if anthropic and (read is not None or written is not None):
        # Anthropic's classes are disjoint, and of cache writes those for an hour have another price.
        span = _object(usage.get("cache_creation"))
        if count(span.get("ephemeral_1h_input_tokens"), "ephemeral_1h_input_tokens"):
            unpriced = unpriced or LONG_WRITE
        thinking = count(out_of.get("thinking_tokens"), "thinking_tokens") or 0
        return (
            whole,
            read or 0,
            written or 0,
            less(output, (thinking,), "output_tokens"),
            thinking,
        ), unpriced
    # LiteLLM gives Anthropic's classes in OpenAI's form: the prompt includes reads and writes.
    cached = count(into.get("cached_tokens"), "cached_tokens") or read or 0
    stored = next((found for name in _WRITTEN if (found := count(into.get(name), name))), written or 0)
    span = _object(into.get("cache_creation_token_details"))
    if count(span.get("ephemeral_1h_input_tokens"), "ephemeral_1h_input_tokens"):
        unpriced = unpriced or LONG_WRITE
    # Some of its versions leave the writes out, which shows where the prompt has no room for them.
    within = 0 if written and whole is not None and cached + stored > whole else stored
    reasoning = count(out_of.get("reasoning_tokens"), "reasoning_tokens") or 0
    total = count(usage.get("total_tokens"), "total_tokens")
    # xAI counts reasoning beside the completion; only the total tells.
    beside = total is not None and total == (whole or 0) + (output or 0) + reasoning
    spoken = output if beside else less(output, (reasoning,), "output tokens")
    return (less(whole, (cached, within), "input tokens"), cached, stored, spoken, reasoning), unpriced


def _either(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((count(usage[name], name) for name in names if usage.get(name) is not None), None)


def _api(body: Mapping[str, Any], answer: Mapping[str, Any], usage: Mapping[str, Any]) -> str:
    """Which API a body is for."""
    if "messages" in body:
        anthropic = (
            "system" in body or "cache_creation_input_tokens" in usage or answer.get("type") == "message"
        )
        return catalog.MESSAGES if anthropic else catalog.CHAT
    if "prompt" in body:
        return catalog.COMPLETIONS
    if "input" in body:
        embeds = answer.get("object") == "list" or "embed" in str(body.get("model", "")).lower()
        return catalog.EMBEDDINGS if embeds else catalog.RESPONSES
    return ""


def _fingerprint(api: str, body: Mapping[str, Any], key_name: str, reading: Reading) -> str:
    """Digest of the request's fixed parts; empty without a system prompt."""
    if not api:
        return ""
    messages = body.get("messages")
    if api in (catalog.CHAT, catalog.MESSAGES) and not (
        isinstance(messages, list)
        and all(isinstance(item, dict) and isinstance(item.get("role"), str) for item in messages)
    ):
        return ""
    request = wire.Request(api, b"", body, "", False, 0)
    seen = shown.whole(request, shown.opening(request))
    digest = fingerprint(seen.system_prompt).hex() if seen.system_prompt.strip() else ""
    if reading.observe is not None and api != catalog.EMBEDDINGS:
        reading.observe(digest, key_name, seen)
    return digest


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = record.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and (found := text(value, name)):
            return found
    return ""


def _excerpt(record: Mapping[str, Any]) -> str:
    """Times and counts of a bad line, and no text."""
    usage = _usage(record, _answer(record))
    shown_ = {name: value for name, value in usage.items() if name.endswith("_tokens")}
    shown_ |= {name: record[name] for name in TIMES if name in record}
    return excerpt(shown_, shown_)
