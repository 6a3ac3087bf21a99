"""A router beside a classifier of a later version: what it can't read ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2

from services.common.fingerprint import Shape
from services.common.seen import Seen
from services.common.server import Server
from services.common.words import Evidence, TaskType
from services.router.adapters import classifier as adapter
from services.router.adapters.classifier import ClassifierAdapter
from services.router.core.naming import Name
from tests.support.stack import until as until_async

UNKNOWN = 99


async def until(condition: Callable[[], bool], what: str) -> None:
    async def asked() -> bool:
        return condition()

    await until_async(asked, what)


def table(version: int, task_type: int) -> classifier_pb2.WatchWorkloadsResponse:
    item = workload_pb2.Workload(
        name="triage", task_type=workload_pb2.TaskType.ValueType(task_type), data_class="internal", version=1
    )
    return classifier_pb2.WatchWorkloadsResponse(version=version, workloads=[item])


class Classifier(classifier_pb2_grpc.ClassifierServiceServicer):
    """Sends its tables one after another, ends the watch at None, and gives one answer."""

    def __init__(self, *tables: classifier_pb2.WatchWorkloadsResponse) -> None:
        self.tables = asyncio.Queue[classifier_pb2.WatchWorkloadsResponse | None]()
        for item in tables:
            self.tables.put_nowait(item)
        self.answer = classifier_pb2.ClassifyResponse()
        self.watchers = 0

    async def WatchWorkloads(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.watchers += 1
        while (item := await self.tables.get()) is not None:
            yield item

    async def Classify(self, request: Any, context: Any) -> Any:
        return self.answer


@asynccontextmanager
async def watching(servicer: Classifier, folder: Path) -> AsyncIterator[ClassifierAdapter]:
    server = Server()
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, server.grpc)
    port = await server.start("127.0.0.1:0")
    kept = ClassifierAdapter(f"127.0.0.1:{port}", 60.0, folder / "table", 1)
    try:
        yield kept
    finally:
        await kept.close()
        await server.stop(0)


async def test_a_kind_of_work_that_is_unknown_is_unspecified_and_the_next_table_comes(tmp_path: Path) -> None:
    servicer = Classifier(table(1, UNKNOWN))
    async with watching(servicer, tmp_path) as kept:
        await until(lambda: kept.table.version == 1, "table 1")
        assert kept.table.workloads["triage"].task_type is TaskType.UNSPECIFIED
        assert kept.table.workloads["triage"].data_class == "internal"
        servicer.tables.put_nowait(table(2, TaskType.CODE))
        await until(lambda: kept.table.version == 2, "table 2")
        assert kept.table.workloads["triage"].task_type is TaskType.CODE
        assert servicer.watchers == 1


async def test_a_table_that_can_not_be_read_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = adapter.from_proto

    def strict(update: classifier_pb2.WatchWorkloadsResponse) -> Any:
        if update.version == 2:
            raise ValueError("nobody has foreseen this")
        return read(update)

    monkeypatch.setattr(adapter, "from_proto", strict)
    servicer = Classifier(table(1, TaskType.CODE), table(2, TaskType.CODE))
    async with watching(servicer, tmp_path) as kept:
        await until(lambda: "nobody has foreseen this" in caplog.text, "the log")
        assert kept.table.version == 1
        servicer.tables.put_nowait(table(3, TaskType.CODE))
        await until(lambda: kept.table.version == 3, "table 3")
        assert servicer.watchers == 1


@pytest.mark.parametrize(
    ("workload", "evidence", "task_type", "name"),
    [
        ("triage", Evidence.FINGERPRINT, TaskType.CODE, Name("triage", Evidence.FINGERPRINT, TaskType.CODE)),
        ("triage", UNKNOWN, UNKNOWN, Name("triage", Evidence.EXAMPLES, TaskType.UNSPECIFIED)),
        ("", UNKNOWN, TaskType.CODE, Name("", Evidence.ABSTAINED, TaskType.CODE)),
        ("", 0, 0, Name("", Evidence.ABSTAINED, TaskType.UNSPECIFIED)),
    ],
)
async def test_an_answer_with_words_of_a_later_version_is_read(
    tmp_path: Path, workload: str, evidence: int, task_type: int, name: Name
) -> None:
    servicer = Classifier()
    servicer.answer = classifier_pb2.ClassifyResponse(
        workload=workload,
        evidence=workload_pb2.Evidence.ValueType(evidence),
        task_type=workload_pb2.TaskType.ValueType(task_type),
    )
    async with watching(servicer, tmp_path) as kept:
        assert await kept.classify(Seen(turns=("hello",)), Shape(), b"i" * 16, "crm") == name


async def test_a_watch_that_its_classifier_ends_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "RECONNECT_S", 0.01)
    servicer = Classifier(table(1, TaskType.CODE))
    async with watching(servicer, tmp_path) as kept:
        await until(lambda: kept.table.version == 1, "table 1")
        servicer.tables.put_nowait(None)
        servicer.tables.put_nowait(table(2, TaskType.CODE))
        await until(lambda: kept.table.version == 2, "table 2")
        assert servicer.watchers == 2
