"""The embedded sovereign server, as the router sees it: NVIDIA's own tritonserver with the shipped Llama."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc.aio as triton

from deploy.triton.contract.compare import MODEL_NAME, differences
from deploy.triton.cpu.process import answers
from tests.support.stack import until
from tests.support.triton import Sink, TritonServer, ask, reload, stream

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ROUTER_SPAN = "b7ad6b7169203331"
PROMPT = "The quick brown fox asks for help with a card that was charged twice."
# Hot enough that a model of any training says something long and different each time.
WILD: dict[str, Any] = {
    "text_input": PROMPT,
    "temperature": 3.0,
    "seed": 11,
    "max_tokens": 40,
    "exclude_input_from_output": True,
    "return_finish_reason": True,
    "return_stop_reason": True,
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    running = Sink()
    yield running
    running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[TritonServer]:
    with TritonServer(tmp_path_factory.mktemp("triton"), trace_url=sink.url) as running:
        yield running


@pytest.fixture
async def client(server: TritonServer) -> AsyncIterator[Any]:
    async with triton.InferenceServerClient(server.grpc) as connected:
        yield connected


@asynccontextmanager
async def changed(client: Any, **parameters: str) -> AsyncIterator[None]:
    """The server with other parameters, for a while."""
    config = (await client.get_model_config(MODEL_NAME, as_json=True))["config"]
    for name, value in parameters.items():
        config["parameters"][name] = {"string_value": value}
    await client.load_model(MODEL_NAME, config=json.dumps(config))
    try:
        yield
    finally:
        await reload(client)


async def text(client: Any, version: int = 1, **values: Any) -> str:
    responses = await ask(client, version, **values)
    assert responses[-1].error is None
    return responses[-1].text


async def test_the_running_servers_configuration_is_the_contract(client: Any) -> None:
    assert differences((await client.get_model_config(MODEL_NAME)).config) == []


async def test_both_versions_are_served_each_by_its_own_process(client: Any, server: TritonServer) -> None:
    assert server.stubs().keys() == {1, 2}
    for version in ("1", "2"):
        before = server.metric("homeward_generate_requests_total", version=version, outcome="ok")
        await text(client, int(version), text_input=PROMPT)
        after = server.metric("homeward_generate_requests_total", version=version, outcome="ok")
        assert after - before == 1


async def test_streamed_text_is_cumulative_and_final_rides_on_the_last_chunk(client: Any) -> None:
    whole = await ask(client, **WILD)
    assert len(whole) == 1
    responses = await ask(client, streaming=True, **WILD)
    assert len(responses) > 10
    for earlier, later in pairwise(responses):
        assert later.text.startswith(earlier.text)
    assert [response.final for response in responses] == [False] * (len(responses) - 1) + [True]
    assert {response.outputs["finish_reason"] for response in responses[:-1]} == {"None"}
    assert responses[-1] == whole[0]
    assert responses[-1].outputs["finish_reason"] in ("stop", "length")


async def test_only_what_was_asked_for_is_answered(client: Any) -> None:
    wishes = {
        "return_finish_reason": {"finish_reason"},
        "return_stop_reason": {"stop_reason"},
        "return_cumulative_logprob": {"cumulative_logprob"},
        "return_perf_metrics": {
            *("kv_cache_reused_block", "kv_cache_missed_block", "kv_cache_hit_rate"),
            *("kv_cache_alloc_new_blocks", "kv_cache_alloc_total_blocks"),
            *("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns"),
            *("acceptance_rate", "total_accepted_draft_tokens", "total_draft_tokens"),
        },
    }
    plain = {"text_input": PROMPT, "max_tokens": 2}
    assert (await ask(client, **plain))[-1].outputs.keys() == {"text_output"}
    for wish, outputs in wishes.items():
        response = (await ask(client, **plain, **{wish: True}))[-1]
        assert response.outputs.keys() == {"text_output", *outputs}


async def test_each_way_of_sampling_is_honoured(client: Any) -> None:
    greedy = await text(client, text_input=PROMPT, exclude_input_from_output=True)
    base = {**WILD, "max_tokens": 32}
    for likeliest in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}):
        assert await text(client, **{**base, **likeliest}) == greedy
    wild = await text(client, **base)
    assert await text(client, **base) == wild, "the same seed says the same"
    assert await text(client, **{**base, "seed": 12}) != wild
    for changes in ({"temperature": 0.9}, {"top_k": 4}, {"top_p": 0.4}, {"presence_penalty": 50.0}):
        assert await text(client, **{**base, **changes}) != wild
    assert await text(client, **base, frequency_penalty=9.0) != wild


async def test_the_prompt_goes_before_the_text_unless_it_is_excluded(client: Any) -> None:
    after = await text(client, **WILD)
    assert await text(client, **{**WILD, "exclude_input_from_output": False}) == PROMPT + after


@pytest.mark.parametrize(("given", "tokens"), [({"max_tokens": 5}, 5), ({}, 32)])
async def test_max_tokens_ends_the_answer(
    client: Any, server: TritonServer, given: dict[str, Any], tokens: int
) -> None:
    request = {name: value for name, value in WILD.items() if name != "max_tokens"} | given
    # Some seed does not happen to end its answer earlier.
    for seed in range(20):
        before = server.metric("homeward_generate_tokens_total", kind="output")
        response = (await ask(client, **{**request, "seed": seed}))[-1]
        made = server.metric("homeward_generate_tokens_total", kind="output") - before
        if response.outputs["finish_reason"] == "length":
            assert made == tokens
            return
        assert made <= tokens
    pytest.fail("every seed ended early")


async def test_a_stop_word_cuts_the_text_wherever_its_letters_fall(client: Any) -> None:
    whole = await text(client, **WILD)
    for at in range(4, 24, 3):
        word = whole[at : at + 4]
        expected = whole[: whole.index(word)]
        responses = await ask(client, streaming=True, sampling_param_stop=["\0never", word], **WILD)
        last = responses[-1]
        assert (last.text, last.outputs["finish_reason"], last.outputs["stop_reason"]) == (
            expected,
            "stop",
            word,
        )
        assert all(expected.startswith(response.text) for response in responses)


REFUSED = [
    ({"max_tokens": 3}, "text_input: missing"),
    ({"text_input": ["one", "two"]}, "text_input: expected 1 prompt, got 2"),
    ({"text_input": "word " * 5000}, "text_input: .* tokens, but the model's context is"),
    ({"text_input": "a", "max_tokens": 0}, "sampling_param_max_tokens: expected 1 or more"),
    ({"text_input": "a", "temperature": -1.0}, "sampling_param_temperature: expected"),
    ({"text_input": "a", "best_of": 2}, "sampling_param_best_of"),
    ({"text_input": "a", "image_url": "http://x/y.png"}, "image_url: not supported"),
    ({"text_input": "a", "lora_name": "mine"}, "lora_name: not supported"),
    ({"stop": True}, "stop: the request needs the id"),
]


@pytest.mark.parametrize(("values", "words"), REFUSED)
async def test_a_wrong_request_is_an_invalid_argument(
    client: Any, values: dict[str, Any], words: str
) -> None:
    (response,) = await ask(client, **values)
    assert (response.final, response.outputs) == (True, {})
    assert re.match(f"INVALID_ARG: {words}", response.error or "")


async def test_answers_beside_each_other_are_those_that_each_gets_alone(client: Any) -> None:
    requests = [{**WILD, "text_input": f"{PROMPT} {n}", "seed": n} for n in range(20)]
    alone = [await text(client, **request) for request in requests]
    assert len(set(alone)) == len(alone)
    assert await asyncio.gather(*(text(client, **request) for request in requests)) == alone


async def test_a_prompt_that_was_read_before_is_read_only_from_where_it_differs(client: Any) -> None:
    common = "The same long instruction stands before every question of this workload. " * 8
    questions = [
        {**WILD, "text_input": common + word, "return_perf_metrics": True} for word in ("one", "two")
    ]
    first = (await ask(client, **questions[0]))[-1]
    again = (await ask(client, **questions[0]))[-1]
    other = (await ask(client, **questions[1]))[-1]
    assert again.text == first.text != other.text
    for response in (again, other):
        reused = response.outputs["kv_cache_reused_block"]
        missed = response.outputs["kv_cache_missed_block"]
        assert reused >= 2
        assert missed <= 1
        assert response.outputs["kv_cache_hit_rate"] == pytest.approx(reused / (reused + missed))


async def test_times_in_the_answer_are_in_order(client: Any) -> None:
    outputs = (await ask(client, **WILD, return_perf_metrics=True))[-1].outputs
    names = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
    times = [int(outputs[name]) for name in names]
    assert times == sorted(times)
    assert times[0] < times[3]


async def test_a_cancelled_stream_makes_at_most_one_more_token(client: Any, server: TritonServer) -> None:
    async with changed(client, token_delay_ms="40"):
        long = {**WILD, "max_tokens": 1000}
        cancels, tokens = "homeward_generate_requests_total", "homeward_generate_tokens_total"
        cancelled = server.metric(cancels, outcome="cancelled")
        made = -server.metric(tokens, kind="output")
        texts = []
        async with aclosing(stream(client, streaming=True, **long)) as responses:
            async for response in responses:
                texts.append(response.text)
                if len(texts) == 4:
                    break
        await until(lambda: _is(server, cancels, cancelled + 1, outcome="cancelled"), "the cancel is counted")
        made += server.metric(tokens, kind="output")
        shown = 4
        # A token that completes no character shows nothing.
        while await text(client, **{**WILD, "max_tokens": shown}) != texts[-1]:
            shown += 1
        assert shown <= made <= shown + 1


async def _is(server: TritonServer, metric: str, value: float, **labels: str) -> bool:
    return server.metric(metric, **labels) == value


async def test_a_request_is_stopped_by_another_of_its_id(client: Any) -> None:
    async with changed(client, token_delay_ms="40"):
        responses = stream(client, streaming=True, request_id="abc", **{**WILD, "max_tokens": 1000})
        async with aclosing(responses):
            await anext(responses)
            (stopped,) = await ask(client, request_id="abc", stop=True)
            assert stopped.error == "CANCELLED: Request cancelled by client"
            last = [response async for response in responses][-1]
            assert (last.error, last.final) == ("CANCELLED: Request cancelled by client", True)


async def test_requests_wait_in_a_queue_that_has_an_end(client: Any, server: TritonServer) -> None:
    async with changed(client, token_delay_ms="25", requests_in_work="2", requests_queued="1"):
        long = {**WILD, "streaming": True, "max_tokens": 1000}
        first, second, third, fourth = (stream(client, **long) for _ in range(4))
        async with aclosing(first), aclosing(second), aclosing(third), aclosing(fourth):
            # Two are in work side by side.
            for responses in (first, second, first, second):
                assert (await anext(responses)).error is None
            more = [asyncio.ensure_future(anext(responses)) for responses in (third, fourth)]
            done, waiting = await asyncio.wait(more, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().error for task in done] == [
                "UNAVAILABLE: 1 requests wait already; try another replica, or later"
            ]
            await first.aclose()
            assert (await waiting.pop()).error is None, "the room of one that left is taken"


async def test_a_dead_python_process_comes_back_by_unload_and_load(client: Any, server: TritonServer) -> None:
    server.kill(1)
    await until(lambda: _no_answer(server), "the dead process does not answer")
    assert await client.is_model_ready(MODEL_NAME, "1"), "which ModelReady does not know"
    assert answers(server.grpc, 2), "the other version lives"
    await reload(client)
    server.wait_ready(1)
    assert await text(client, **WILD)


async def _no_answer(server: TritonServer) -> bool:
    return not await asyncio.to_thread(answers, server.grpc, 1)


async def test_a_process_that_hangs_answers_when_it_goes_on(client: Any, server: TritonServer) -> None:
    # For a moment only: after a second or two Triton takes it for dead.
    server.kill(1, signal.SIGSTOP)
    waiting = asyncio.ensure_future(text(client, **WILD))
    try:
        assert await text(client, 2, **WILD), "the other version answers meanwhile"
        assert not waiting.done()
    finally:
        server.kill(1, signal.SIGCONT)
    assert await waiting == await text(client, **WILD)


async def test_the_callers_trace_goes_on_to_the_generation(client: Any, sink: Sink) -> None:
    async def complete() -> bool:
        return {"InferRequest", MODEL_NAME, "compute", "generate"} <= {span["name"] for span in sink.spans}

    # On a busy machine Triton loses the spans of a request now and then.
    for last in (False, True):
        sink.spans.clear()
        await text(client, **WILD)
        await text(client, headers={"traceparent": f"00-{TRACE_ID}-{ROUTER_SPAN}-01"}, **WILD)
        try:
            await until(complete, "the spans have come")
        except AssertionError:
            if last:
                raise
        else:
            break
    assert {span["traceId"] for span in sink.spans} == {TRACE_ID}, "a request without a trace starts none"
    spans = {span["name"]: span for span in sink.spans}
    assert spans["InferRequest"]["parentSpanId"] == ROUTER_SPAN
    assert spans[MODEL_NAME]["parentSpanId"] == spans["InferRequest"]["spanId"]
    assert spans["compute"]["parentSpanId"] == spans[MODEL_NAME]["spanId"]
    assert spans["generate"]["parentSpanId"] == spans[MODEL_NAME]["spanId"]
    assert {span["resource"]["service.name"]["stringValue"] for span in sink.spans} == {"triton"}
    said = {pair["key"]: pair["value"] for pair in spans["generate"]["attributes"]}
    assert int(said["gen_ai.usage.output_tokens"]["intValue"]) > 10
    assert int(said["gen_ai.usage.input_tokens"]["intValue"]) > 10
    assert int(said["homeward.ttft_us"]["intValue"]) >= int(said["homeward.queued_us"]["intValue"])
    assert said["homeward.outcome"]["stringValue"] == "ok"


def test_a_killed_server_leaves_no_process_and_no_memory_and_a_stopped_one_ends_well(tmp_path: Path) -> None:
    first = TritonServer(tmp_path)
    first.start()
    stubs = first.stubs()
    assert first.shared_memory()
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    asyncio.run(until(lambda: _all_gone(stubs.values()), "the Python processes have ended"))
    assert first.shared_memory() == []
    second = TritonServer(tmp_path)
    second.start()
    assert second.stop() == 0
    assert second.shared_memory() == []


async def _all_gone(pids: Any) -> bool:
    return not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # One that has ended stays in the table where nothing reaps it.
    return state != "Z"
