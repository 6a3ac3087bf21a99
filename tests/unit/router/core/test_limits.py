"""Requests and tokens a minute."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.router.core.keys import Key
from services.router.core.limits import Gate, Limiter


def key(name: str = "crm", *, requests: float | None = None, tokens: float | None = None) -> Key:
    return Key(name, bytes(32), requests_per_minute=requests, tokens_per_minute=tokens)


def refusal(limiter: Limiter, key: Key, now_s: float) -> DomainError | None:
    try:
        limiter.admit(key, now_s)
    except DomainError as error:
        return error
    return None


# Eighths of seconds are exact in binary, so that the arithmetic here is that of the clock.
gaps = st.lists(st.integers(0, 30 * 8).map(lambda eighths: eighths / 8), min_size=1, max_size=120)
ROUNDING_S = 0.001
"""What the arithmetic may be wrong by."""
rates = st.integers(1, 40).map(float)


@given(rates, st.sampled_from([1.0, 0.5]), gaps)
def test_no_stretch_of_time_admits_more_than_its_part_and_one_minutes_burst(
    rate: float, share: float, gaps: list[float]
) -> None:
    limiter, limited = Limiter(share), key(requests=rate)
    admitted = [now for now in itertools.accumulate(gaps) if refusal(limiter, limited, now) is None]
    burst = max(1.0, rate * share)
    for first, last in itertools.combinations_with_replacement(range(len(admitted)), 2):
        seconds = admitted[last] - admitted[first]
        assert last - first + 1 <= burst + rate * share * seconds / 60 + 1e-6


@given(rates, gaps)
def test_who_comes_back_after_retry_after_is_admitted(rate: float, gaps: list[float]) -> None:
    limiter, limited, now = Limiter(), key(requests=rate), 0.0
    for gap in gaps:
        now += gap
        error = refusal(limiter, limited, now)
        if error is None:
            continue
        assert error.reason is Reason.RATE_LIMITED
        wait = error.retry_after_s
        assert wait is not None
        # Not sooner than need be: a second less would have been too early.
        if wait > 1:
            assert refusal(limiter, limited, now + wait - 1 - ROUNDING_S) is not None
        now += wait + ROUNDING_S
        assert refusal(limiter, limited, now) is None


@pytest.mark.parametrize(
    ("rate", "share"), [(60, 1.0), (1, 1.0), (90, 0.5), (1, 0.25), (0.5, 1.0), (2, 0.25)]
)
def test_who_keeps_to_the_rate_is_never_refused(rate: float, share: float) -> None:
    limiter, limited = Limiter(share), key(requests=rate)
    # A hair slower than the rate.
    for turn in range(50):
        assert refusal(limiter, limited, turn * 60.06 / (rate * share)) is None, turn


def test_a_minutes_worth_may_come_at_once_and_then_no_more() -> None:
    limiter, limited = Limiter(), key(requests=3)
    assert [refusal(limiter, limited, 100.0) is None for _ in range(5)] == [True, True, True, False, False]
    error = refusal(limiter, limited, 100.0)
    assert error is not None
    assert error.metadata == {"key": "crm", "limit": "requests_per_minute", "retry_after_s": "20"}
    assert error.message == "key 'crm' has used up its requests per minute; retry after 20 s"


def test_a_process_admits_its_share() -> None:
    limiter, limited = Limiter(0.25), key(requests=8)
    assert [refusal(limiter, limited, 0.0) is None for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("spent", "seconds", "retry_after"),
    [(59, 0, None), (60, 0, 1), (120, 0, 61), (120, 60.5, None), (600, 0, 541), (600, 541, None)],
)
def test_tokens_may_be_overdrawn_by_one_request_and_then_are_waited_for(
    spent: int, seconds: float, retry_after: int | None
) -> None:
    limiter, limited = Limiter(), key(tokens=60)
    assert refusal(limiter, limited, 0.0) is None
    limiter.spend(limited, spent, 0.0)
    error = refusal(limiter, limited, seconds)
    assert (None if error is None else error.retry_after_s) == retry_after
    assert error is None or error.metadata["limit"] == "tokens_per_minute"


def test_a_refusal_for_tokens_takes_no_request() -> None:
    limiter, limited = Limiter(), key(requests=1, tokens=60)
    limiter.spend(limited, 61, 0.0)
    assert refusal(limiter, limited, 0.0) is not None
    assert refusal(limiter, limited, 2.0) is None


def test_a_clock_that_goes_back_adds_nothing_and_does_not_stop_the_filling() -> None:
    limiter, limited = Limiter(), key(requests=1)
    assert refusal(limiter, limited, 1000.0) is None
    assert refusal(limiter, limited, 0.0) is not None
    assert refusal(limiter, limited, 60.5) is None


def test_keys_do_not_share_what_they_have() -> None:
    limiter = Limiter()
    one, other = key("one", requests=1), key("other", requests=1)
    assert refusal(limiter, one, 0.0) is None
    assert refusal(limiter, one, 0.0) is not None
    assert refusal(limiter, other, 0.0) is None


def test_a_key_without_limits_is_always_admitted() -> None:
    limiter, free = Limiter(), key()
    limiter.spend(free, 10**12, 0.0)
    assert all(refusal(limiter, free, 0.0) is None for _ in range(1000))


def test_a_gate_refuses_what_is_too_many_in_flight_and_lets_in_again_what_others_have_left() -> None:
    gate = Gate(2)
    with gate:
        with gate, pytest.raises(DomainError) as caught, gate:
            pytest.fail("a third was let in")
        # Neither the refusal nor the one that left counts any more.
        assert gate.in_flight == 1
        with gate:
            assert gate.in_flight == 2
    assert gate.in_flight == 0
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.metadata == {"limit": "2", "retry_after_s": "1"}


def test_a_request_that_fails_leaves_the_gate_too() -> None:
    gate = Gate(1)
    with pytest.raises(ValueError, match="failed"), gate:
        raise ValueError("failed")
    assert gate.in_flight == 0
