"""What a leg books of an answer that did not come whole."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from opentelemetry import trace

from services.common.words import Evidence, Outcome, UsageSource
from services.router.call import Ask, Call
from services.router.core import catalog, wire
from services.router.core.keys import Key
from services.router.core.leg import Leg
from services.router.core.naming import Name
from services.router.core.usage import UNKNOWN, Usage, anthropic_begun, from_openai

BODY = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Where is my card?"}]})
PROMPT_TOKENS = -(-len(BODY) // 4)
BEGUN = {"input_tokens": 7, "cache_read_input_tokens": 900, "output_tokens": 1}
COUNTED = Usage(5, 0, 0, 3, 0, UsageSource.TOKENIZER)


@pytest.mark.parametrize(
    ("said", "counted", "booked"),
    [
        pytest.param(
            UNKNOWN,
            UNKNOWN,
            Usage(PROMPT_TOKENS, 0, 0, 10, 0, UsageSource.ESTIMATED),
            id="nothing is known",
        ),
        pytest.param(
            anthropic_begun(BEGUN),
            UNKNOWN,
            Usage(7, 900, 0, 10, 0, UsageSource.ESTIMATED),
            id="the server has counted the prompt",
        ),
        pytest.param(
            anthropic_begun({**BEGUN, "cache_creation_input_tokens": 40}),
            UNKNOWN,
            Usage(7, 900, 40, 10, 0, UsageSource.ESTIMATED),
            id="and what went into its cache",
        ),
        pytest.param(UNKNOWN, COUNTED, COUNTED, id="the router has counted"),
        pytest.param(
            from_openai({"prompt_tokens": 9, "completion_tokens": 4}),
            UNKNOWN,
            from_openai({"prompt_tokens": 9, "completion_tokens": 4}),
            id="the server has counted all",
        ),
    ],
)
def test_only_what_nobody_counted_is_a_guess(
    upstream: Callable[..., catalog.Upstream], said: Usage, counted: Usage, booked: Usage
) -> None:
    assert broken_off(upstream, BODY, said, counted) == booked


def test_the_guess_takes_a_picture_for_what_a_picture_counts(
    upstream: Callable[..., catalog.Upstream],
) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{'/9j/' * 1_000_000}"}}
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": [picture]}]})
    guess = broken_off(upstream, body, UNKNOWN, UNKNOWN)
    assert guess.input_tokens is not None
    assert 1000 <= guess.input_tokens < 1100


def broken_off(upstream: Callable[..., catalog.Upstream], body: bytes, said: Usage, counted: Usage) -> Usage:
    """What is booked of a leg that broke off after 40 characters of its answer."""
    legs: list[Leg] = []
    tracer = trace.get_tracer("test")
    ask = Ask(wire.parse_request(catalog.CHAT, body), Key("crm", bytes(32)), tracer.start_span("POST"), None)
    name = Name("triage", Evidence.DECLARED)
    call = Call(
        lambda leg, _: legs.append(leg), tracer, ask, name, catalog.Route(upstream(), "m"), bytes(16), 1
    )
    call.usage = said
    call.estimate(counted, 40)
    call.finish(Outcome.BROKEN)
    (leg,) = legs
    return leg.usage
