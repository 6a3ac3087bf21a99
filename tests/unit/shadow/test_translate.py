"""Protos and plain words, there and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from homeward.common.v1 import chat_pb2, leg_pb2, usage_pb2
from homeward.router.v1 import router_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.words import Target
from services.shadow import translate
from services.shadow.core.answers import answer
from services.shadow.core.experiment import Wanted, registered
from services.shadow.core.funnel import Funnel
from services.shadow.core.verdict import Verdict, Window

WANTED = Wanted(
    workload="ticket-triage",
    scorer="exact_match@1",
    margin=0.05,
    alpha=0.05,
    window_us=1_500_000,
    watermark_us=3_000_001,
    min_windows=14,
    strata=("language", "tools"),
    stratum_values=("de/tools", "en/tools"),
    rate_ppm=100_000,
    reverse_rate_ppm=10_000,
    daily_cost_cap_nanos=10**12,
    cluster_by="tenant",
)
EXPERIMENT = registered(WANTED, None, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=1_234_567)


def text(said: str, role: chat_pb2.Role.ValueType = chat_pb2.ROLE_USER, name: str = "") -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=said)], name=name)


def test_an_experiment_comes_back_as_it_was_without_its_salt() -> None:
    message = translate.experiment_to_proto(EXPERIMENT)
    assert translate.wanted_from_proto(message) == WANTED
    assert translate.unix_us(message.start_time) == EXPERIMENT.start_unix_us
    assert b"ssss" not in message.SerializeToString()


def test_what_is_not_said_of_clusters_is_the_conversation() -> None:
    assert translate.wanted_from_proto(shadow_pb2.Experiment()).cluster_by == "conversation"


def test_evidence() -> None:
    window = Window(1, 7_000_001, 5, 1.5, -0.5, 0.5, "ab" * 32, Verdict.READY)
    message = translate.evidence_to_proto([replace(window, verdict=Verdict.COLLECTING), window])
    assert message.verdict == shadow_pb2.VERDICT_READY
    assert [item.verdict for item in message.windows] == [
        shadow_pb2.VERDICT_COLLECTING,
        shadow_pb2.VERDICT_READY,
    ]
    assert translate.unix_us(message.windows[0].start_time) == 7_000_001
    assert message.windows[0].histogram_sha256 == bytes.fromhex("ab" * 32)
    assert translate.evidence_to_proto([]).verdict == shadow_pb2.VERDICT_COLLECTING


def test_a_funnel() -> None:
    message = translate.funnel_to_proto(Funnel(9, 5, 4, 3, 2, {("lost", "cap"): 1}))
    assert (message.eligible_count, message.scored_count) == (9, 2)
    assert [(loss.step, loss.reason, loss.count) for loss in message.losses] == [("lost", "cap", 1)]


def test_answers() -> None:
    said = shadow_pb2.SubmitSampleRequest(answer=text("bug"))
    refused = shadow_pb2.SubmitSampleRequest(answer=text("I can't.", name="refusal"))
    calls = chat_pb2.Message(
        tool_calls=[
            chat_pb2.ToolCall(id=str(number), name="look_up", arguments_json="{}") for number in (1, 2)
        ]
    )
    assert translate.given_answer(said) == answer("bug")
    assert translate.given_answer(refused) == answer("", refusal="I can't.")
    leg = router_pb2.Choice(message=calls, finish_reason=chat_pb2.FINISH_REASON_TOOL_CALLS)
    assert translate.choice_answer(leg) == translate.given_answer(
        shadow_pb2.SubmitSampleRequest(answer=calls)
    )
    assert len(translate.choice_answer(leg).tool_calls) == 2


def test_a_conversation_is_told_by_who_says_what() -> None:
    call = chat_pb2.ToolCall(name="look_up", arguments_json='{"a":1}')
    chat = chat_pb2.Chat(
        messages=[
            text("Be kind.", chat_pb2.ROLE_SYSTEM),
            text("What is this?"),
            chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=[call]),
            text("A cat.", chat_pb2.Role.ValueType(77)),  # of a later version
        ]
    )
    chat.messages[1].content.add(image_url="https://example.org/cat.png")
    assert translate.conversation(chat) == (
        "system: Be kind.\n\nuser: What is this?\n[a picture]\n\n"
        'assistant: call look_up: {"a":1}\n\n?: A cat.'
    )


def test_a_schema_keeps_its_whole_numbers() -> None:
    schema = {"type": "array", "maxItems": 5, "items": {"type": "number", "minimum": 0.5}}
    chat = chat_pb2.Chat()
    assert translate.schema_of(chat) is None
    json_format.ParseDict(schema, chat.response_format.json_schema.schema)
    found = translate.schema_of(chat)
    assert found == schema
    assert isinstance(found["maxItems"], int)


@pytest.mark.parametrize(("text", "first"), [('{"zeta":1,"alpha":2}', "zeta"), ("[]", "x"), ("{", "x")])
def test_a_schema_is_read_from_its_text_where_that_is_one(text: str, first: str) -> None:
    chat = chat_pb2.Chat()
    chat.response_format.json_schema.schema_json = text
    json_format.ParseDict({"x": True}, chat.response_format.json_schema.schema)
    assert next(iter(translate.schema_of(chat) or {})) == first


def test_what_is_read_of_a_request() -> None:
    request = shadow_pb2.SubmitSampleRequest(
        chat=chat_pb2.Chat(
            messages=[text("Be brief.", chat_pb2.ROLE_SYSTEM), text("first"), text("last"), text(" ")],
            tools=[chat_pb2.Tool(name="look_up")],
            sampling=chat_pb2.SamplingParameters(stop=["END"]),
        ),
        streamed=True,
    )
    assert translate.user_text(request.chat) == "last"
    assert translate.features_of(request) == ("tools", "stop", "streaming")
    assert translate.stratum_of(request, EXPERIMENT, "de") == "de/tools"
    assert translate.stratum_of(request, EXPERIMENT, "") == "other"
    assert translate.target_of(request) is Target.CLOUD
    request.target = leg_pb2.TARGET_SOVEREIGN
    assert translate.target_of(request) is Target.SOVEREIGN


def test_requests_are_one_vote_within_an_epoch_and_strangers_in_another() -> None:
    by_conversation = replace(EXPERIMENT, cluster_by="conversation")
    again = replace(EXPERIMENT, epoch=2, salt=b"t" * 16)
    # Two tenants ask the same.
    one, other = (
        shadow_pb2.SubmitSampleRequest(cluster=b"\x01" * 16, tenant=tenant * 16)
        for tenant in (b"\x02", b"\x03")
    )
    cluster_of = translate.cluster_of
    assert cluster_of(one, by_conversation) == cluster_of(other, by_conversation)
    assert cluster_of(one, EXPERIMENT) != cluster_of(other, EXPERIMENT)
    assert cluster_of(one, EXPERIMENT) != cluster_of(one, again)
    # What the router sent, anybody could make of the texts: it is in no book.
    for experiment in (EXPERIMENT, by_conversation, again):
        found = cluster_of(one, experiment)
        assert len(bytes.fromhex(found)) == 16
        assert found not in ("01" * 16, "02" * 16)
        assert cluster_of(shadow_pb2.SubmitSampleRequest(), experiment) == ""


@pytest.mark.parametrize(
    ("traceparent", "trace_id"), [(f"00-{'ab' * 16}-{'cd' * 8}-01", "ab" * 16), ("", ""), ("nonsense", "")]
)
def test_the_trace(traceparent: str, trace_id: str) -> None:
    assert translate.trace_id_of(traceparent) == trace_id


def delta(choice_index: int = 0, **fields: Any) -> router_pb2.CompleteStreamResponse:
    return router_pb2.CompleteStreamResponse(delta=router_pb2.Delta(choice_index=choice_index, **fields))


def test_a_stream_adds_up_to_its_first_answer() -> None:
    first = router_pb2.ToolCallDelta(index=0, id="call_1", name="look", arguments_json='{"q"')
    second = router_pb2.ToolCallDelta(index=1, id="call_2", name="find")
    found = translate.joined(
        [
            router_pb2.CompleteStreamResponse(route=router_pb2.Route(target=leg_pb2.TARGET_CLOUD)),
            delta(text="A "),
            delta(text="cat.", tool_calls=[first]),
            delta(1, text="A dog."),
            delta(tool_calls=[second, router_pb2.ToolCallDelta(index=0, arguments_json=":1}")]),
            router_pb2.CompleteStreamResponse(
                end=router_pb2.End(
                    usage=usage_pb2.Usage(input_tokens=7), route=router_pb2.Route(leg_id=b"l" * 16, model="m")
                )
            ),
        ]
    )
    (choice,) = found.choices
    assert [part.text for part in choice.message.content] == ["A cat."]
    assert [(item.id, item.name, item.arguments_json) for item in choice.message.tool_calls] == [
        ("call_1", "look", '{"q":1}'),
        ("call_2", "find", ""),
    ]
    assert (found.route.leg_id, found.route.model, found.usage.input_tokens) == (b"l" * 16, "m", 7)


def test_a_streamed_refusal_is_one() -> None:
    found = translate.joined([delta(refusal="I can't "), delta(refusal="say.")])
    assert (found.choices[0].refusal, list(found.choices[0].message.content)) == ("I can't say.", [])


def test_a_stream_without_an_answer_has_none() -> None:
    assert not translate.joined([router_pb2.CompleteStreamResponse(end=router_pb2.End())]).choices
