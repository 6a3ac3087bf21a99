"""Micro-batches: what waits goes together, what is late or too much is told so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from services.classifier.adapters.batcher import Batcher
from services.classifier.core.reading import Reading
from services.common.errors import DomainError, Reason
from services.common.seen import Seen


def reading(seen: Seen) -> Reading:
    """A reading that tells which request it is of."""
    one = np.ones(1, np.float32)
    return Reading(one * seen.input_chars, np.zeros(1, np.int32), one, np.zeros(10, np.float32), True)


class Model:
    """Reads when it is let, and remembers what came together."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.began = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.failing = False

    def read(self, requests: Sequence[Seen]) -> list[Reading]:
        self.batches.append([seen.input_chars for seen in requests])
        self.began.release()
        self.open.wait()
        if self.failing:
            raise RuntimeError("the model broke")
        return [reading(seen) for seen in requests]


def numbered(number: int) -> Seen:
    return Seen(input_chars=number)


async def test_what_comes_while_the_model_is_busy_is_read_together_and_each_gets_its_own() -> None:
    model = Model()
    batcher = Batcher(model.read, workers=1, batch_requests=3, queue_requests=100)
    first = asyncio.create_task(batcher.read(numbered(0), None))
    await asyncio.to_thread(model.began.acquire)
    rest = [asyncio.create_task(batcher.read(numbered(number), None)) for number in range(1, 6)]
    await asyncio.sleep(0)
    model.open.set()
    readings = [await task for task in (first, *rest)]
    assert [item.embedding[0] for item in readings] == [0, 1, 2, 3, 4, 5]
    assert model.batches == [[0], [1, 2, 3], [4, 5]]
    await batcher.close()


async def test_a_full_queue_refuses_with_what_to_do() -> None:
    model = Model()
    batcher = Batcher(model.read, workers=1, batch_requests=1, queue_requests=2)
    tasks = [asyncio.create_task(batcher.read(numbered(0), None))]
    await asyncio.to_thread(model.began.acquire)
    tasks += [asyncio.create_task(batcher.read(numbered(number), None)) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(DomainError) as refused:
        await batcher.read(numbered(3), None)
    assert refused.value.reason is Reason.QUEUE_FULL
    assert batcher.refused == 1
    model.open.set()
    await asyncio.gather(*tasks)
    await batcher.close()


@pytest.mark.parametrize("given_up", ["expired", "cancelled"])
async def test_what_nobody_waits_for_any_more_costs_the_model_nothing(given_up: str) -> None:
    model = Model()
    batcher = Batcher(model.read, workers=1, batch_requests=8, queue_requests=100)
    first = asyncio.create_task(batcher.read(numbered(0), None))
    await asyncio.to_thread(model.began.acquire)
    late = asyncio.create_task(batcher.read(numbered(1), -1.0 if given_up == "expired" else None))
    last = asyncio.create_task(batcher.read(numbered(2), None))
    await asyncio.sleep(0)
    if given_up == "cancelled":
        late.cancel()
    model.open.set()
    await asyncio.gather(first, last)
    with pytest.raises(TimeoutError if given_up == "expired" else asyncio.CancelledError):
        await late
    assert model.batches == [[0], [2]]
    assert batcher.late == 1
    await batcher.close()


async def test_a_model_that_breaks_fails_its_batch_and_goes_on() -> None:
    model = Model()
    model.open.set()
    model.failing = True
    batcher = Batcher(model.read, workers=1, batch_requests=8, queue_requests=100)
    with pytest.raises(RuntimeError, match="the model broke"):
        await batcher.read(numbered(1), None)
    model.failing = False
    assert (await batcher.read(numbered(2), None)).embedding[0] == 2
    await batcher.close()


async def test_several_workers_read_at_once() -> None:
    model = Model()
    batcher = Batcher(model.read, workers=2, batch_requests=1, queue_requests=100)
    tasks = [asyncio.create_task(batcher.read(numbered(number), None)) for number in (1, 2)]
    for _ in tasks:
        await asyncio.to_thread(model.began.acquire)
    assert sorted(model.batches) == [[1], [2]]
    model.open.set()
    await asyncio.gather(*tasks)
    await batcher.close()


async def test_closing_cancels_who_waits() -> None:
    model = Model()
    batcher = Batcher(model.read, workers=1, batch_requests=1, queue_requests=100)
    first = asyncio.create_task(batcher.read(numbered(0), None))
    await asyncio.to_thread(model.began.acquire)
    waiting = asyncio.create_task(batcher.read(numbered(1), None))
    await asyncio.sleep(0)
    model.open.set()
    await batcher.close()
    results = await asyncio.gather(first, waiting, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
