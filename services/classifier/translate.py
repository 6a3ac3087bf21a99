"""Protos ↔ core."""

from __future__ import annotations

from collections.abc import Iterable

from homeward.classifier.v1 import classifier_pb2
from homeward.common.v1 import workload_pb2

from services.classifier.core.classify import Answer
from services.classifier.core.discovery import Found
from services.classifier.core.registration import Submission, word
from services.classifier.core.registry import Workload
from services.common.fingerprint import Shape
from services.common.seen import Seen, cut
from services.common.words import Evidence, QualitySensitivity, TaskType

MAX_INPUT_CHARS = 2**63 - 1
"""Of a request: what the tables can count. The field of the contract has a bit more."""


def seen(request: classifier_pb2.ClassifyRequest) -> Seen:
    """What is seen of a request. What is longer than the contract allows is cut, not refused."""
    return cut(
        request.system_prompt,
        request.turns,
        tool_names=request.tool_names,
        response_schema=request.response_schema,
        input_chars=min(request.input_chars, MAX_INPUT_CHARS),
    )


def request(item: Seen) -> classifier_pb2.ClassifyRequest:
    """The opposite of `seen`."""
    return classifier_pb2.ClassifyRequest(
        system_prompt=item.system_prompt,
        turns=item.turns,
        tool_names=item.tool_names,
        has_response_schema=item.has_response_schema,
        response_schema=item.response_schema,
        input_chars=item.input_chars,
    )


def response(answer: Answer, table_version: int) -> classifier_pb2.ClassifyResponse:
    """An answer, and the table that it rests on."""
    return classifier_pb2.ClassifyResponse(
        workload=answer.workload,
        evidence=workload_pb2.Evidence.ValueType(answer.evidence),
        confidence=answer.confidence,
        task_type=workload_pb2.TaskType.ValueType(answer.task_type),
        task_type_confidence=answer.task_type_confidence,
        table_version=table_version,
    )


def workload(item: Workload) -> workload_pb2.Workload:
    """A workload as it is served: without its examples."""
    return workload_pb2.Workload(
        name=item.name,
        owner=item.owner,
        task_type=workload_pb2.TaskType.ValueType(item.task_type),
        data_class=item.data_class,
        quality_sensitivity=workload_pb2.QualitySensitivity.ValueType(item.quality_sensitivity),
        description=item.description,
        version=item.version,
        fingerprints=map(fingerprint, item.shapes),
    )


def fingerprint(shape: Shape) -> workload_pb2.Fingerprint:
    """The fixed parts of a request."""
    return workload_pb2.Fingerprint(
        digest=shape.digest,
        masked_digest=shape.masked_digest,
        sketch=shape.sketch,
        tool_names=shape.tool_names,
        schema_digest=shape.schema_digest,
        template_head=shape.template_head,
        template_tail=shape.template_tail,
    )


def shape(item: workload_pb2.Fingerprint) -> Shape:
    """The opposite of `fingerprint`."""
    return Shape(
        digest=item.digest,
        masked_digest=item.masked_digest,
        sketch=tuple(item.sketch),
        tool_names=tuple(item.tool_names),
        schema_digest=item.schema_digest,
        template_head=item.template_head,
        template_tail=item.template_tail,
    )


def submission(item: workload_pb2.Workload, examples: Iterable[classifier_pb2.ClassifyRequest]) -> Submission:
    """What an owner hands in.

    Raises:
        DomainError: INVALID_REQUEST, for a number that the contract has no word for.
    """
    return Submission(
        name=item.name,
        owner=item.owner,
        task_type=word(TaskType, item.task_type, "workload.task_type"),
        data_class=item.data_class,
        quality_sensitivity=word(
            QualitySensitivity, item.quality_sensitivity, "workload.quality_sensitivity"
        ),
        description=item.description,
        shapes=tuple(map(shape, item.fingerprints)),
        examples=tuple(map(seen, examples)),
    )


def evidence(number: int) -> Evidence:
    """What named a request elsewhere.

    Raises:
        DomainError: INVALID_REQUEST, for a number that the contract has no word for.
    """
    return word(Evidence, number, "evidence")


def proposal(found: Found) -> classifier_pb2.Proposal:
    """A workload that unnamed traffic suggests."""
    return classifier_pb2.Proposal(
        workload=workload_pb2.Workload(
            name=found.name,
            task_type=workload_pb2.TaskType.ValueType(found.task_type),
            fingerprints=map(fingerprint, found.shapes),
        ),
        request_count=found.request_count,
        spend_share=found.spend_share,
        sample_prompts=found.sample_prompts,
        examples=map(request, found.examples),
        key_names=found.key_names,
    )
