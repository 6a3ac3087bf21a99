"""A service that is told to stop lets its watchers go by itself, and waits for none of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from tests.support.stack import Stack


def watch(name: str, channel: aio.Channel) -> Any:
    if name == "ledger":
        return ledger_pb2_grpc.LedgerServiceStub(channel).WatchPolicy(ledger_pb2.WatchPolicyRequest())
    stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
    return stub.WatchWorkloads(classifier_pb2.WatchWorkloadsRequest())


@pytest.mark.parametrize("name", ["classifier", "ledger"])
async def test_a_watch_ends_without_an_error_when_its_service_stops(tmp_path: Path, name: str) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start("clickhouse", name)
        async with aio.insecure_channel(f"127.0.0.1:{stack.ports[name]}") as channel:
            call = watch(name, channel)
            assert await call.read() is not aio.EOF
            stopping = asyncio.create_task(stack.stop(name))
            # Cut off at the end of the drain it would end with an error.
            assert await call.read() is aio.EOF
            assert (await call.code()).name == "OK"
            assert (await stopping)[name] == 0
