"""Starts tracing and logging for a service process."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import orjson
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

from services.common.settings import ClickHouse, Telemetry
from services.common.telemetry.span_exporter import ClickHouseSpanExporter

SPAN_QUEUE = 16_384
"""Spans that may wait for export; above that the SDK drops and logs. About 30 MB at the most."""
SPAN_DELAY_MS = 500
"""Longest wait of a span before export: a trace can be opened about a second after its request."""


def start_tracing(service: str, telemetry: Telemetry, clickhouse: ClickHouse) -> TracerProvider:
    """Sets the process's tracer provider.

    Spans go to `OTEL_EXPORTER_OTLP_ENDPOINT` by OTLP if it is set, else straight into ClickHouse.
    """
    exporter: SpanExporter
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        exporter = OTLPSpanExporter()
    else:
        exporter = ClickHouseSpanExporter(clickhouse)
    provider = TracerProvider(
        sampler=ParentBased(
            ALWAYS_ON if telemetry.sample_ratio == 1 else TraceIdRatioBased(telemetry.sample_ratio)
        ),
        resource=Resource.create({"service.name": service, "service.namespace": "homeward"}),
    )
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=SPAN_QUEUE, schedule_delay_millis=SPAN_DELAY_MS)
    )
    trace.set_tracer_provider(provider)
    return provider


def start_logging(service: str, telemetry: Telemetry) -> None:
    """Writes log lines as JSON to standard error, each with the trace it belongs to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=telemetry.log_level.upper(), handlers=[handler], force=True)
    # The SDK repeats at length what our exporter has said in one line.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, service, logger, message, trace_id, and `extra` fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._plain = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
        line.update({k: v for k, v in record.__dict__.items() if k not in self._plain})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
