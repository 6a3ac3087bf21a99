"""Reads `ExportTraceServiceRequest`, in OTLP's two spellings, and writes what is answered to it.

JSON is read as the protocol has it: ids in hexadecimal, 64-bit numbers as text or number, unknown fields
left aside. (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding".)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service_pb
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from deploy.local.collector.spans import BadBodyError, Received, ReceivedSpan, context, kind, received, status

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
_INVALID_ARGUMENT = 3


def parse(content_type: str, body: bytes) -> list[Received]:
    """The spans of a body.

    Args:
        content_type: JSON or PROTOBUF.

    Raises:
        BadBodyError: it can't be read.
    """
    if content_type == PROTOBUF:
        return _parse_protobuf(body)
    try:
        return _parse_json(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise BadBodyError(f"not JSON: {error}") from None
    # Whatever a body has in place of what belongs there: a text for a list, null for a number.
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadBodyError(f"not an ExportTraceServiceRequest: {error!r}") from None


def response(content_type: str, rejected: int, why: str) -> bytes:
    """The body of an answer that says how many spans were not taken."""
    if content_type == PROTOBUF:
        message = service_pb.ExportTraceServiceResponse()
        if rejected:
            message.partial_success.rejected_spans = rejected
            message.partial_success.error_message = why
        return bytes(message.SerializeToString())
    partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}}
    return orjson.dumps(partial if rejected else {})


def failure(content_type: str, message: str) -> bytes:
    """The body of a refusal: a `google.rpc.Status`."""
    if content_type == PROTOBUF:
        return bytes(status_pb2.Status(code=_INVALID_ARGUMENT, message=message).SerializeToString())
    return orjson.dumps({"code": _INVALID_ARGUMENT, "message": message})


def _parse_json(document: Any) -> list[Received]:
    return [
        received(
            _attributes(group.get("resource", {}).get("attributes")),
            (
                _span(scoped.get("scope", {}).get("name", ""), span)
                for scoped in group.get("scopeSpans", ())
                for span in scoped.get("spans", ())
            ),
        )
        for group in document.get("resourceSpans", ())
    ]


def _span(scope: str, span: Any) -> ReceivedSpan:
    trace_id = bytes.fromhex(span["traceId"])
    parent = span.get("parentSpanId")
    state = span.get("status", {})
    return ReceivedSpan(
        scope=scope,
        name=str(span["name"]),
        context=context(trace_id, bytes.fromhex(span["spanId"]), span.get("traceState", "")),
        parent=context(trace_id, bytes.fromhex(parent)) if parent else None,
        kind=kind(span.get("kind", 0)),
        attributes=_attributes(span.get("attributes")),
        events=tuple(
            (int(event["timeUnixNano"]), str(event["name"]), _attributes(event.get("attributes")))
            for event in span.get("events", ())
        ),
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        status=status(state.get("code", 0)),
        message=str(state.get("message", "")),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs or ()}


def _value(value: Any) -> Any:
    for name, inner in value.items():
        match name:
            case "boolValue":
                return "true" if inner else "false"
            case "arrayValue":
                return orjson.dumps([_value(item) for item in inner.get("values", ())]).decode()
            case "kvlistValue":
                return orjson.dumps(_attributes(inner.get("values"))).decode()
            case _:
                return inner
    return ""


def _parse_protobuf(body: bytes) -> list[Received]:
    try:
        message = service_pb.ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadBodyError(f"not an ExportTraceServiceRequest: {error}") from None
    return [
        received(
            _proto_attributes(group.resource.attributes),
            (_proto_span(scoped.scope.name, span) for scoped in group.scope_spans for span in scoped.spans),
        )
        for group in message.resource_spans
    ]


def _proto_span(scope: str, span: trace_pb2.Span) -> ReceivedSpan:
    parent = span.parent_span_id
    return ReceivedSpan(
        scope=scope,
        name=span.name,
        context=context(span.trace_id, span.span_id, span.trace_state),
        parent=context(span.trace_id, parent) if parent else None,
        kind=kind(span.kind),
        attributes=_proto_attributes(span.attributes),
        events=tuple(
            (event.time_unix_nano, event.name, _proto_attributes(event.attributes)) for event in span.events
        ),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=status(span.status.code),
        message=span.status.message,
    )


def _proto_attributes(pairs: Iterable[common_pb2.KeyValue]) -> dict[str, Any]:
    return {pair.key: _proto_value(pair.value) for pair in pairs}


def _proto_value(value: common_pb2.AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return ""
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "array_value":
            return orjson.dumps([_proto_value(item) for item in value.array_value.values]).decode()
        case "kvlist_value":
            return orjson.dumps(_proto_attributes(value.kvlist_value.values)).decode()
        case "bytes_value":
            return value.bytes_value.hex()
        case name:
            return getattr(value, name)
