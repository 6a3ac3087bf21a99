"""Refuses the fields of a request that nobody would read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any


def refuse_unread(
    document: Mapping[str, Any],
    read: Collection[str],
    harmless: Collection[str],
    known: Mapping[str, tuple[object, str]],
    error: Callable[[str, str], Exception],
) -> None:
    """Raises for the first field that asks for something and is not read.

    Args:
        document: the request.
        read: fields that are read.
        harmless: fields that ask for nothing of the answer.
        known: of fields that are not: the value that asks for nothing, and what another asks for.
        error: makes what is raised from the field and what it asks for.
    """
    for field, value in document.items():
        if value is None or field in read or field in harmless:
            continue
        nothing, what = known.get(field, (None, "this"))
        # To Python false is 0, but a completion's `logprobs` of 0 asks for some.
        if value != nothing or isinstance(value, bool) != isinstance(nothing, bool):
            raise error(field[:80], what)
