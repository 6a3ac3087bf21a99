"""Sends spans to a collector by OTLP, through OpenTelemetry's own exporter."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, StatusCode

from services.common.telemetry.recorder import RecordedSpan

log = logging.getLogger(__name__)


class OtlpExporter:
    """The exporter; where to is said by OTEL_EXPORTER_OTLP_ENDPOINT and its like."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._exporter = OTLPSpanExporter()

    def export(self, spans: Sequence[RecordedSpan]) -> bool:
        """Sends one batch."""
        try:
            done = self._exporter.export([self._readable(span) for span in spans])
        # A trace must never disturb the service that it describes.
        except Exception as error:
            log.warning("spans are not sent: %s", error)
            return False
        return done is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Closes the connection."""
        self._exporter.shutdown()

    def _readable(self, span: RecordedSpan) -> ReadableSpan:
        error = span.status is StatusCode.ERROR
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=self._resource,
            attributes=span.attributes,
            events=[Event(name, attributes, at) for at, name, attributes in span.events],
            kind=span.kind,
            status=Status(span.status, span.message if error else None),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=InstrumentationScope(span.scope),
        )
