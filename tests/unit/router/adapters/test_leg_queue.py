"""The queue of legs before a ledger that takes or refuses, on a disk that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.outbox import Outbox
from services.router.adapters import leg_queue
from services.router.adapters.leg_queue import LegQueue
from services.router.core.leg import Leg
from tests.support.router_leg import LEG
from tests.support.stack import WAIT_S, until

REFUSED = "refused"


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """Keeps the legs that it is told, but for those of the upstream REFUSED."""

    def __init__(self) -> None:
        self.legs: list[bytes] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def Record(self, request: ledger_pb2.RecordRequest, context: Any) -> ledger_pb2.RecordResponse:
        if any(leg.upstream == REFUSED for leg in request.legs):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such upstream")
        self.legs += [leg.leg_id for leg in request.legs]
        return ledger_pb2.RecordResponse()

    async def has(self, *numbers: int) -> None:
        """Waits until it has just these legs, however often it was told of each."""

        async def there() -> bool:
            return set(self.legs) == {leg_id(number) for number in numbers}

        await until(there, f"the ledger has legs {numbers}")


def leg_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def leg(number: int, upstream: str = "openai") -> Leg:
    return replace(LEG, leg_id=leg_id(number), request_id=leg_id(number), upstream=upstream)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger()
    yield made
    made.stop()


@pytest.fixture
def queue(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LegQueue]:
    monkeypatch.setattr(leg_queue, "RETRY_S", 0.02)
    made = LegQueue(tmp_path, ledger.address, max_in_memory=100, max_on_disk=100)
    yield made
    made.close(WAIT_S)
    assert not made._thread.is_alive()


def failing_once(method: Callable[..., Any], error: Exception, failed: list[Exception]) -> Callable[..., Any]:
    """A method of the outbox that meets a disk error at its first call."""

    def call(outbox: Outbox, *args: Any) -> Any:
        if not failed:
            failed.append(error)
            raise error
        return method(outbox, *args)

    return call


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk full"), sqlite3.DatabaseError("malformed")])
@pytest.mark.parametrize("method", ["put", "next_batch", "acknowledge"])
async def test_legs_are_booked_after_a_disk_error(
    ledger: Ledger, queue: LegQueue, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    failed: list[Exception] = []
    monkeypatch.setattr(Outbox, method, failing_once(getattr(Outbox, method), error, failed))
    queue.add(leg(1))
    await ledger.has(1)
    queue.add(leg(2))
    await ledger.has(1, 2)
    assert failed == [error]
    assert queue._thread.is_alive()
    assert queue.shed == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"model": ["x"]}, id="no text"),
        pytest.param({"model": "\ud800"}, id="no UTF-8"),
        pytest.param({"attempts": -1}, id="no count"),
    ],
)
async def test_a_leg_that_can_not_be_written_holds_up_no_other(
    ledger: Ledger, queue: LegQueue, wrong: dict[str, Any]
) -> None:
    for number in (1, 2, 3):
        queue.add(replace(leg(number), **wrong) if number == 2 else leg(number))
    await ledger.has(1, 3)
    queue.add(leg(4))
    await ledger.has(1, 3, 4)
    assert queue.shed == 1


async def test_a_leg_that_the_ledger_refuses_is_kept_in_a_file_as_soon_as_there_can_be_one(
    ledger: Ledger, queue: LegQueue, tmp_path: Path
) -> None:
    refused = tmp_path / "refused-legs.binpb"
    refused.mkdir()
    queue.add(leg(1))
    queue.add(leg(2, REFUSED))
    await ledger.has(1)

    async def told() -> bool:
        return ledger.legs.count(leg_id(1)) > 1

    # The ledger can tell a leg that comes again; none is let go before all are safe.
    await until(told, "the batch is sent again")
    refused.rmdir()
    queue.add(leg(3))
    await ledger.has(1, 3)

    async def kept() -> bool:
        return refused.is_file() and bool(refused.read_bytes())

    await until(kept, "the refused leg is in its file")
    (only,) = ledger_pb2.RecordRequest.FromString(refused.read_bytes()).legs
    assert (only.leg_id, only.upstream) == (leg_id(2), REFUSED)
