"""The calendar file, read by a parser that is as strict as RFC 5545."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from playbook.plan.deadline import Terms, make
from playbook.plan.events import events
from playbook.plan.ics import MAX_OCTETS, Event, calendar_of
from playbook.plan.schedule import Mover

STAMP = datetime(2026, 11, 30, 0, 30, tzinfo=UTC)
_LINE = re.compile(r"(?P<name>[A-Z0-9-]+)(?P<parameters>(;[A-Z0-9-]+=[^:;,\"]+)*):(?P<value>.*)", re.DOTALL)
Properties = dict[str, list[tuple[str, str]]]


def parsed(text: str) -> tuple[Properties, list[Properties]]:
    """The calendar's own properties and those of its events, by name: (parameters, value).

    Raises:
        AssertionError: it is not what RFC 5545 asks for.
    """
    raw = text.encode()
    assert raw.endswith(b"\r\n")
    lines = raw[:-2].split(b"\r\n")
    for line in lines:
        assert len(line) <= MAX_OCTETS, line
        assert not set(line) & (set(range(32)) - {9}), line
        assert 127 not in line
        line.decode()  # no character is cut in two
    unfolded = b"\r\n".join(lines).replace(b"\r\n ", b"").replace(b"\r\n\t", b"").decode()
    calendar: Properties = {}
    found: list[Properties] = []
    nested: list[str] = []
    for line in unfolded.split("\r\n"):
        match = _LINE.fullmatch(line)
        assert match, line
        name, value = match["name"], match["value"]
        if name == "BEGIN":
            nested.append(value)
            if value == "VEVENT":
                found.append({})
        elif name == "END":
            assert nested.pop() == value
        elif nested == ["VCALENDAR"]:
            calendar.setdefault(name, []).append((match["parameters"], value))
        elif nested == ["VCALENDAR", "VEVENT"]:
            found[-1].setdefault(name, []).append((match["parameters"], value))
        else:
            assert nested == ["VCALENDAR", "VEVENT", "VALARM"], nested
            found[-1].setdefault(f"VALARM.{name}", []).append((match["parameters"], value))
    assert not nested
    for item in (calendar, *found):
        assert all(len(values) == 1 for name, values in item.items() if not name.startswith("VALARM."))
    return calendar, found


def plain(value: str) -> str:
    """A TEXT value without its escapes."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] in "nN" else match[1], value)


def day(item: Properties, name: str) -> date:
    parameters, value = item[name][0]
    assert parameters == ";VALUE=DATE"
    return datetime.strptime(value, "%Y%m%d").replace(tzinfo=UTC).date()


def test_a_file_has_what_the_standard_asks_for() -> None:
    movers = (Mover("ticket-triage"), Mover("project crm · gpt-4o, „Müller“; x\\y"))
    plan = make(movers, Terms(date(2026, 11, 30), date(2027, 6, 30), 30, 4, (2, 3), 3))
    calendar, found = parsed(calendar_of(events(plan), "Homeward: the way home", STAMP))
    assert calendar["VERSION"] == [("", "2.0")]
    assert calendar["PRODID"][0][1]
    titles = {plain(item["SUMMARY"][0][1]): item for item in found}
    assert len(found) == len(titles) == len({item["UID"][0][1] for item in found})
    assert all(re.fullmatch(r"\d{8}T\d{6}Z", item["DTSTAMP"][0][1]) for item in found)
    assert "Homeward: cutover project crm · gpt-4o, „Müller“; x\\y" in titles
    shadow = titles["Homeward: shadow ticket-triage"]
    assert (day(shadow, "DTSTART"), day(shadow, "DTEND")) == (date(2027, 2, 8), date(2027, 3, 1))
    last = titles["Homeward: last day to decide on the migration"]
    assert day(last, "DTSTART") == plan.decide_by
    assert day(last, "DTEND") - day(last, "DTSTART") == timedelta(days=1)
    assert [value for _, value in last["VALARM.TRIGGER"]] == ["-P28D", "-P7D"]
    assert day(titles["Homeward: new prices in the cloud"], "DTSTART") == date(2027, 6, 30)
    assert day(titles["Homeward: last day to give notice to the cloud provider"], "DTSTART") == date(
        2027, 5, 31
    )


def test_without_a_renewal_there_are_no_last_days() -> None:
    plan = make((), Terms(date(2026, 11, 30), None, 30, None, (2, 3), 3))
    _, found = parsed(calendar_of(events(plan), "x", STAMP))
    assert [item["SUMMARY"][0][1] for item in found] == [
        f"Homeward: {phase}" for phase in ("inventory", "plan", "shadow", "cutover", "report")
    ]


def test_a_plan_made_again_moves_its_events_and_doubles_none() -> None:
    """The same UID with a later SEQUENCE: calendars take the later."""
    terms = Terms(date(2026, 11, 30), date(2027, 6, 30), 0, 4, (2, 3), 3)
    later = Terms(date(2026, 12, 30), date(2027, 6, 30), 0, 4, (2, 3), 3)
    files = [
        parsed(calendar_of(events(make((Mover("a"),), given_terms)), "x", STAMP + timedelta(minutes=minutes)))
        for minutes, given_terms in enumerate((terms, later))
    ]
    first, second = ({item["UID"][0][1]: item for item in found} for _, found in files)
    assert set(first) == set(second)
    for uid, item in first.items():
        assert int(second[uid]["SEQUENCE"][0][1]) > int(item["SEQUENCE"][0][1])


def test_a_stamp_is_told_in_utc() -> None:
    stamp = datetime(2027, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    _, found = parsed(calendar_of([Event("k", "t", "", date(2027, 1, 1), date(2027, 1, 2))], "x", stamp))
    assert found[0]["DTSTAMP"][0][1] == "20261231T230000Z"


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_comes_back_whole(title: str, text: str) -> None:
    """But for control characters, which the format can't hold, and the kinds of line ends."""
    event = Event("k", title, text, date(2028, 2, 29), date(2028, 3, 1))
    _, (item,) = parsed(calendar_of([event], "x", STAMP))

    def held(value: str) -> str:
        ends = value.replace("\r\n", "\n").replace("\r", "\n")
        return "".join(sign for sign in ends if sign in "\n\t" or not (ord(sign) < 32 or ord(sign) == 127))

    assert plain(item["SUMMARY"][0][1]) == held(title)
    if text:
        assert plain(item["DESCRIPTION"][0][1]) == held(text)
