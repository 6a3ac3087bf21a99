"""What a workload's detectors of personal data read of a request, and what follows from a hit. Pure.

A hit keeps the request sovereign, or puts placeholders into what the cloud gets: the workload's setting says
which. What is read is all that an application writes into a request for a model to see or a provider to
keep; not what it builds the request from (tools, schemas), and not images, sound and files. What has text
that can't be read stays at home.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.common.words import Target
from services.router.core import wire
from services.router.core.detectors import Finding, Kind, Placeholders, find, mask
from services.router.core.keys import Key
from services.router.core.naming import Name
from services.router.core.policy import WorkloadPolicy

NOT_READ = frozenset(
    {"model", "tools", "functions", "tool_choice", "function_call", "response_format", "output_config"}
    | {"output_format", "text", "logit_bias", "betas", "mcp_servers"}
)
"""Top-level fields of a request that are the application's own; what is not listed is read, so that what
providers add tomorrow is too."""
_MARKS = frozenset(
    {"role", "type", "id", "tool_call_id", "call_id", "tool_use_id", "item_id", "media_type", "format"}
    | {"data", "file_data", "b64_json", "signature", "encrypted_content", "cache_control", "voice"}
)
"""Fields at any depth that hold marks or bytes, not text, but for those of the application's documents."""
_OWN = frozenset({"arguments", "metadata", "variables"})
"""Fields that hold such a document; `input` is another if it is an object."""
_JSON_TEXTS = frozenset({"arguments"})
"""Fields whose text is JSON: a placeholder must not break it."""
_TOOL_PARTS = frozenset({"arguments", "input"})
"""Fields beside which a `name` is a tool's: the application finds its code by it."""
_TOOL_ROLES = frozenset({"tool", "function"})
"""Roles whose `name` is one too."""
_FIELD = "\0field"
"""The label of a field's own name outside the application's documents, and of a tool's: nobody's name."""

_UNLABELLED = frozenset({"", "content", "text", "input", "prompt", "arguments", "instructions", "system"})
"""Fields whose name says nothing of their text."""
_LABELLED_CHARS = 80
"""Longest text of which its field's name may say what it is: `{"ssn": "123456789"}`."""
_BYTES = re.compile(r"data:[^,;\s]{0,100}+(?:;(?!base64,)[^,;\s]{1,60}+){0,4}+;base64,[A-Za-z0-9+/=_-]*+")
_READ = (str, list, dict)
_TOKENS = (int, float, list)
"""What a list of texts has in their place if they are token ids."""
_ESCAPES = re.compile(r"(\\++)u[0-9a-fA-F]{4}(?:\\++u[0-9a-fA-F]{4})*+")
"""Characters as JSON in ASCII has them, in a text that is JSON; more backslashes in JSON within JSON."""
_UNIT = re.compile(r"u([0-9a-fA-F]{4})")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
MOST_CHARS = 4_000_000
"""Characters of a request that are read: a million tokens. That much prose takes a thread 0.2 seconds, or
five if it is read for names, the heaviest text twenty."""
LEAST_NUMBER = 1_000_000
"""Smallest number that could be an identifier: a telephone number has seven digits."""

_Change = Callable[[str, str], str]
"""Takes a text and the name of its field."""


class OnHit(StrEnum):
    """What follows from a hit."""

    SOVEREIGN = "sovereign"
    """The request runs at home, or not at all."""
    MASK = "mask"
    """What goes to the cloud has placeholders."""


@dataclass(frozen=True, slots=True)
class Detectors:
    """What a workload's setting names."""

    kinds: frozenset[Kind]
    on_hit: OnHit


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found in a request."""

    kinds: tuple[Kind, ...]
    """Sorted."""
    sovereign: bool
    """True if it may not go to the cloud."""
    masked: wire.Request | None
    """What the cloud gets instead; None if it is `sovereign`."""
    unread: str = ""
    """Why it could not be read; empty if it was."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which detectors a request meets."""

    by_workload: Mapping[str, Detectors] = field(default_factory=dict)

    def binding(self, key: Key, name: Name) -> list[Detectors]:
        """The detectors that read a request: its workload's, and unless its name is beyond doubt those of
        all workloads that its key lists: no text must be able to talk a request past them."""
        names = [name.workload] if name.certain else [name.workload, *sorted(key.named)]
        return [self.by_workload[item] for item in dict.fromkeys(names) if item in self.by_workload]


class _UnreadError(Exception):
    """A request has texts that can't be read; the message says why."""


_TOO_LONG = "it is too long"


def look(request: wire.Request, detectors: Iterable[Detectors], most_chars: int = MOST_CHARS) -> Hit | None:
    """What detectors find in a request; None if it is nothing. What can't be read stays at home."""
    stay: frozenset[Kind] = frozenset()
    hide: frozenset[Kind] = frozenset()
    for item in detectors:
        if item.on_hit is OnHit.SOVEREIGN:
            stay |= item.kinds
        else:
            hide |= item.kinds
    found: set[Kind] = set()
    placeholders = Placeholders()
    wanted = stay | hide
    left = most_chars

    def masked(text: str, label: str) -> str:
        nonlocal left
        left -= len(text)
        if left < 0:
            raise _UnreadError(_TOO_LONG)
        plain = seen = text
        if "\\u" in text:
            plain = _ESCAPES.sub(_unescaped, text)
            # What stays escaped is no part of a word beside it.
            seen = _ESCAPES.sub(lambda match: " " * len(match.group()), plain)
        findings = _find(seen, label, wanted)
        found.update(finding.kind for finding in findings)
        # What stays at home needs no placeholders.
        return mask(plain, findings, placeholders) if findings and not stay & found else text

    try:
        _check_keys(request.body)
        if any(_tokens(request.document.get(name)) for name in ("input", "prompt")):
            raise _UnreadError("it has token ids in the place of text")
        document = {
            key: _changed(key, value, masked) if key not in NOT_READ and isinstance(value, _READ) else value
            for key, value in request.document.items()
        }
    except _UnreadError as why:
        return Hit(tuple(sorted(found)), sovereign=True, masked=None, unread=str(why))
    if not found:
        return None
    kinds = tuple(sorted(found))
    if stay & found:
        return Hit(kinds, sovereign=True, masked=None)
    return Hit(kinds, False, replace(request, body=orjson.dumps(document), document=document))


def kept_home(row: WorkloadPolicy, hit: Hit, workload: str) -> WorkloadPolicy:
    """The policy's row for a request that may not go to the cloud.

    Raises:
        DomainError: TARGET_NOT_ALLOWED if it may not run at home either.
    """
    if Target.SOVEREIGN not in row.allowed_targets:
        raise DomainError(
            Reason.TARGET_NOT_ALLOWED,
            f"{_why(hit)} keeps this request from the cloud, and the policy or data class keeps it from home",
            workload=workload,
            allowed="",
        )
    return replace(row, allowed_targets=frozenset({Target.SOVEREIGN}), fallback_allowed=False)


def explained(error: DomainError, hit: Hit | None) -> DomainError:
    """The refusal of a request, which says that a hit is the reason if it is."""
    if hit is None or not hit.sovereign or error.reason is not Reason.TARGET_NOT_ALLOWED:
        return error
    return DomainError(
        error.reason, f"{_why(hit)} keeps this request from the cloud; {error}", **error.metadata
    )


def _why(hit: Hit) -> str:
    return (
        f"that it can't be read ({hit.unread})" if hit.unread else f"personal data ({', '.join(hit.kinds)})"
    )


def _find(text: str, label: str, kinds: frozenset[Kind]) -> list[Finding]:
    if label == _FIELD:
        return find(text, kinds - {Kind.PERSON})
    if label in _UNLABELLED or len(text) > _LABELLED_CHARS:
        return find(text, kinds)
    before = _CAMEL.sub(" ", label[:_LABELLED_CHARS]) + ": "
    skip = len(before)
    return [
        Finding(finding.kind, max(0, finding.start - skip), finding.end - skip)
        for finding in find(before + text, kinds)
        if finding.end > skip
    ]


def _changed(key: str, value: Any, change: _Change, own: bool = False) -> Any:
    """The value of a field with all its texts changed; `own` if it is in a document of the application's."""
    own = own or key in _OWN or (key == "input" and isinstance(value, dict))
    if key in _MARKS and not own:
        return value
    if isinstance(value, str):
        if key in _JSON_TEXTS:
            return _changed_json(value, change)
        return value if value.startswith("data:") and _BYTES.fullmatch(value) else change(value, key)
    if isinstance(value, list):
        return [_changed(key, item, change, own) for item in value]
    if isinstance(value, dict):
        tool = not own and (not _TOOL_PARTS.isdisjoint(value) or value.get("role") in _TOOL_ROLES)
        # A document of plain text has its text where others have their bytes.
        plain = not own and value.get("type") == "text"
        field = "" if own else _FIELD
        return {
            change(name, field): change(item, _FIELD)
            if tool and name == "name" and isinstance(item, str)
            else _changed("text" if plain and name == "data" else name, item, change, own)
            for name, item in value.items()
        }
    # An application may send an identifier as a number.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LEAST_NUMBER:
        changed = change(str(value), key)
        return value if changed == str(value) else changed
    return value


def _changed_json(text: str, change: _Change) -> str:
    if wire.too_many_values(text.encode()):
        raise _UnreadError(_TOO_LONG)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return change(text, "")
    if isinstance(value, (dict, list)) and wire.deeper_than(value, wire.MAX_DEPTH):
        raise _UnreadError(f"it has JSON that is nested more than {wire.MAX_DEPTH} deep")
    _check_keys(text)
    changed = _changed("", value, change, own=True)
    return text if changed == value else orjson.dumps(changed).decode()


def _check_keys(text: str | bytes) -> None:
    """Raises _UnreadError if JSON has a key twice: one value is read, and both would be sent."""
    json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _UnreadError("it has a key twice in one object")


def _tokens(texts: object) -> bool:
    return isinstance(texts, list) and any(isinstance(item, _TOKENS) for item in texts)


def _unescaped(match: re.Match[str]) -> str:
    units = bytes.fromhex("".join(_UNIT.findall(match.group())))
    return "".join(
        # Quotes, and what can't stand in JSON or UTF-8 by itself, stay escaped.
        f"{match[1]}u{ord(sign):04x}" if sign < " " or sign in '"\\' or "\ud800" <= sign <= "\udfff" else sign
        for sign in units.decode("utf-16-be", "surrogatepass")
    )
