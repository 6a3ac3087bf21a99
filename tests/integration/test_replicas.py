"""Replicas are slow and are full, and applications leave: who serves a request, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.replicas import PROMPT, House, booked, bring_home, in_flight, open_house, tokens
from tests.support.stack import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EITHER = """
[models.either]
routes = [{ upstream = "tiny", model = "tiny" }, { upstream = "cloud", model = "stand-in-mini" }]

[data_classes.secret]
targets = ["sovereign"]

[keys.demo]
workloads = ["*", "secrets"]

[workloads.secrets]
owner = "legal"
task_type = "extraction"
data_class = "secret"
"""


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("replicas")
    async with open_house(folder, "slow", "fast", "narrow", extra_settings=EITHER) as house:
        yield house


# --- servers that are slow, or full ----------------------------------------------------------------


async def test_a_slow_replica_gets_fewer_requests(house: House) -> None:
    before = {name: house.made(name) for name in ("slow", "fast")}
    waiting = iter([house.ask("uneven", max_tokens=5, seed=seed) for seed in range(48)])

    async def application() -> None:
        for item in waiting:
            assert (await item.whole()).outcome == "ok"

    await asyncio.gather(*(application() for _ in range(6)))
    served = {name: house.made(name) - before[name] for name in before}
    assert sum(served.values()) == 48
    assert 0 < served["slow"] < served["fast"]


async def test_a_prompt_goes_where_its_beginning_is_known_unless_that_is_busy(house: House) -> None:
    prompt = " ".join(f"{number} bottles of milk on the wall." for number in range(20))
    assert len(prompt) > 512

    def read(kind: str) -> dict[str, float]:
        """Tokens of prompts by server. Of probes they are few."""
        name = "homeward_generate_tokens_total"
        return {server: house.servers[server].metric(name, kind=kind) for server in ("slow", "fast")}

    before, cached = read("input"), read("cached")
    # One is busy, so that the prompt goes to the other.
    async with in_flight(house.ask("affine", max_tokens=500)):
        await house.ask("affine", prompt=prompt, max_tokens=1).whole()
    [known] = (name for name, count in read("input").items() if count - before[name] >= tokens(prompt))
    for _ in range(5):
        await house.ask("affine", prompt=f"{prompt} And on.", max_tokens=1).whole()
    assert read("input")[known] - before[known] >= 6 * tokens(prompt)
    assert read("cached")[known] - cached[known] >= 5 * tokens(prompt[:512])
    many = [house.ask("affine", prompt=prompt, max_tokens=1000, seed=seed) for seed in range(6)]
    (other,) = {"slow", "fast"} - {known}
    cancelled = house.made(other, "cancelled")
    async with in_flight(*many):
        pass

    async def spread() -> bool:
        return house.made(other, "cancelled") > cancelled

    await until(spread, "one of them was at the other replica")


async def test_full_replicas_send_requests_away_or_to_the_cloud_as_they_may(house: House) -> None:
    await bring_home(house.stack, "summaries")
    async with in_flight(*(house.ask("tiny", max_tokens=500, seed=seed) for seed in range(2))):
        for refused in (house.ask("tiny"), house.ask("either").workload("secrets")):
            await refused.whole()
            assert (refused.status, refused.code) == (429, "replicas_busy")
            assert int(refused.answer_headers["Retry-After"]) >= 1
            (leg,) = await booked(house, [refused])
            assert (leg["target"], leg["outcome"]) == ("sovereign", "unreachable")
            assert (leg["error_reason"], leg["cost_nanos"]) == ("REPLICAS_BUSY", 0)
        moved = await house.ask("either", temperature=1).workload("summaries").whole()
        assert (moved.status, moved.target) == (200, "cloud")
        assert [(leg["target"], leg["outcome"]) for leg in await moved.legs(2)] == [
            ("sovereign", "unreachable"),
            ("cloud", "ok"),
        ]
    at_home = await house.ask("either", max_tokens=1).workload("summaries").whole()
    assert at_home.target == "sovereign"


async def test_a_server_that_refuses_a_request_too_many_is_not_taken_for_dead(house: House) -> None:
    stubs = house.servers["narrow"].stubs()
    held = house.ask("narrow", max_tokens=100)
    task = asyncio.create_task(held.streamed())
    await held.begun.wait()
    many = [house.ask("narrow", max_tokens=2, seed=seed) for seed in range(6)]
    await asyncio.gather(task, *(item.whole() for item in many))
    assert held.outcome == "ok"
    refused = [item for item in many if item.outcome != "ok"]
    assert {(item.status, item.code) for item in refused} == {(429, "replicas_busy")}
    assert len(refused) == 5, "one waits, and five find no place"
    assert (await house.ask("narrow", max_tokens=2).whole()).outcome == "ok"
    assert house.servers["narrow"].stubs() == stubs


# --- applications that leave -----------------------------------------------------------------------


async def test_an_application_that_leaves_stops_the_model_within_a_token(house: House) -> None:
    def counted() -> tuple[float, float]:
        made = (item.metric("homeward_generate_tokens_total", kind="output") for item in servers)
        ends = (item.metric("homeward_generate_requests_total", outcome="cancelled") for item in servers)
        return sum(made), sum(ends)

    servers = [house.servers[name] for name in ("slow", "fast")]
    tokens_before, ends_before = counted()
    left = await house.ask("uneven", seed=11, max_tokens=500).streamed(events=4)

    async def ended() -> bool:
        return counted()[1] == ends_before + 1

    await until(ended, "the server has stopped")
    made = int(counted()[0] - tokens_before)
    # With its seed a sampled text comes again, so what the model had made is known by its length in tokens.
    again = [
        (await house.ask("uneven", seed=11, max_tokens=count).whole()).document["choices"][0]["text"]
        for count in (made - 1, made)
    ]
    assert left.text in again, "the model went on for more than a token"
    (leg,) = await booked(house, [left])
    assert (leg["outcome"], leg["error_reason"]) == ("cancelled", "CANCELLED")
    assert (leg["input_tokens"], leg["output_tokens"]) == (1 + tokens(PROMPT), tokens(left.text))
    assert leg["usage_source"] == "upstream"
