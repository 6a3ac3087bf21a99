"""A calendar file of whole-day events, as RFC 5545 has it. Pure: the time is an argument."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

PRODUCT = "-//Homeward//homeward plan//EN"
MAX_OCTETS = 75
"""Of a line without its end (RFC 5545, 3.1)."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that lasts whole days."""

    key: str
    """What it is, whatever its date: a calendar that has it moves it, and does not have it twice."""
    title: str
    text: str
    begin: date
    end: date
    """The first day after it."""
    remind_days: tuple[int, ...] = ()
    """Days before it on which a calendar reminds of it."""


def calendar_of(events: Iterable[Event], name: str, stamp: datetime) -> str:
    """The file's text, with CRLF at the end of each line.

    Args:
        events: in any order.
        name: of the calendar.
        stamp: when it is made; events of the same key are those of the latest.
    """
    moment = stamp.astimezone(UTC)
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODUCT}", "CALSCALE:GREGORIAN", "METHOD:PUBLISH"]
    lines += [f"NAME:{escaped(name)}", f"X-WR-CALNAME:{escaped(name)}"]
    for event in sorted(events, key=lambda event: (event.begin, event.end, event.key)):
        lines += _event(event, moment)
    lines.append("END:VCALENDAR")
    return "".join(part + "\r\n" for line in lines for part in folded(line))


def _event(event: Event, moment: datetime) -> Iterator[str]:
    identity = hashlib.sha256(event.key.encode()).hexdigest()[:32]
    yield from ("BEGIN:VEVENT", f"UID:{identity}@homeward", f"DTSTAMP:{moment:%Y%m%dT%H%M%SZ}")
    # Minutes since 1970: a later file's events replace those of an earlier one.
    yield f"SEQUENCE:{int(moment.timestamp()) // 60}"
    yield f"DTSTART;VALUE=DATE:{event.begin:%Y%m%d}"
    yield f"DTEND;VALUE=DATE:{max(event.end, event.begin + timedelta(days=1)):%Y%m%d}"
    yield f"SUMMARY:{escaped(event.title)}"
    if event.text:
        yield f"DESCRIPTION:{escaped(event.text)}"
    # The phases of a migration make nobody busy.
    yield "TRANSP:TRANSPARENT"
    for days in event.remind_days:
        yield from ("BEGIN:VALARM", "ACTION:DISPLAY", f"DESCRIPTION:{escaped(event.title)}")
        yield from (f"TRIGGER:-P{days}D", "END:VALARM")
    yield "END:VEVENT"


def escaped(text: str) -> str:
    """As a value of type TEXT: other control characters than line ends are left out."""
    plain = "".join(sign for sign in text.replace("\r\n", "\n").replace("\r", "\n") if _allowed(sign))
    for sign in ("\\", ";", ","):
        plain = plain.replace(sign, "\\" + sign)
    return plain.replace("\n", "\\n")


def _allowed(sign: str) -> bool:
    return sign in "\n\t" or not (ord(sign) < 32 or ord(sign) == 127)


def folded(line: str) -> Iterator[str]:
    """Lines of at most 75 octets, all but the first with a space before; no character is cut in two."""
    part, size = "", 0
    for sign in line:
        octets = len(sign.encode())
        if size + octets > MAX_OCTETS:
            yield part
            part, size = " ", 1
        part += sign
        size += octets
    yield part
