"""The receiver of OTLP over HTTP, in front of a real ClickHouse."""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer
from google.rpc import status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from deploy.local.collector import otlp
from deploy.local.collector.door import BODY_BYTES, Door
from deploy.local.collector.spans import BadBodyError
from deploy.local.collector.store import Store
from services.common.settings import ClickHouse
from tests.support.stack import ROOT, SECRETS, Stack, until

JSON, PROTOBUF = "application/json", "application/x-protobuf"
START_NS = time.time_ns() - 1_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROUTER, ENTRY, MODEL = "b7ad6b7169203331", "b8f24c536d024501", "13717d6b74e5e1b5"


def at(offset_ms: float) -> str:
    return str(START_NS + round(offset_ms * 1e6))


# What Triton 2.51 sends, shortened: the events of two of its tokens, and the one that is older than the span.
TRITON: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "telemetry.sdk.language", "value": {"stringValue": "cpp"}},
                    {"key": "service.name", "value": {"stringValue": "triton"}},
                ]
            },
            "scopeSpans": [
                {
                    "scope": {"name": "triton-server"},
                    "spans": [
                        {
                            "traceId": TRACE,
                            "spanId": MODEL,
                            "parentSpanId": ENTRY,
                            "name": "tensorrt_llm",
                            "kind": 2,
                            "startTimeUnixNano": at(1),
                            "endTimeUnixNano": at(40),
                            "attributes": [
                                {"key": "triton.model_version", "value": {"intValue": "1"}},
                                {"key": "warm", "value": {"boolValue": True}},
                                {"key": "share", "value": {"doubleValue": 0.5}},
                                {
                                    "key": "names",
                                    "value": {
                                        "arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "2"}]}
                                    },
                                },
                            ],
                            "events": [{"name": "REQUEST_START", "timeUnixNano": at(1)}],
                        },
                        {
                            "traceId": TRACE,
                            "spanId": ENTRY,
                            "parentSpanId": ROUTER,
                            "name": "InferRequest",
                            "kind": 2,
                            "startTimeUnixNano": at(0),
                            "endTimeUnixNano": at(42),
                            "status": {"code": 2, "message": "gone"},
                            "events": [
                                {"name": "GRPC_WAITREAD_START", "timeUnixNano": at(-900)},
                                {"name": "GRPC_SEND_START", "timeUnixNano": at(5)},
                                {"name": "GRPC_SEND_END", "timeUnixNano": at(6)},
                                {"name": "GRPC_SEND_START", "timeUnixNano": at(7)},
                                {"name": "GRPC_SEND_END", "timeUnixNano": at(8)},
                            ],
                        },
                    ],
                }
            ],
        }
    ]
}


def as_protobuf(document: Any) -> bytes:
    """The same request in the other spelling, built field by field."""
    request = ExportTraceServiceRequest()
    for group in document["resourceSpans"]:
        made = request.resource_spans.add()
        fill(made.resource.attributes, group["resource"]["attributes"])
        for scoped in group["scopeSpans"]:
            scope = made.scope_spans.add()
            scope.scope.name = scoped["scope"]["name"]
            for span in scoped["spans"]:
                out = scope.spans.add(
                    trace_id=bytes.fromhex(span["traceId"]),
                    span_id=bytes.fromhex(span["spanId"]),
                    parent_span_id=bytes.fromhex(span["parentSpanId"]),
                    name=span["name"],
                    kind=span["kind"],
                    start_time_unix_nano=int(span["startTimeUnixNano"]),
                    end_time_unix_nano=int(span["endTimeUnixNano"]),
                )
                fill(out.attributes, span.get("attributes", []))
                for event in span["events"]:
                    out.events.add(name=event["name"], time_unix_nano=int(event["timeUnixNano"]))
                if "status" in span:
                    out.status.code = span["status"]["code"]
                    out.status.message = span["status"]["message"]
    return request.SerializeToString()


def fill(attributes: Any, pairs: list[Any]) -> None:
    for pair in pairs:
        set_value(attributes.add(key=pair["key"]).value, pair["value"])


def set_value(out: Any, value: dict[str, Any]) -> None:
    ((kind, inner),) = value.items()
    match kind:
        case "stringValue":
            out.string_value = inner
        case "intValue":
            out.int_value = int(inner)
        case "doubleValue":
            out.double_value = inner
        case "boolValue":
            out.bool_value = inner
        case "arrayValue":
            for item in inner["values"]:
                set_value(out.array_value.values.add(), item)


def test_both_spellings_give_the_same_spans() -> None:
    (ours,) = otlp.parse(JSON, orjson.dumps(TRITON))
    (theirs,) = otlp.parse(PROTOBUF, as_protobuf(TRITON))
    assert ours.resource == theirs.resource
    for one, other in zip(ours.spans, theirs.spans, strict=True):
        texts = [{key: str(value) for key, value in span.attributes.items()} for span in (one, other)]
        texts = [{key: value.replace('"2"', "2") for key, value in text.items()} for text in texts]
        assert texts[0] == texts[1]
        for field in ("scope", "name", "context", "parent", "kind", "events", "start_ns", "end_ns", "status"):
            assert getattr(one, field) == getattr(other, field)


BAD_JSON = [
    b"",
    b"nonsense",
    b"[]",
    b'{"resourceSpans": 5}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}',
    orjson.dumps(TRITON).replace(TRACE.encode(), b"0af7"),
    orjson.dumps(TRITON).replace(TRACE.encode(), b"0" * 32),
    orjson.dumps(TRITON).replace(MODEL.encode(), b"not-hexadecimal!"),
    orjson.dumps(TRITON).replace(b'"startTimeUnixNano":"', b'"startTimeUnixNano":"x'),
]


@pytest.mark.parametrize(("kind", "body"), [*((JSON, body) for body in BAD_JSON), (PROTOBUF, b"\xff\xff")])
def test_a_body_that_is_none_is_told_from_one_that_is(kind: str, body: bytes) -> None:
    with pytest.raises(BadBodyError):
        otlp.parse(kind, body)


@asynccontextmanager
async def door(store: Store) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the application, which listens in this process."""
    listening = TestServer(Door(store).application())
    async with listening, aiohttp.ClientSession(str(listening.make_url("/"))) as session:
        yield session


NOWHERE = ClickHouse(url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": JSON, "Content-Encoding": "br"}, b"{}", 415),
        ({"Content-Type": JSON}, b"{", 400),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, b"{}", 400),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, gzip.compress(b"{}", mtime=0)[:-4], 400),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, gzip.compress(bytes(BODY_BYTES + 1)), 400),
        ({"Content-Type": JSON}, bytes(BODY_BYTES + 1), 413),
        ({"Content-Type": PROTOBUF}, b"\xff\xff", 400),
        ({"Content-Type": JSON}, b"{}", 200),
        ({"Content-Type": PROTOBUF}, b"", 200),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, gzip.compress(b"{}", mtime=0), 200),
    ],
)
async def test_each_wrong_body_has_its_status(headers: dict[str, str], body: bytes, status: int) -> None:
    store = Store(NOWHERE)
    try:
        async with (
            door(store) as session,
            session.post("/v1/traces", data=BytesIO(body), headers=headers) as response,
        ):
            answer = await response.read()
            assert response.status == status
    finally:
        await asyncio.to_thread(store.close)
    if status != 200 and headers["Content-Type"] == PROTOBUF:
        assert status_pb2.Status.FromString(answer).message
    elif status != 200:
        assert orjson.loads(answer)["message"]


async def test_what_the_queue_has_no_room_for_is_a_partial_success() -> None:
    store = Store(NOWHERE, queue_spans=1)
    why = "the queue is full: ClickHouse does not keep up"
    try:
        # The thread takes nothing up within this: it waits first.
        async with door(store) as session:
            headers = {"Content-Type": JSON}
            async with session.post("/v1/traces", data=orjson.dumps(TRITON), headers=headers) as response:
                assert response.status == 200
                assert await response.json() == {
                    "partialSuccess": {"rejectedSpans": "1", "errorMessage": why}
                }
            assert (store.counts.received, store.counts.shed) == (2, 1)
            told = ExportTraceServiceResponse.FromString(otlp.response(PROTOBUF, 1, why)).partial_success
            assert (told.rejected_spans, told.error_message) == (1, why)
    finally:
        await asyncio.to_thread(store.close)


@asynccontextmanager
async def collector(stack: Stack, folder: Path) -> AsyncIterator[str]:
    """The process; gives its URL."""
    url = f"http://127.0.0.1:{stack.ports['collector']}"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOMEWARD_CLICKHOUSE__USER": "homeward",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.clickhouse_password,
    }
    address = url.removeprefix("http://")
    line = [sys.executable, "-m", "deploy.local.collector", str(stack.settings_file), "--listen", address]
    with (folder / "collector.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, env=environment, stderr=log)

        async def well() -> bool:
            assert process.returncode is None, (folder / "collector.log").read_text()
            try:
                return "queued" in await health(url)
            except aiohttp.ClientError:
                return False

        await until(well, "the collector listens")
        yield url
        process.terminate()
        assert await process.wait() == 0, (folder / "collector.log").read_text()


async def health(url: str) -> dict[str, int]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as response:
        return dict(await response.json())


async def post(url: str, kind: str, body: bytes, **headers: str) -> bytes:
    async with aiohttp.ClientSession() as session:
        headers = {"Content-Type": kind, **headers}
        async with session.post(f"{url}/v1/traces", data=body, headers=headers) as response:
            assert response.status == 200
            return await response.read()


COLUMNS = (
    "SpanName, SpanId, ParentSpanId, SpanKind, ServiceName, ScopeName, StatusCode, StatusMessage, Duration, "
    "toUnixTimestamp64Nano(Timestamp), SpanAttributes, Events.Name"
)


async def test_tritons_spans_become_rows_as_soon_as_clickhouse_is_there(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack, collector(stack, tmp_path) as url:
        assert await post(url, JSON, orjson.dumps(TRITON)) == b"{}"

        async def failing() -> bool:
            return "spans are not stored" in (tmp_path / "collector.log").read_text()

        await until(failing, "an insert has failed")
        # The ledger makes the tables.
        await stack.start("clickhouse", "ledger")
        other = TRACE.replace("0af7", "1af7")
        zipped = gzip.compress(as_protobuf(TRITON).replace(bytes.fromhex(TRACE), bytes.fromhex(other)))
        assert await post(url, PROTOBUF, zipped, **{"Content-Encoding": "gzip"}) == b""

        async def stored() -> bool:
            return (await health(url))["stored"] == 4

        await until(stored, "the spans are stored")
        assert await health(url) == {"queued": 0, "received": 4, "stored": 4, "shed": 0, "lost": 0}
        for trace, names in ((TRACE, '["a","2"]'), (other, '["a",2]')):
            query = f"SELECT {COLUMNS} FROM otel.otel_traces WHERE TraceId = '{trace}' ORDER BY Timestamp"
            assert [list(row) for row in await stack.query(query)] == [
                [
                    *("InferRequest", ENTRY, ROUTER, "Server", "triton", "triton-server", "Error", "gone"),
                    *(42_000_000, int(at(0)), {}, ["GRPC_SEND_START", "GRPC_SEND_END"]),
                ],
                [
                    *("tensorrt_llm", MODEL, ENTRY, "Internal", "triton", "triton-server", "Unset", ""),
                    *(39_000_000, int(at(1))),
                    {"triton.model_version": "1", "warm": "true", "share": "0.5", "names": names},
                    ["REQUEST_START"],
                ],
            ]
