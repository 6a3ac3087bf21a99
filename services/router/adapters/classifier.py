"""The classifier as the router sees it: a table of workloads that is kept, and a question in a hurry."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2

from services.common.fingerprint import AmbiguousError, Shape, ShapeTable
from services.common.interceptors import UnaryClientInterceptor, untraced
from services.common.seen import Seen
from services.common.server import channel
from services.common.words import Evidence, TaskType, word
from services.router.core.naming import EMPTY_TABLE, Name, Registered, Table

log = logging.getLogger(__name__)

RECONNECT_S = 1.0
"""Pause before the table's stream is opened again."""
OBSERVE_TIMEOUT_S = 5.0
"""How long showing a named request may take: a classifier that is behind has better things to do."""


class ClassifierAdapter:
    """Keeps the table of registered workloads, and asks about what the table does not name."""

    def __init__(self, address: str, budget_s: float, file: Path, observe_in_flight: int) -> None:
        """Starts from the file's table, if there is one. Needs a running event loop.

        Args:
            budget_s: the longest wait for an answer.
            file: where the last table is kept, so that data classes bind while the classifier is away.
            observe_in_flight: requests that are shown at once.
        """
        self._file = file
        self.table: Table = self._load()
        """The last table; stays in force while the classifier is away."""
        self._budget_s = budget_s
        # One channel, so that the watch has connected it before the first question.
        self._channel = channel(address, [UnaryClientInterceptor()])
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(self._channel)
        # What is shown afterwards belongs to no request's trace.
        self._quiet_channel = channel(address)
        self._quiet_stub = classifier_pb2_grpc.ClassifierServiceStub(self._quiet_channel)
        self._observe_in_flight = observe_in_flight
        self._showing: set[asyncio.Task[None]] = set()
        self.shed = 0
        """Requests that were to be shown and were not."""
        self._watch = asyncio.create_task(self._keep_table())
        self.has_table = asyncio.Event()
        """Set once a table has come."""

    async def classify(self, seen: Seen, shape: Shape, request_id: bytes, key_name: str) -> Name | None:
        """The classifier's answer; None if there was none within the budget."""
        request = _to_proto(seen, shape, request_id, key_name)
        try:
            answer = await self._stub.Classify(request, timeout=self._budget_s)
        except aio.AioRpcError:
            return None
        # What evidence a later version has is unknown here; that something named the workload is not.
        unknown = Evidence.EXAMPLES if answer.workload else Evidence.ABSTAINED
        return Name(
            answer.workload,
            word(Evidence, answer.evidence, unknown),
            word(TaskType, answer.task_type, TaskType.UNSPECIFIED),
            answer.confidence,
        )

    def observe(self, name: Name, seen: Seen, shape: Shape, request_id: bytes, key_name: str) -> None:
        """Shows the classifier a request that was named without it. Never waits, never fails."""
        if len(self._showing) >= self._observe_in_flight:
            self.shed += 1
            return
        request = classifier_pb2.ObserveRequest(
            workload=name.workload,
            evidence=workload_pb2.Evidence.ValueType(name.evidence),
            request=_to_proto(seen, shape, request_id, key_name),
        )
        task = asyncio.create_task(self._show(request))
        self._showing.add(task)
        task.add_done_callback(self._showing.discard)

    async def close(self) -> None:
        """Stops watching and showing."""
        tasks = [self._watch, *self._showing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()
        await self._quiet_channel.close()

    async def _show(self, request: classifier_pb2.ObserveRequest) -> None:
        try:
            await self._quiet_stub.Observe(request, timeout=OBSERVE_TIMEOUT_S, metadata=untraced())
        except aio.AioRpcError:
            self.shed += 1

    async def _keep_table(self) -> None:
        while True:
            try:
                request = classifier_pb2.WatchWorkloadsRequest(known_version=0)
                async for update in self._stub.WatchWorkloads(
                    request, wait_for_ready=True, metadata=untraced()
                ):
                    try:
                        self.table = from_proto(update)
                    except Exception:
                        # The watch must go on: the next table may be one that can be read.
                        log.exception("what came can't be read; the last table of workloads stays in force")
                        continue
                    self._save(update)
                    self.has_table.set()
                    log.info("%d workloads are registered", len(self.table.workloads))
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    log.warning("the table of workloads is not kept: %s", error.code().name)
            await asyncio.sleep(RECONNECT_S)

    def _load(self) -> Table:
        try:
            return from_proto(classifier_pb2.WatchWorkloadsResponse.FromString(self._file.read_bytes()))
        except FileNotFoundError:
            return EMPTY_TABLE
        except (DecodeError, OSError, ValueError) as error:
            log.warning("the table of workloads on disk can't be read (%s); starting without one", error)
            return EMPTY_TABLE

    def _save(self, update: classifier_pb2.WatchWorkloadsResponse) -> None:
        # Replaced as a whole, so that a crash leaves the old one or the new one.
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_bytes(update.SerializeToString())
            os.replace(fresh, self._file)
        except OSError as error:
            log.warning("the table of workloads can't be kept on disk: %s", error)


def from_proto(update: classifier_pb2.WatchWorkloadsResponse) -> Table:
    """The table as the core reads it."""
    workloads = {
        item.name: Registered(
            word(TaskType, item.task_type, TaskType.UNSPECIFIED), item.data_class, item.version
        )
        for item in update.workloads
    }
    try:
        shapes = ShapeTable(
            (item.name, _shape(mark)) for item in update.workloads for mark in item.fingerprints
        )
    except AmbiguousError as error:
        # The classifier refuses such a table. Names and data classes hold all the same.
        log.error("no request is named by its fixed parts: %s", error)
        shapes = ShapeTable()
    return Table(update.version, workloads, shapes)


def _shape(mark: workload_pb2.Fingerprint) -> Shape:
    return Shape(
        digest=mark.digest,
        masked_digest=mark.masked_digest,
        sketch=tuple(mark.sketch),
        tool_names=tuple(mark.tool_names),
        schema_digest=mark.schema_digest,
        template_head=mark.template_head,
        template_tail=mark.template_tail,
    )


def _to_proto(seen: Seen, shape: Shape, request_id: bytes, key_name: str) -> classifier_pb2.ClassifyRequest:
    return classifier_pb2.ClassifyRequest(
        fingerprint=workload_pb2.Fingerprint(
            digest=shape.digest,
            masked_digest=shape.masked_digest,
            tool_names=shape.tool_names,
            schema_digest=shape.schema_digest,
        ),
        system_prompt=seen.system_prompt,
        turns=seen.turns,
        tool_names=seen.tool_names,
        has_response_schema=seen.has_response_schema,
        input_chars=seen.input_chars,
        request_id=request_id,
        key_name=key_name,
        response_schema=seen.response_schema,
    )
