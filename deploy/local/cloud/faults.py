"""Faults on demand: what the header `x-stand-in-fault` asks for.

The header is a list of directives with commas between them:

    status=NNN      an error of OpenAI's shape with that status
    retry-after=S   the header Retry-After on the answer that status or html asks for
    html            502 with an HTML page, as from a proxy
    garbage         an answer that is not JSON
    refuse          closes the connection before any byte of the answer
    slow-first=S    S seconds of nothing before the headers
    silence=S       S seconds of nothing after a stream's first event
    cut=N           closes the connection after N events of a stream
    cut-body        closes the connection in the middle of an answer that is not streamed
    error-event=N   ends a stream with an error after N events

Each may have `;times=K;id=X`: then only the first K requests with that id meet it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from deploy.local.cloud.errors import invalid

HEADER = "x-stand-in-fault"

_NUMBERS = frozenset({"status", "cut", "error-event"})
_SECONDS = frozenset({"retry-after", "slow-first", "silence"})
_PLAIN = frozenset({"html", "garbage", "refuse", "cut-body"})


@dataclass(frozen=True, slots=True)
class Faults:
    """What is to go wrong with one request."""

    status: int | None = None
    retry_after: str | None = None
    """As written, in seconds."""
    html: bool = False
    garbage: bool = False
    refuse: bool = False
    cut_body: bool = False
    slow_first_s: float = 0
    silence_s: float = 0
    cut: int | None = None
    """Events before the connection closes."""
    error_event: int | None = None
    """Events before the error."""


NONE = Faults()


class FaultPlan:
    """Reads the header, and counts the requests of each id."""

    def __init__(self) -> None:
        self._met: Counter[tuple[str, str]] = Counter()

    def read(self, header: str) -> Faults:
        """The faults that one request meets.

        Raises:
            ApiError: the header can't be read.
        """
        active: dict[str, str] = {}
        for directive in filter(None, (part.strip() for part in header.split(","))):
            head, *options = (part.strip() for part in directive.split(";"))
            name, _, value = head.partition("=")
            if name not in _NUMBERS | _SECONDS | _PLAIN or not _fits(name, value):
                raise _unreadable(directive)
            if self._applies(name, options, directive):
                active[name] = value
        return _faults(active)

    def clear(self) -> None:
        """Forgets the ids."""
        self._met.clear()

    def _applies(self, name: str, options: list[str], directive: str) -> bool:
        settings = dict(option.partition("=")[::2] for option in options)
        if settings.keys() - {"times", "id"} or not settings.get("times", "0").isdecimal():
            raise _unreadable(directive)
        if "times" not in settings:
            return True
        key = (settings.get("id", ""), name)
        self._met[key] += 1
        return self._met[key] <= int(settings["times"])


def _fits(name: str, value: str) -> bool:
    if name in _PLAIN:
        return not value
    if name == "status":
        return value.isdecimal() and 400 <= int(value) <= 599
    if name in _NUMBERS:
        return value.isdecimal()
    return value.replace(".", "", 1).isdecimal()


def _faults(active: dict[str, str]) -> Faults:
    def number(name: str) -> int | None:
        return int(active[name]) if name in active else None

    return Faults(
        status=number("status"),
        retry_after=active.get("retry-after"),
        html="html" in active,
        garbage="garbage" in active,
        refuse="refuse" in active,
        cut_body="cut-body" in active,
        slow_first_s=float(active.get("slow-first", 0)),
        silence_s=float(active.get("silence", 0)),
        cut=number("cut"),
        error_event=number("error-event"),
    )


def _unreadable(directive: str) -> Exception:
    return invalid(f"The directive {directive[:80]!r} of {HEADER} can't be read.", HEADER)
