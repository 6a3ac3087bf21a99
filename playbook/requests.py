"""Requests from a file, seen as the router sees them: one JSON object a line.

A row is a chat completion's body without its model (`messages`, and `tools` and `response_format` if it has
them), or `{"prompt": "…"}`, which is one message of the user. What else a row has is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.common.seen import Seen
from services.router.core import catalog
from services.router.core.shown import seen
from services.router.core.wire import parse_request

_SHOWN_FIELDS = ("messages", "tools", "response_format")
_ANY_MODEL = "any"
"""A body must name a model; what is seen of a request does not depend on it."""


def seen_of(row: Mapping[str, Any]) -> Seen:
    """What the classifier would see of a row's request.

    Args:
        row: with `messages` as OpenAI's chat has them, or `prompt`.

    Raises:
        DomainError: INVALID_REQUEST, without a line's number.
    """
    fields = {name: row[name] for name in _SHOWN_FIELDS if row.get(name) is not None}
    prompt = row.get("prompt")
    if ("messages" in fields) == (prompt is not None):
        raise _wrong("a row must have either `messages` or `prompt`")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise _wrong(f"`prompt` must be text, not {type(prompt).__name__}")
        fields["messages"] = [{"role": "user", "content": prompt}]
    try:
        body = orjson.dumps({"model": _ANY_MODEL, **fields})
    except TypeError as error:
        # Half a surrogate pair or a number of more than 64 bits: no body could carry it to the router either.
        raise _wrong(f"the row is no JSON that can be sent ({error})") from None
    return seen(parse_request(catalog.CHAT, body))


def read_requests(path: Path) -> list[Seen]:
    """The requests of a file, in its order; blank lines are skipped.

    Raises:
        DomainError: INVALID_REQUEST, which names the first line that is wrong.
        OSError: the file can't be read.
    """
    requests = []
    for number, row in rows(path):
        try:
            requests.append(seen_of(row))
        except DomainError as error:
            raise _wrong(f"{path}, line {number}: {error.message}") from None
    return requests


def rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a file with the numbers of their lines, from 1.

    Raises:
        DomainError: INVALID_REQUEST, which names the line.
        OSError: the file can't be read.
    """
    # By bytes, so that text that is no UTF-8 has a line's number too. Windows' editors begin with a mark.
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(text) if text else None
            except UnicodeDecodeError as error:
                raise _wrong(f"{place}: no UTF-8 text ({error.reason}); save the file as UTF-8") from None
            except (ValueError, RecursionError) as error:
                raise _wrong(f"{place}: no JSON ({error}); put one object on each line") from None
            if not text:
                continue
            if not isinstance(row, dict):
                raise _wrong(f"{place}: a row must be a JSON object, not {type(row).__name__}")
            yield number, row


def _wrong(message: str) -> DomainError:
    return DomainError(Reason.INVALID_REQUEST, message)
