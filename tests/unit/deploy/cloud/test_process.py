"""The stand-in as a process, and its part in a trace."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.telemetry import attributes as names

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # Not set for the process, which other tests share.
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


async def test_a_trace_is_continued(http: ClientSession, spans: InMemorySpanExporter) -> None:
    call = {"model": "stand-in-mini", "messages": [{"role": "user", "content": "Who?"}]}
    async with http.post("/v1/chat/completions", json=call) as response:
        assert response.status == 200
    assert not spans.get_finished_spans()
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with http.post("/v1/chat/completions", json=call, headers=header) as response:
        usage = (await response.json())["usage"]
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind) == ("stand-in generate", trace.SpanKind.SERVER)
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.attributes is not None
    assert span.attributes[names.GEN_AI_REQUEST_MODEL] == "stand-in-mini"
    assert span.attributes[names.GEN_AI_USAGE_OUTPUT_TOKENS] == usage["completion_tokens"]


def test_it_starts_and_stops() -> None:
    command = [sys.executable, "-m", "deploy.local.cloud", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stand-in/stats") as response:
            assert json.load(response)["requests"] == 0
        taken = subprocess.run([*command[:-1], str(port)], capture_output=True, text=True, check=False)
        assert taken.returncode == 65
        assert "can't listen" in taken.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
