"""What a process tells of itself, over a real connection."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from homeward.common.v1 import info_pb2, info_pb2_grpc

from services.common.errors import DomainError, Reason
from services.common.info import About, InfoServicer, contract_sha256, outbox_queue, package_version
from services.common.outbox import Outbox
from services.common.server import INFO_SERVICE, Server


@asynccontextmanager
async def asking(servicer: InfoServicer) -> AsyncIterator[aio.Channel]:
    """A channel to a server that tells of itself."""
    server = Server(info=servicer)
    port = await server.start("127.0.0.1:0")
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop()


async def told(channel: aio.Channel, secret: str = "") -> info_pb2.GetServerInfoResponse:
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    answer: info_pb2.GetServerInfoResponse = await info_pb2_grpc.InfoServiceStub(channel).GetServerInfo(
        info_pb2.GetServerInfoRequest(), metadata=metadata
    )
    return answer


async def test_a_process_tells_what_it_is_and_how_full(tmp_path: Path) -> None:
    about = About(
        "ledger",
        index=3,
        folders={"ledger.state_dir": tmp_path, "gone": tmp_path / "gone"},
        queues=lambda: [info_pb2.Queue(name="legs", waiting_count=0, capacity_count=5)],
        policy=lambda: (7, 30),
        journal=lambda: info_pb2.JournalInfo(entry_id=9),
        newest_migration="0007_shadow",
    )
    before_ns = time.time_ns()
    async with asking(InfoServicer(about)) as channel:
        answer = await told(channel)
        health = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=INFO_SERVICE)
        )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert (answer.service, answer.index, answer.version) == ("ledger", 3, package_version())
    assert answer.contract_sha256 == contract_sha256()
    assert before_ns <= answer.start_time.ToNanoseconds() <= answer.answer_time.ToNanoseconds()
    assert answer.answer_time.ToNanoseconds() <= time.time_ns()
    here, gone = answer.folders
    assert here.path == str(tmp_path)
    assert 0 < here.free_bytes <= here.total_bytes
    assert gone.problem
    assert (answer.queues[0].waiting_count, answer.policy.version, answer.policy.age_s) == (0, 7, 30)
    assert (answer.journal.entry_id, answer.newest_migration) == (9, "0007_shadow")


async def test_a_stranger_is_told_nothing_and_a_key_without_a_scope_no_folders(tmp_path: Path) -> None:
    def authorize(secret: str) -> bool:
        if secret not in ("app", "operator"):
            raise DomainError(Reason.KEY_INVALID, "unknown API key")
        return secret == "operator"

    about = About("router", folders={"router.state_dir": tmp_path}, queues=lambda: [info_pb2.Queue(name="q")])
    async with asking(InfoServicer(about, authorize)) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await told(channel, "stranger")
        app, operator = await told(channel, "app"), await told(channel, "operator")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert app.restricted
    assert (list(app.folders), list(app.queues)) == ([], [])
    assert app.version == operator.version
    assert not operator.restricted
    assert (len(operator.folders), len(operator.queues)) == (1, 1)


def test_an_outbox_is_counted_while_its_owner_has_it(tmp_path: Path) -> None:
    file = tmp_path / "legs?#.sqlite"
    outbox = Outbox(file, max_rows=10, remember_s=0, outbox_id=os.urandom(16))
    outbox.put([(bytes([number]) * 16, b"leg") for number in range(3)], 0)
    queue = outbox_queue("legs", file, 10, 2)
    outbox.close()
    assert (queue.waiting_count, queue.capacity_count, queue.lost_count) == (3, 10, 2)


def test_of_an_outbox_that_is_not_there_nothing_is_known(tmp_path: Path) -> None:
    queue = outbox_queue("legs", tmp_path / "none.sqlite", 10)
    assert not queue.HasField("waiting_count")
    assert not (tmp_path / "none.sqlite").exists()


def test_every_process_has_the_same_contract() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from services.common.info import *; print(contract_sha256().hex())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == contract_sha256().hex()
