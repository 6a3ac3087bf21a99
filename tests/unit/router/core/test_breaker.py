"""The breaker's life, told as traces: what happens at which second, and what comes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.core.breaker import Breaker, State

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

# Each step: what happens ("ok", "failed", or a call that "may" or "may not" be made), when, and the state
# after it. Three failures in a row open the breaker for ten seconds.
TRACES = {
    "failures below the threshold leave it closed": [
        ("failed", 0, CLOSED),
        ("failed", 1, CLOSED),
        ("may", 2, CLOSED),
    ],
    "failures in a row open it": [
        ("failed", 0, CLOSED),
        ("failed", 0, CLOSED),
        ("failed", 0, OPEN),
        ("may not", 1, OPEN),
        ("may not", 9.9, OPEN),
    ],
    "a success in between starts the count again": [
        ("failed", 0, CLOSED),
        ("failed", 1, CLOSED),
        ("ok", 2, CLOSED),
        ("failed", 3, CLOSED),
        ("failed", 4, CLOSED),
        ("may", 5, CLOSED),
    ],
    "one trial goes through after the cooldown": [
        ("failed", 0, CLOSED),
        ("failed", 0, CLOSED),
        ("failed", 0, OPEN),
        ("may", 10, HALF_OPEN),
        ("may not", 10, HALF_OPEN),
        ("may not", 19, HALF_OPEN),
    ],
    "a trial that goes well closes it, with the count at zero": [
        ("failed", 0, CLOSED),
        ("failed", 0, CLOSED),
        ("failed", 0, OPEN),
        ("may", 10, HALF_OPEN),
        ("ok", 11, CLOSED),
        ("failed", 12, CLOSED),
        ("failed", 12, CLOSED),
        ("may", 12, CLOSED),
    ],
    "a trial that fails opens it for another cooldown": [
        ("failed", 0, CLOSED),
        ("failed", 0, CLOSED),
        ("failed", 0, OPEN),
        ("may", 10, HALF_OPEN),
        ("failed", 12, OPEN),
        ("may not", 21, OPEN),
        ("may", 22, HALF_OPEN),
    ],
    "a trial that never reports back gives way to another": [
        ("failed", 0, CLOSED),
        ("failed", 0, CLOSED),
        ("failed", 0, OPEN),
        ("may", 10, HALF_OPEN),
        ("may not", 19, HALF_OPEN),
        ("may", 20, HALF_OPEN),
        ("may not", 20, HALF_OPEN),
    ],
}


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
def test_a_breaker_follows_its_trace(trace: list[tuple[str, float, State]]) -> None:
    breaker = Breaker(threshold=3, cooldown_s=10)
    for step, (event, now, state) in enumerate(trace):
        if event == "ok":
            breaker.succeeded()
        elif event == "failed":
            breaker.failed(now)
        else:
            assert breaker.admit(now) is (event == "may"), step
        assert breaker.state is state, step


@pytest.mark.parametrize(
    ("now", "seconds"), [(0, 10), (0.4, 10), (0.6, 10), (5, 5), (8.7, 2), (9.5, 1), (10, 1), (50, 1)]
)
def test_retry_after_is_the_whole_seconds_until_a_trial(now: float, seconds: int) -> None:
    breaker = Breaker(threshold=1, cooldown_s=10)
    breaker.failed(0)
    assert breaker.retry_after_s(now) == seconds


@given(st.integers(0, 100).map(lambda eighths: eighths / 8), st.integers(1, 100).map(lambda n: n / 8))
def test_who_comes_back_after_retry_after_may_try(now: float, cooldown: float) -> None:
    breaker = Breaker(threshold=1, cooldown_s=cooldown)
    breaker.failed(0)
    if not breaker.admit(now):
        assert breaker.admit(now + breaker.retry_after_s(now))


@given(st.lists(st.tuples(st.sampled_from(["ask", "ok", "failed"]), st.integers(0, 4))))
def test_an_open_breaker_lets_one_call_through_a_cooldown(steps: list[tuple[str, int]]) -> None:
    breaker, now, last = Breaker(threshold=2, cooldown_s=5), 0, None
    for event, gap in steps:
        now += gap
        if event == "ask":
            was = breaker.state
            if breaker.admit(now) and was is not State.CLOSED:
                assert last is None or now - last >= 5
                last = now
        elif event == "ok":
            breaker.succeeded()
            last = None
        else:
            breaker.failed(now)
