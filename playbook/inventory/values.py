"""Values as exports write them: counts, amounts, times and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from playbook.inventory.rows import END_TIME, EXCERPT_CHARS, FIRST_TIME, MAX_TOKENS

NANOS = 1_000_000_000
MAX_NANOS = 2**63 - 1
MAX_NAME_CHARS = 512
"""A longer name is somebody's text in the wrong field."""
NULLS = frozenset({"", "null", "none", "nil", "\\n", "n/a", "nan"})
"""Texts that stand for nothing, in lower case. A number that is none of these must be a number."""
_MEASURE = re.compile(r"[0-9TZ:.,eE+\- ]{0,40}|[\w.\-]{0,16}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNITS: tuple[tuple[int, int], ...] = ((10**11, 1), (10**14, 1000), (10**17, 10**6))
"""Below the first, a number counts so many parts of a second; above all, nanoseconds."""
_MAX_QUANTITY = Decimal(10) ** 22


class BadValueError(ValueError):
    """A value that can't be what its field says; the message says which field, and why."""


def count(value: object, field: str) -> int | None:
    """A count of tokens or requests; None if there is none.

    Raises:
        BadValueError: it is not a whole number from 0 to MAX_TOKENS.
    """
    # Nearly all of a log's counts are these.
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value
    if value is None or (isinstance(value, str) and value.strip().lower() in NULLS - {"nan"}):
        return None
    number = _number(value, field)
    if number != number.to_integral_value():
        raise BadValueError(f"{field} is no whole number")
    if number < 0:
        raise BadValueError(f"{field} is negative")
    if number > MAX_TOKENS:
        raise BadValueError(f"{field} is larger than any real count")
    return int(number)


def nanos(value: object, field: str, *, units: int = NANOS) -> int | None:
    """An amount of money in nano-units, rounded half to even; None if there is none.

    Args:
        value: a number, or its text.
        field: its name, for the message.
        units: nano-units of one of what `value` counts: a billion for dollars, ten million for cents.

    Raises:
        BadValueError: it is no number, or does not fit 64 bits.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NULLS - {"nan"}):
        return None
    amount = _number(value, field) * units
    if abs(amount) > MAX_NANOS:
        raise BadValueError(f"{field} is larger than any bill")
    return int(amount.to_integral_value())


def quantity(value: object, field: str) -> Decimal | None:
    """A quantity, to 15 decimal places; None if there is none.

    Raises:
        BadValueError: it is no number, or out of range.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NULLS - {"nan"}):
        return None
    number = _number(value, field)
    if abs(number) >= _MAX_QUANTITY:
        raise BadValueError(f"{field} is larger than any quantity")
    # 22 digits before the point and 15 behind it are more than the default context's 28.
    sign, digits, exponent = number.as_tuple()
    if isinstance(exponent, int) and exponent < -15:
        digits_kept = int("".join(map(str, digits)) or "0")
        scaled = _half_even(digits_kept, 10 ** (-15 - exponent))
        return Decimal((sign, tuple(map(int, str(scaled))), -15))
    return number


def text(value: object, field: str) -> str:
    """A name; empty if there is none.

    Raises:
        BadValueError: it is too long for a name, or no Unicode text.
    """
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        raise BadValueError(f"{field} is no name")
    name = str(value).strip()
    if name.lower() in NULLS:
        return ""
    if len(name) > MAX_NAME_CHARS:
        raise BadValueError(f"{field} is longer than {MAX_NAME_CHARS} characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadValueError(f"{field} is no Unicode text") from None
    return name


def time(value: object, field: str) -> datetime:
    """A time in UTC, to the microsecond below.

    Args:
        value: seconds, milli-, micro- or nanoseconds since 1970, told apart by their size; or ISO 8601. Text
            without a zone is taken for UTC.
        field: its name, for the message.

    Raises:
        BadValueError: it is missing, no time, or outside the years in which providers sold tokens.
    """
    if isinstance(value, datetime):
        found = value
    elif value is None or (isinstance(value, str) and value.strip().lower() in NULLS):
        raise BadValueError(f"{field} is missing")
    elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise BadValueError(f"{field} is no time")
    else:
        found = _epoch_time(value, field) if not isinstance(value, str) else _text_time(value.strip(), field)
    try:
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadValueError(f"{field} is out of range") from None
    if not FIRST_TIME <= found < END_TIME:
        raise BadValueError(f"{field} is not between {FIRST_TIME.year} and {END_TIME.year}")
    return found


def micros(at: datetime) -> int:
    """A time in UTC as microseconds since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def less(whole: int | None, parts: Iterable[int | None], field: str) -> int | None:
    """What is left of a count when those that it includes are taken out.

    Raises:
        BadValueError: they are more than the whole.
    """
    if whole is None:
        return None
    rest = whole - sum(part or 0 for part in parts)
    if rest < 0:
        raise BadValueError(f"{field} is less than the counts that it includes")
    return rest


def excerpt(record: Mapping[str, Any], fields: Iterable[str]) -> str:
    """Some fields of a bad record, short enough to keep.

    Of a value that is no number, time or short word only its length is told: where a row is broken, a prompt
    may stand in any field.
    """
    known = (f"{name}={_shown(record[name])}" for name in fields if record.get(name) is not None)
    return ", ".join(known)[:EXCERPT_CHARS]


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "…"
    text_ = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text_ if _MEASURE.fullmatch(text_) else f"({len(text_):,} characters)"


def _number(value: object, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise BadValueError(f"{field} is no number")
    try:
        # A float's shortest text is what the export wrote.
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise BadValueError(f"{field} is no number") from None
    if not number.is_finite():
        raise BadValueError(f"{field} is no finite number")
    if number and not -50 < number.adjusted() < 50:
        raise BadValueError(f"{field} is out of range")
    return number


def _half_even(number: int, by: int) -> int:
    whole, rest = divmod(number, by)
    return whole + (2 * rest > by or (2 * rest == by and whole % 2 == 1))


def _text_time(value: str, field: str) -> datetime:
    try:
        return _epoch_time(Decimal(value), field)
    except InvalidOperation:
        pass
    for suffix in (" UTC", " Z"):
        value = value.removesuffix(suffix)
    head, point, tail = value.partition(".")
    if point:
        # Azure's traces have seven digits behind the second; a datetime has six.
        digits = len(tail) - len(tail.lstrip("0123456789"))
        value = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise BadValueError(f"{field} is no time") from None


def _epoch_time(value: float | Decimal, field: str) -> datetime:
    number: int | Decimal = int(value) if type(value) is int else _number(value, field)
    for limit, per_second in _EPOCH_UNITS:
        if -limit < number < limit:
            return _since(int(number * 10**6 // per_second), field)
    return _since(int(number) // 1000, field)


def _since(microseconds: int, field: str) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise BadValueError(f"{field} is out of range") from None
