import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.core.retry import RETRIED_STATUSES, retry_after_s, wait_before_retry_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
seconds = st.floats(0, 100)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-3", 0),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:30 +99999999999999999999", None),
    ],
)
def test_a_retry_after_header_is_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, NOW) == expected


@given(st.text() | st.from_regex(r"Sun, \d+ Mar \d+ \d+:\d+:\d+ ([+-]\d+|GMT)"))
def test_no_header_does_harm(header: str) -> None:
    wait = retry_after_s(header, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("statuses", "retried"),
    [((200, 400, 401, 403, 404, 422, 501), False), ((408, 409, 429, 500, 502, 503, 504, 529), True)],
)
def test_only_what_may_pass_is_tried_again(statuses: tuple[int, ...], retried: bool) -> None:
    assert [status in RETRIED_STATUSES for status in statuses] == [retried] * len(statuses)


@pytest.mark.parametrize(
    ("attempt", "asked", "uniform", "expected"),
    [
        (1, None, 0.0, 0.0),
        (1, None, 0.5, 0.125),
        (2, None, 0.5, 0.25),
        (3, None, 0.5, 0.5),
        # The doubling stops at the longest wait.
        (8, None, 0.5, 4.0),
        (9, None, 0.5, 4.0),
        # The last attempt has been made.
        (10, None, 0.5, None),
        (11, None, 0.5, None),
        # The server asks for more, for less, and for too much.
        (1, 3.0, 0.5, 3.0),
        (4, 0.1, 0.5, 1.0),
        (1, 8.0, 0.5, 8.0),
        (1, 8.1, 0.5, None),
        (1, math.inf, 0.5, None),
        (1, 0.0, 0.5, 0.125),
    ],
)
def test_the_wait_doubles_and_a_server_that_asks_is_heard(
    attempt: int, asked: float | None, uniform: float, expected: float | None
) -> None:
    wait = wait_before_retry_s(
        attempt, max_attempts=10, base_s=0.25, max_wait_s=8, asked_s=asked, uniform=uniform
    )
    assert wait == expected


@given(
    attempt=st.integers(1, 12),
    max_attempts=st.integers(1, 10),
    base=seconds,
    longest=seconds,
    asked=st.none() | seconds,
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_within_its_bounds(
    attempt: int, max_attempts: int, base: float, longest: float, asked: float | None, uniform: float
) -> None:
    wait = wait_before_retry_s(
        attempt, max_attempts=max_attempts, base_s=base, max_wait_s=longest, asked_s=asked, uniform=uniform
    )
    if attempt >= max_attempts or (asked is not None and asked > longest):
        assert wait is None
    else:
        assert wait is not None
        assert (asked or 0) <= wait <= longest
        assert wait <= max(asked or 0, base * 2 ** (attempt - 1))
