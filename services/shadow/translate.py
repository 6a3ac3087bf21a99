"""The protos of shadow and of chats, and the plain words of the core: there and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common import deltas
from services.common.words import Target
from services.shadow.core.answers import answer
from services.shadow.core.experiment import CONVERSATION, TENANT, Experiment, Wanted
from services.shadow.core.features import features
from services.shadow.core.funnel import Funnel
from services.shadow.core.gate import Capability
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.strata import stratum
from services.shadow.core.verdict import Verdict, Window

SECOND_US = 10**6
REFUSAL = "refusal"
"""The `name` under which a sample's answer carries what the model said instead of one."""
_VERDICTS = {
    Verdict.COLLECTING: shadow_pb2.VERDICT_COLLECTING,
    Verdict.READY: shadow_pb2.VERDICT_READY,
    Verdict.REJECTED: shadow_pb2.VERDICT_REJECTED,
}
_SPEAKERS = {number: name.removeprefix("ROLE_").lower() for name, number in chat_pb2.Role.items()}
_TRACEPARENT_PARTS = 4
_CLUSTER_BYTES = 16


def unix_us(time: Timestamp | Duration) -> int:
    """Microseconds, of a time since 1970 or of a length of time."""
    return time.seconds * SECOND_US + time.nanos // 1_000


def timestamp(unix_us: int) -> Timestamp:
    """A time from microseconds since 1970."""
    seconds, micros = divmod(unix_us, SECOND_US)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def wanted_from_proto(experiment: shadow_pb2.Experiment) -> Wanted:
    """What is asked for; what the service sets is left out. `registered` checks it."""
    return Wanted(
        workload=experiment.workload,
        scorer=experiment.scorer,
        margin=experiment.margin,
        alpha=experiment.alpha,
        window_us=unix_us(experiment.window),
        watermark_us=unix_us(experiment.watermark),
        min_windows=experiment.min_windows,
        strata=tuple(experiment.strata),
        stratum_values=tuple(experiment.stratum_values),
        rate_ppm=experiment.rate_ppm,
        reverse_rate_ppm=experiment.reverse_rate_ppm,
        daily_cost_cap_nanos=experiment.daily_cost_cap_nanos,
        cluster_by=experiment.cluster_by or CONVERSATION,
    )


def experiment_to_proto(experiment: Experiment) -> shadow_pb2.Experiment:
    """An epoch of an experiment. The salt stays here: who knows it can choose what is sampled."""
    return shadow_pb2.Experiment(
        experiment_id=experiment.experiment_id,
        workload=experiment.workload,
        scorer=experiment.scorer,
        margin=experiment.margin,
        alpha=experiment.alpha,
        window=_duration(experiment.window_us),
        watermark=_duration(experiment.watermark_us),
        min_windows=experiment.min_windows,
        strata=experiment.strata,
        stratum_values=experiment.stratum_values,
        rate_ppm=experiment.rate_ppm,
        reverse_rate_ppm=experiment.reverse_rate_ppm,
        daily_cost_cap_nanos=experiment.daily_cost_cap_nanos,
        cluster_by=experiment.cluster_by,
        epoch=experiment.epoch,
        register_time=timestamp(experiment.register_unix_us),
        start_time=timestamp(experiment.start_unix_us),
    )


def evidence_to_proto(windows: Sequence[Window]) -> shadow_pb2.Evidence:
    """The closed windows of an epoch, oldest first."""
    return shadow_pb2.Evidence(
        verdict=_VERDICTS[windows[-1].verdict if windows else Verdict.COLLECTING],
        windows=[
            shadow_pb2.WindowEvidence(
                start_time=timestamp(item.start_unix_us),
                vote_count=item.n,
                histogram_sha256=bytes.fromhex(item.histogram_sha256),
                log_k=item.log_k,
                lower_bound=item.lower_bound,
                upper_bound=item.upper_bound,
                verdict=_VERDICTS[item.verdict],
            )
            for item in windows
        ],
    )


def funnel_to_proto(funnel: Funnel) -> shadow_pb2.Funnel:
    """A funnel, its losses by step and reason."""
    return shadow_pb2.Funnel(
        eligible_count=funnel.eligible,
        sampled_count=funnel.sampled,
        sent_count=funnel.sent,
        answered_count=funnel.answered,
        scored_count=funnel.scored,
        losses=[
            shadow_pb2.Loss(step=step, reason=reason, count=count)
            for (step, reason), count in sorted(funnel.losses.items())
        ],
    )


def target_of(request: shadow_pb2.SubmitSampleRequest) -> Target:
    """Where the application's answer came from; the cloud, if the router did not say."""
    return Target(request.target) if request.target else Target.CLOUD


def given_answer(request: shadow_pb2.SubmitSampleRequest) -> Answer:
    """What the application got."""
    message, text = request.answer, _text(request.answer)
    if message.name == REFUSAL:
        return answer("", _calls(message), text)
    return answer(text, _calls(message))


def choice_answer(choice: router_pb2.Choice) -> Answer:
    """What a leg of the router's gives."""
    # How it ended is not known of what the application got, so it must not tell these two apart.
    return answer(_text(choice.message), _calls(choice.message), choice.refusal)


def joined(events: Sequence[router_pb2.CompleteStreamResponse]) -> router_pb2.CompleteResponse:
    """What a stream adds up to: its first answer, or none if it has none."""
    whole = router_pb2.CompleteResponse()
    for event in events:
        if event.HasField("end"):
            whole.route.CopyFrom(event.end.route)
            whole.usage.CopyFrom(event.end.usage)
    choice = deltas.joined(event.delta for event in events if event.HasField("delta"))
    if choice is not None:
        whole.choices.append(choice)
    return whole


def schema_of(chat: chat_pb2.Chat) -> dict[str, Any] | None:
    """The JSON schema that the answer must meet; None if there is none."""
    if chat.response_format.WhichOneof("format") != "json_schema":
        return None
    named = chat.response_format.json_schema
    try:
        found = orjson.loads(named.schema_json)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        return found
    document = json_format.MessageToDict(named.schema)
    return {key: _whole(value) for key, value in document.items()}


def features_of(request: shadow_pb2.SubmitSampleRequest) -> tuple[str, ...]:
    """What the request uses of its model."""
    chat = request.chat
    return features(
        tools=len(chat.tools),
        response_format=chat.response_format.WhichOneof("format") or "",
        stop=len(chat.sampling.stop),
        streamed=request.streamed,
    )


def user_text(chat: chat_pb2.Chat) -> str:
    """What the user says, last."""
    turns = (message for message in reversed(chat.messages) if message.role == chat_pb2.ROLE_USER)
    return next((text for text in map(_text, turns) if text.strip()), "")


def conversation(chat: chat_pb2.Chat) -> str:
    """All that is said before the answer, each turn under who says it."""
    return "\n\n".join(f"{_SPEAKERS.get(message.role, '?')}: {_said(message)}" for message in chat.messages)


def stratum_of(request: shadow_pb2.SubmitSampleRequest, experiment: Experiment, language: str) -> str:
    """The request's stratum in an experiment."""
    values = {
        "language": language,
        "key": request.key_name,
        "tools": "tools" if request.chat.tools else "no-tools",
        "streamed": "streamed" if request.streamed else "whole",
    }
    return stratum(experiment.strata, values, experiment.stratum_values)


def cluster_of(request: shadow_pb2.SubmitSampleRequest, experiment: Experiment) -> str:
    """What makes the request one vote with others of the epoch, hexadecimal; empty if it stands for itself.

    The router's is a hash of texts that anybody can compute, and this one stays in the book. With the epoch's
    salt nobody can find a text by trying, nor follow a user from one epoch to the next.
    """
    raw = request.tenant if experiment.cluster_by == TENANT else request.cluster
    return hashlib.sha256(experiment.salt + raw).digest()[:_CLUSTER_BYTES].hex() if raw else ""


def trace_id_of(traceparent: str) -> str:
    """The trace id of a W3C context: 32 hexadecimal digits, or empty."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= _TRACEPARENT_PARTS else ""


def _duration(us: int) -> Duration:
    seconds, micros = divmod(us, SECOND_US)
    return Duration(seconds=seconds, nanos=micros * 1_000)


def _text(message: chat_pb2.Message) -> str:
    return "".join(part.text for part in message.content)


def _said(message: chat_pb2.Message) -> str:
    parts = [part.text or "[a picture]" for part in message.content if part.WhichOneof("part")]
    return "\n".join([*parts, *(f"call {name}: {arguments}" for name, arguments in _calls(message))])


def _calls(message: chat_pb2.Message) -> Sequence[tuple[str, str]]:
    return [(call.name, call.arguments_json) for call in message.tool_calls]


def _whole(value: Any) -> Any:
    # A Struct has only doubles; a schema's `minItems` is 5, not 5.0.
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def capability_to_proto(item: Capability) -> shadow_pb2.Capability:
    """What the sovereign endpoint was probed for."""
    return shadow_pb2.Capability(
        name=item.need.name,
        needed=item.need.sentence,
        passed=item.passed,
        found=item.found,
        probe_time=timestamp(item.probe_unix_us),
    )
