"""Sends the `generate` span of each request by OTLP over HTTP, as JSON, to where Triton sends its own.

Small enough to need no SDK: the Python process of Triton is to stay small, and fast to start.
"""

from __future__ import annotations

import json
import queue
import random
import re
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVERY_S = 0.5
BATCH_SPANS = 256
QUEUE_SPANS = 4096
TIMEOUT_S = 2.0

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_INTERNAL = 1
_ERROR = 2


@dataclass(frozen=True, slots=True)
class Parent:
    """The span above."""

    trace_id: str
    span_id: str


def parent(context: str | None) -> Parent | None:
    """The parent from what Triton gives as a request's trace context; None if it is not traced.

    Args:
        context: a JSON object with a `traceparent`.
    """
    match = _TRACEPARENT.fullmatch(json.loads(context).get("traceparent", "")) if context else None
    return Parent(match[1], match[2]) if match and int(match[3], 16) & 1 else None


def span(
    parent: Parent,
    name: str,
    start_ns: int,
    end_ns: int,
    attributes: Mapping[str, str | int | float],
    error: str | None,
) -> dict[str, Any]:
    """A span as OTLP's JSON has it."""
    return {
        "traceId": parent.trace_id,
        "spanId": f"{random.getrandbits(64) or 1:016x}",
        "parentSpanId": parent.span_id,
        "name": name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(end_ns),
        "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
        "status": {} if error is None else {"code": _ERROR, "message": error},
    }


def _value(value: str | int | float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}


class Exporter:
    """Sends batches from a thread of its own. A span that finds no room or no receiver is dropped."""

    def __init__(self, url: str) -> None:
        """`url` is that of the receiver, with /v1/traces."""
        self._url = url
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(QUEUE_SPANS)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, span: dict[str, Any]) -> None:
        """Takes a span; never blocks."""
        try:
            self._queue.put_nowait(span)
        except queue.Full:
            return

    def close(self) -> None:
        """Sends what waits, and ends the thread."""
        self._closing.set()
        self._thread.join(TIMEOUT_S + EVERY_S)

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while not self._queue.empty():
            size = min(BATCH_SPANS, self._queue.qsize())
            self._send([self._queue.get_nowait() for _ in range(size)])

    def _send(self, spans: list[dict[str, Any]]) -> None:
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "triton"}}]}
        scope = {"name": "homeward.generate"}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                response.read()
        except OSError:
            # A trace must never disturb the service that it describes.
            return
