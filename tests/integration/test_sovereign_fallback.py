"""What a model at home can't do goes to the cloud where the workload's policy allows it, else is refused.

Each workload here runs at home. What an answer says plays no part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support.replicas import Asked, bring_home
from tests.support.stack import HOME, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# `movable` may go to the cloud, `secret` must stay.
SETTINGS = """
[upstreams.strict]
target = "sovereign"
protocol = "triton"
models = ["small-llama"]

[triton.strict]
replicas = ["127.0.0.1:{triton}"]
model_dir = "models/small-llama"
versions = {{ small-llama = "1" }}
context_overflow = "error"
hold_s = 0

[upstreams.vllm]
target = "sovereign"
base_url = "http://127.0.0.1:{cloud}/v1"
api_key = "sk-upstream-secret"
provider = "homeward-home"
models = ["some-open-model"]

[models.assistant]
routes = [{{ upstream = "home", model = "small-llama" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[models.strict-assistant]
routes = [{{ upstream = "strict", model = "small-llama" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[models.open-assistant]
routes = [{{ upstream = "vllm", model = "stand-in-mini" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[data_classes.secret]
targets = ["sovereign"]

[workloads.movable]
owner = "care"
# What fails at home here is meant to.
cutover = {{ breaker_requests = 1000000 }}

[workloads.secret]
owner = "legal"
data_class = "secret"
"""

TOO_LONG: dict[str, Any] = {"messages": [{"role": "user", "content": "hello " * 3000}]}
# Nothing that a language model would say of itself, so the sampled answer breaks it.
UNKNOWN_SCHEMA: dict[str, Any] = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "unheard_of",
            "schema": {
                "type": "object",
                "properties": {"zyx": {"type": "integer", "minimum": 41, "maximum": 43}},
                "required": ["zyx"],
                "additionalProperties": False,
            },
        },
    },
    "temperature": 2,
    "seed": 3,
}
HOPELESS: Mapping[str, tuple[dict[str, Any], str, int]] = {
    "a prompt that is too long": (TOO_LONG, "context_length_exceeded", 400),
    "an answer that is too long": ({"max_tokens": 100_000}, "context_length_exceeded", 400),
    "logprobs": ({"logprobs": True}, "feature_not_supported", 400),
    "several answers": ({"n": 2}, "feature_not_supported", 400),
}
"""What no sovereign answer can be had for: the request, and the error's code and status."""


@dataclass(frozen=True, slots=True)
class Application:
    """Sends requests, each with a trace of its own."""

    stack: Stack
    session: aiohttp.ClientSession

    async def ask(self, workload: str, model: str = "assistant", **fields: Any) -> Asked:
        """A request of a workload, answered; a stream too is read to its end."""
        body = {"model": model, "messages": [{"role": "user", "content": "Where is my card?"}], **fields}
        return await Asked(self.stack, self.session, body, "chat/completions").workload(workload).whole()

    async def legs(self, answered: Asked, count: int) -> list[tuple[str, str, str]]:
        """Target, outcome and reason of each leg of a request, and no more of them."""
        return [(row["target"], row["outcome"], row["error_reason"]) for row in await answered.legs(count)]


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    environment = {
        "HOMEWARD_KEYS__DEMO__WORKLOADS": '["*", "secret"]',
        # However slow the machine is.
        "HOMEWARD_TRITON__HOME__HOLD_S": "600",
    }
    stack = Stack(tmp_path_factory.mktemp("fallback"), HOME, **environment)
    with stack.settings_file.open("a") as file:
        file.write(SETTINGS.format(**stack.ports))
    async with stack, aiohttp.ClientSession() as session:
        await stack.start()
        # `secret` is at home without any decision.
        await bring_home(stack, "movable")
        yield Application(stack, session)


@pytest.mark.parametrize("workload", ["movable", "secret"])
async def test_a_request_that_the_model_can_serve_stays_at_home(app: Application, workload: str) -> None:
    answered = await app.ask(workload, max_tokens=8)
    assert (answered.status, answered.target) == (200, "sovereign")
    assert await app.legs(answered, 1) == [("sovereign", "ok", "")]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("what", HOPELESS)
async def test_what_the_model_can_not_serve_goes_to_the_cloud(
    app: Application, what: str, streamed: bool
) -> None:
    fields, code, _ = HOPELESS[what]
    answered = await app.ask("movable", stream=streamed, **fields)
    sovereign, cloud = await app.legs(answered, 2)
    assert sovereign == ("sovereign", "rejected", code.upper())
    # Whether the cloud can serve it is the cloud's own affair; the stand-in has limits too.
    assert cloud[0] == answered.target == "cloud"
    assert (cloud[1] == "ok") == (answered.status == 200)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("what", HOPELESS)
async def test_what_must_stay_is_refused_and_never_sent_to_the_cloud(
    app: Application, what: str, streamed: bool
) -> None:
    fields, code, status = HOPELESS[what]
    answered = await app.ask("secret", stream=streamed, **fields)
    assert (answered.status, answered.code) == (status, code)
    assert await app.legs(answered, 1) == [("sovereign", "rejected", code.upper())]


async def test_by_setting_a_request_that_is_too_long_is_an_error(app: Application) -> None:
    answered = await app.ask("movable", "strict-assistant", **TOO_LONG)
    assert (answered.status, answered.code) == (400, "context_length_exceeded")
    assert await app.legs(answered, 1) == [("sovereign", "rejected", "CONTEXT_LENGTH_EXCEEDED")]
    # The setting is about length: another refusal moves.
    moved = await app.ask("movable", "strict-assistant", n=2)
    assert moved.target == "cloud"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_that_breaks_its_schema_is_made_again_by_the_cloud(
    app: Application, streamed: bool
) -> None:
    answered = await app.ask("movable", stream=streamed, **UNKNOWN_SCHEMA)
    assert (answered.status, answered.target, answered.outcome) == (200, "cloud", "ok")
    assert 41 <= orjson.loads(answered.content)["zyx"] <= 43
    assert await app.legs(answered, 2) == [("sovereign", "broken", "ANSWER_INVALID"), ("cloud", "ok", "")]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_that_breaks_its_schema_and_must_stay_is_an_error(
    app: Application, streamed: bool
) -> None:
    answered = await app.ask("secret", stream=streamed, **UNKNOWN_SCHEMA)
    assert (answered.status, answered.code) == (502, "answer_invalid")
    assert await app.legs(answered, 1) == [("sovereign", "broken", "ANSWER_INVALID")]
    (leg,) = await answered.legs(1)
    assert leg["usage_source"] == "upstream"
    assert leg["output_tokens"] > 0


async def test_a_stream_that_was_not_held_back_ends_in_an_error(app: Application) -> None:
    answered = await app.ask("movable", "strict-assistant", stream=True, **UNKNOWN_SCHEMA)
    assert (answered.status, answered.target) == (200, "sovereign")
    assert (answered.outcome, answered.code) == ("broken", "answer_invalid")
    assert await app.legs(answered, 1) == [("sovereign", "broken", "ANSWER_INVALID")]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_server_that_speaks_openais_protocol_is_a_target_by_settings_alone(
    app: Application, streamed: bool
) -> None:
    answered = await app.ask("secret", "open-assistant", stream=streamed, logprobs=True)
    assert (answered.status, answered.target) == (200, "sovereign")
    assert answered.answer_headers["x-homeward-upstream"] == "vllm"
    assert await app.legs(answered, 1) == [("sovereign", "ok", "")]
    by_name = await app.ask("secret", "some-open-model")
    assert by_name.target == "sovereign", "a model that is only at home is asked for there"


async def test_a_law_that_knows_no_cloud_holds_for_models_that_are_only_there(app: Application) -> None:
    answered = await app.ask("secret", "gpt-4o-mini")
    assert (answered.status, answered.code) == (403, "target_not_allowed")
