"""Budgets with four routers, one ledger and 64 callers: the cap holds, and each has its own rule at it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import typer
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.router.v1 import router_pb2, router_pb2_grpc
from typer.testing import CliRunner

from playbook.commands.budgets import budgets as command
from tests.support.booking import becomes
from tests.support.replicas import bring_home
from tests.support.stack import SECRETS, WAIT_S, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTERS = 4
LOGS = ("router", *(f"router-{index}" for index in range(1, ROUTERS)))
CALLERS = 64
CAP_NANOS = 2_000_000
CALL_NANOS = 80_000
"""More than is set aside for one call: 64 tokens at 600 nano-dollars, and the body's bytes at 150."""
OFFLINE = 8
"""Two for each router process."""

BUDGETS = {
    "capped": "limit_usd = 0.002\noffline_requests = 0",
    "watched": 'limit_usd = 0.0000001\nat_cap = "alert"',
    "homing": 'limit_usd = 0.0000001\nat_cap = "sovereign"',
    "returned": 'limit_usd = 0.0000001\nat_cap = "sovereign"',
    "away": f"limit_usd = 100\noffline_requests = {OFFLINE}",
    "unsayable": "limit_usd = 100",
}
"""Each of a workload of that name."""
KEYS = {
    "laboratory": ('scopes = ["experiments"]', ""),
    "thrifty": ("", 'limit_usd = 0.0000001\nperiod = "day"'),
}
"""A key's secret is its name after `hw-`; a budget has the name of its key."""

SETTINGS = """
[upstreams.inhouse]
target = "sovereign"
base_url = "http://127.0.0.1:{cloud}/v1"
api_key = "sk-home"
provider = "homeward-home"

[upstreams.messages]
target = "cloud"
protocol = "anthropic"
apis = ["messages"]
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-nobody"
provider = "anthropic"
models = ["claude-sonnet-4-5"]

[models.both]
routes = [
    {{ upstream = "cloud", model = "stand-in-mini" }},
    {{ upstream = "inhouse", model = "stand-in-mini" }},
]

[models.three]
routes = [
    {{ upstream = "inhouse", model = "stand-in-mini" }},
    {{ upstream = "messages", model = "claude-sonnet-4-5" }},
    {{ upstream = "cloud", model = "stand-in-mini" }},
]

[budgets.experiments]
limit_usd = 0.0000001
purpose = "noise"
at_cap = "sovereign"
"""


def settings(ports: dict[str, int]) -> str:
    """What the stack has beside its own."""
    text = SETTINGS.format(**ports)
    for name, budget in BUDGETS.items():
        text += f'\n[workloads.{name}]\nowner = "care"\n[budgets.{name}]\nworkload = "{name}"\n{budget}\n'
    for name, (scopes, budget) in KEYS.items():
        text += f'\n[keys.{name}]\nsha256 = "{hashlib.sha256(f"hw-{name}".encode()).hexdigest()}"\n{scopes}\n'
        if budget:
            text += f'[budgets.{name}]\nkey = "{name}"\n{budget}\n'
    return text


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with four router processes on one port."""
    folder = tmp_path_factory.mktemp("budgets")
    async with Stack(folder, HOMEWARD_ROUTER__PROCESSES=str(ROUTERS)) as running:
        with running.settings_file.open("a") as file:
            file.write(settings(running.ports))
        await running.start()
        # They share a port, so that one answers for all.
        await becomes(
            lambda: all('"listening"' in running.log(name) for name in LOGS), "all routers have begun"
        )
        yield running


async def ask(
    stack: Stack, workload: str, session: aiohttp.ClientSession | None = None, **changes: Any
) -> tuple[int, dict[str, Any], str]:
    """Asks for a chat. Without a session, on a connection of its own, so that any router may get it.

    Returns:
        The status, the body, and the target that served.
    """
    headers = {"Authorization": f"Bearer {changes.pop('key', SECRETS.api_key)}"}
    headers |= {"x-homeward-workload": workload} if workload else {}
    headers |= {"x-stand-in-fault": changes.pop("fault")} if "fault" in changes else {}
    body = {"model": "stand-in-mini", "max_tokens": 64, "messages": [{"role": "user", "content": "My card?"}]}
    own = session is None
    session = session or aiohttp.ClientSession()
    try:
        async with session.post(
            f"{stack.base_url}/chat/completions", json={**body, **changes}, headers=headers
        ) as response:
            return response.status, await response.json(), response.headers.get("x-homeward-target", "")
    finally:
        if own:
            await session.close()


async def standing(stack: Stack) -> dict[str, ledger_pb2.Budget]:
    """How the budgets stand."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        answer = await ledger_pb2_grpc.LedgerServiceStub(channel).ListBudgets(
            ledger_pb2.ListBudgetsRequest(), timeout=WAIT_S
        )
    return {item.name: item for item in answer.budgets}


async def booked_nanos(stack: Stack, workload: str) -> int:
    """What the book says that a workload's cloud legs cost."""
    [[nanos]] = await stack.query(
        f"SELECT sum(cost_nanos) FROM homeward.legs WHERE workload = '{workload}' AND target = 'cloud'"
    )
    return int(nanos or 0)


async def settled(stack: Stack, name: str, legs: int) -> ledger_pb2.Budget:
    """The budget once `legs` legs of its workload are booked, and nothing is set aside."""
    await stack.legs(legs, "leg_id", f"workload = '{name}' AND target = 'cloud'")

    async def nothing_reserved() -> bool:
        return not (await standing(stack))[name].reserved_nanos

    await until(nothing_reserved, f"nothing is set aside in {name}")
    return (await standing(stack))[name]


async def test_64_callers_of_4_routers_use_a_budget_up_and_never_pass_it(stack: Stack) -> None:
    statuses: Counter[int] = Counter()
    errors: list[dict[str, Any]] = []
    highest = 0
    done = asyncio.Event()

    async def call(turns: int) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(turns):
                status, body, _ = await ask(stack, "capped", session)
                statuses[status] += 1
                # On a machine that is busy with other things, the ledger may seem away for a moment.
                if status == 429 and "no ledger answers" not in body["error"]["message"]:
                    errors.append(body["error"])

    async def watch() -> None:
        nonlocal highest
        while not done.is_set():
            item = (await standing(stack))["capped"]
            highest = max(highest, item.spent_nanos + item.reserved_nanos)

    watching = asyncio.create_task(watch())
    # What is set aside is more than what a call costs, so there is room again when the calls are booked.
    turns, spent = 4, 0
    while spent <= CAP_NANOS - CALL_NANOS:
        await asyncio.gather(*(call(turns) for _ in range(CALLERS)))
        end = await settled(stack, "capped", statuses[200])
        turns, spent = 1, end.spent_nanos
    done.set()
    await watching

    assert set(statuses) == {200, 429}
    assert (errors[0]["code"], errors[0]["type"]) == ("budget_exhausted", "rate_limit_error")
    for words in ("budget 'capped'", "of $0.002 left for this month", "begins anew at 20", "-01 00:00 UTC"):
        assert words in errors[0]["message"]
    assert end.limit_nanos == CAP_NANOS
    assert end.spent_nanos == await booked_nanos(stack, "capped")
    assert CAP_NANOS - CALL_NANOS < end.spent_nanos <= CAP_NANOS
    assert CAP_NANOS - CALL_NANOS < highest <= CAP_NANOS
    [[legs]] = await stack.query("SELECT uniqExact(leg_id) FROM homeward.legs WHERE workload = 'capped'")
    assert legs == statuses[200]


async def test_a_budget_that_alerts_lets_go_and_shows_that_it_is_passed(stack: Stack) -> None:
    for _ in range(3):
        assert (await ask(stack, "watched"))[0] == 200
    item = await settled(stack, "watched", 3)
    assert item.spent_nanos == await booked_nanos(stack, "watched") > item.limit_nanos
    shown = await asyncio.to_thread(show, stack, "--json")
    [row] = [row for row in json.loads(shown)["budgets"] if row["name"] == "watched"]
    assert (row["at_cap"], row["level"]) == ("alert", "over")
    assert row["left_nanos"] == item.limit_nanos - item.spent_nanos < 0
    table = await asyncio.to_thread(show, stack)
    assert "watched is passed" in " ".join(table.split())
    assert "Next: " in table


def show(stack: Stack, *arguments: str) -> str:
    """What `homeward ledger budgets` prints."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [*arguments, "--settings", str(stack.settings_file)])
    assert done.exit_code == 0, (done.stdout, done.stderr, done.exception)
    return done.stdout


async def test_a_budget_may_leave_only_the_sovereign_target(stack: Stack) -> None:
    status, body, target = await ask(stack, "homing", model="both")
    assert (status, target) == (200, "sovereign"), body
    # This model has no server at home.
    status, body, _ = await ask(stack, "homing")
    assert (status, body["error"]["code"]) == (429, "budget_exhausted")
    assert "budget 'homing' ($0.0000001 a month) leaves only the sovereign" in body["error"]["message"]
    assert (await standing(stack))["homing"].reserved_nanos == 0


async def test_what_home_answers_stands_if_the_budget_keeps_the_request_from_the_cloud(stack: Stack) -> None:
    await bring_home(stack, "returned")
    newest = re.findall(r"policy (\d+) is in force", stack.log("router"))[-1]
    await becomes(
        lambda: all(f"policy {newest} is in force" in stack.log(name) for name in LOGS), "all routers know"
    )
    status, body, target = await ask(stack, "returned", model="both", fault="status=503")
    assert (status, target) == (503, "sovereign"), body
    assert (await ask(stack, "returned", model="both"))[::2] == (200, "sovereign")

    # Two answers can't be said to the second route, and the third is forbidden: what home said stands, and it
    # is not asked again.
    before = await asked(stack)
    status, body, target = await ask(stack, "returned", model="three", n=2, fault="status=403")
    assert (status, target) == (403, "sovereign"), body
    assert await asked(stack) == before + 1


async def asked(stack: Stack) -> int:
    """Requests that have reached the stand-in, which is both targets here."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/stats") as response:
        return int((await response.json())["requests"])


async def test_a_model_of_unknown_price_is_refused_with_what_to_do(stack: Stack) -> None:
    status, body, _ = await ask(stack, "away", model="stand-in-large")
    assert (status, body["error"]["code"]) == (429, "budget_exhausted")
    for words in ("budget 'away'", "'stand-in-large'", "'homeward-stand-in'", "[[prices]]"):
        assert words in body["error"]["message"]


async def test_a_budget_of_a_key_binds_that_key(stack: Stack) -> None:
    status, body, _ = await ask(stack, "", key="hw-thrifty")
    assert (status, body["error"]["code"]) == (429, "budget_exhausted")
    assert "budget 'thrifty'" in body["error"]["message"]
    assert "for this day" in body["error"]["message"]
    assert (await ask(stack, ""))[0] == 200


async def test_a_leg_of_an_experiment_is_refused_rather_than_sent_elsewhere(stack: Stack) -> None:
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hello")])
    request = router_pb2.CompleteRequest(
        chat=chat_pb2.Chat(model="both", messages=[message]),
        routing=router_pb2.Routing(purpose=leg_pb2.PURPOSE_NOISE, target=leg_pb2.TARGET_CLOUD),
    )
    metadata = (("authorization", "Bearer hw-laboratory"),)
    async with aio.insecure_channel(stack.grpc) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Complete(request, metadata=metadata, timeout=WAIT_S)
        assert "budget 'experiments'" in (caught.value.details() or "")
        # Shadow legs have no budget.
        request.routing.purpose = leg_pb2.PURPOSE_SHADOW
        await stub.Complete(request, metadata=metadata, timeout=WAIT_S)


async def test_a_ledger_that_is_away_means_a_bounded_allowance_and_one_that_is_back_goes_on(
    stack: Stack,
) -> None:
    await stack.kill("ledger")
    answers = await asyncio.gather(*(ask(stack, "away") for _ in range(CALLERS)))
    statuses = Counter(status for status, _, _ in answers)
    assert statuses == {200: OFFLINE, 429: CALLERS - OFFLINE}
    message = next(body["error"]["message"] for status, body, _ in answers if status == 429)
    assert "no ledger answers, and budget 'away' ($100 a month) has used up the 2 calls" in message
    # What no budget covers goes on as ever.
    assert (await ask(stack, "summaries"))[0] == 200

    await stack.start("ledger")
    served = OFFLINE

    async def all_are_served() -> bool:
        nonlocal served
        answers = await asyncio.gather(*(ask(stack, "away") for _ in range(CALLERS)))
        statuses = Counter(status for status, _, _ in answers)
        served += statuses[200]
        return statuses == {200: CALLERS}

    await until(all_are_served, "all routers ask the ledger again")
    # What went without the ledger counts too.
    item = await settled(stack, "away", served)
    assert item.spent_nanos == await booked_nanos(stack, "away") > 0


async def test_what_cannot_be_said_to_an_upstream_sets_nothing_aside(stack: Stack) -> None:
    """Anthropic's API has no `seed`: the chat is refused before a leg begins."""
    status, body, _ = await ask(stack, "unsayable", model="claude-sonnet-4-5", seed=7)
    assert (status, body["error"]["code"]) == (400, "feature_not_supported")
    budget = (await standing(stack))["unsayable"]
    assert (budget.spent_nanos, budget.reserved_nanos) == (0, 0)
