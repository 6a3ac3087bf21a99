"""A sample as shadow takes it. Costs what parsing an answer costs, so it is made off the path."""

from __future__ import annotations

from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError
from services.router.chat_from_json import LossyError, same, to_chat, to_message
from services.router.chat_proto import to_request
from services.router.core import catalog
from services.router.core.chat_to_messages import to_messages
from services.router.core.messages_sample import as_chat, asked_natively, plain
from services.router.core.sampling import Bar, BarredError, Sample, cluster, tenant
from services.router.core.traffic import NANOS


def submission(sample: Sample, sample_bytes: int) -> shadow_pb2.SubmitSampleRequest:
    """What to hand over of a sample.

    Args:
        sample_bytes: the most that question and answer may have together.

    Raises:
        BarredError: it is too large, can't be carried without loss, or would be another question as a chat.
    """
    if sample.request_bytes > sample_bytes:
        raise BarredError(Bar.SIZE, f"a question of {sample.request_bytes} bytes")
    application = sample
    if application.api == catalog.MESSAGES:
        sample = as_chat(application)
    try:
        chat = to_chat(sample.document)
        answer = to_message(sample.answer, streamed=sample.streamed)
    except LossyError as error:
        raise BarredError(Bar.SHAPE, str(error)) from None
    if application.api == catalog.MESSAGES and asked_natively(application.routes):
        _check_asked_again(application, chat)
    size = sample.request_bytes + answer.ByteSize()
    if size > sample_bytes:
        raise BarredError(Bar.SIZE, f"question and answer of {size} bytes")
    request = shadow_pb2.SubmitSampleRequest(
        sample_id=sample.request_id,
        experiment_id=sample.origin.sampling.experiment_id,
        epoch=sample.origin.sampling.epoch,
        chat=chat,
        answer=answer,
        leg_id=sample.leg_id,
        cluster=cluster(sample),
        traceparent=sample.traceparent,
        tenant=tenant(sample),
        target=leg_pb2.Target.ValueType(sample.target),
        sovereign_failed=sample.sovereign_failed,
        streamed=sample.streamed,
        key_name=sample.key_name,
        workload=sample.origin.workload,
        input_tokens=sample.input_tokens,
        reversed=sample.origin.sampling.reversed,
    )
    request.request_time.seconds, nanos = divmod(sample.origin.request_unix_ns, NANOS)
    request.request_time.nanos = nanos
    return request


def _check_asked_again(application: Sample, chat: chat_pb2.Chat) -> None:
    """Fails if the cloud would be asked something else by the chat than by its application.

    Raises:
        BarredError: FORM.
    """
    wanted = plain(application.document)
    try:
        asked = plain(to_messages(to_request(chat, streamed=False).document))
    except DomainError as error:
        raise BarredError(Bar.FORM, error.message) from None
    if not same(asked, wanted):
        changed = sorted(key for key in {*asked, *wanted} if not same(asked.get(key), wanted.get(key)))
        raise BarredError(Bar.FORM, f"`{changed[0] if changed else ''}`")
