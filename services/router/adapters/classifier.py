"""The classifier as the router sees it: a table of workloads that is kept, and a question in a hurry."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2

from services.common.interceptors import UnaryClientInterceptor, untraced
from services.common.server import channel
from services.common.words import Evidence, TaskType
from services.router.core import wire
from services.router.core.naming import ABSTAINED, EMPTY_TABLE, Name, Table

log = logging.getLogger(__name__)

RECONNECT_S = 1.0
"""Pause before the table's stream is opened again."""


MAX_TEXT_BYTES = 8192
"""Bytes of all turns together, as the contract says, and of the system prompt."""
MAX_TURNS = 16
"""The newest turns that are shown."""


class ClassifierAdapter:
    """Keeps the table of registered workloads, and asks about what the table does not name."""

    def __init__(self, address: str, budget_s: float) -> None:
        """`budget_s` is the longest wait for an answer. Needs a running event loop."""
        self.table: Table = EMPTY_TABLE
        """The last table; stays in force while the classifier is away."""
        self._budget_s = budget_s
        # One channel, so that the watch has connected it before the first question.
        self._channel = channel(address, [UnaryClientInterceptor()])
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel)
        self._watch = asyncio.create_task(self._keep_table())
        self.has_table = asyncio.Event()
        """Set once a table has come."""

    async def classify(self, request: classifier_pb2.ClassifyRequest) -> Name:
        """The name that the classifier gives within the budget; else an abstention."""
        try:
            answer = await self._stub.Classify(request, timeout=self._budget_s)
        except aio.AioRpcError:
            return ABSTAINED
        return Name(
            answer.workload,
            Evidence(answer.evidence) if answer.evidence else Evidence.ABSTAINED,
            TaskType(answer.task_type),
            answer.confidence,
        )

    async def close(self) -> None:
        """Stops watching."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close()

    async def _keep_table(self) -> None:
        while True:
            try:
                request = classifier_pb2.WatchWorkloadsRequest(known_version=0)
                async for update in self._stub.WatchWorkloads(
                    request, wait_for_ready=True, metadata=untraced()
                ):
                    self.table = _table(update)
                    self.has_table.set()
                    log.info("%d workloads are registered", len(self.table.task_types))
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    log.warning("the table of workloads is not kept: %s", error.code().name)
            await asyncio.sleep(RECONNECT_S)


def to_classify(request: wire.Request, system_prompt: str, digest: bytes) -> classifier_pb2.ClassifyRequest:
    """What the classifier sees of a request: head and tail of each turn, within the contract's limit."""
    turns = wire.turns(request)[-MAX_TURNS:]
    room = MAX_TEXT_BYTES // max(1, len(turns))
    tools = request.document.get("tools")
    form = request.document.get("response_format")
    return classifier_pb2.ClassifyRequest(
        fingerprint=workload_pb2.Fingerprint(digest=digest),
        system_prompt=_excerpt(system_prompt, MAX_TEXT_BYTES),
        turns=[_excerpt(turn, room) for turn in turns],
        tool_names=[_tool_name(tool) for tool in tools if isinstance(tool, dict)]
        if isinstance(tools, list)
        else (),
        has_response_schema=isinstance(form, dict) and form.get("type") == "json_schema",
        input_chars=request.input_chars,
    )


def _excerpt(text: str, room: int) -> str:
    # A character has at most four bytes; a lone surrogate, which JSON can carry, has no UTF-8 at all.
    if len(text) * 4 > room:
        half = room // 8
        text = text if len(text) <= 2 * half else f"{text[:half]}{text[-half:]}"
    return text.encode("utf-8", "replace").decode()


def _tool_name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else ""


def _table(update: classifier_pb2.WatchWorkloadsResponse) -> Table:
    workloads: list[workload_pb2.Workload] = list(update.workloads)
    return Table(
        version=update.version,
        task_types={item.name: TaskType(item.task_type) for item in workloads},
        fingerprints={mark.digest: item.name for item in workloads for mark in item.fingerprints},
    )
