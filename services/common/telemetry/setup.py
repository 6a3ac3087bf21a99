"""Starts tracing and logging for a service process."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import orjson
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource

from services.common.settings import ClickHouse, Telemetry
from services.common.telemetry.otlp import OtlpExporter
from services.common.telemetry.recorder import Recorder
from services.common.telemetry.span_exporter import ClickHouseSpanExporter


def start_tracing(service: str, telemetry: Telemetry, clickhouse: ClickHouse) -> Recorder:
    """Sets the process's tracer provider.

    Spans go to `OTEL_EXPORTER_OTLP_ENDPOINT` by OTLP if it is set, else straight into ClickHouse.
    """
    resource = Resource.create({"service.name": service, "service.namespace": "homeward"})
    exporter: OtlpExporter | ClickHouseSpanExporter
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        exporter = OtlpExporter(resource)
    else:
        attributes = {key: str(value) for key, value in resource.attributes.items()}
        exporter = ClickHouseSpanExporter(clickhouse, attributes)
    recorder = Recorder(exporter.export, telemetry.sample_ratio, exporter.close)
    trace.set_tracer_provider(recorder)
    return recorder


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
