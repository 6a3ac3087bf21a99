"""Finished legs on their way to the ledger: memory, then disk, then the ledger, none of it on the path.

`add` is all that a request sees: an append to a bounded list. A thread of its own makes the legs durable
in the router's outbox, many in one commit, and sends them to the ledger, whose answer lets them go. The
thread takes no part in the event loop, so neither a slow disk nor a slow ledger delays an answer.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc
from homeward.common.v1 import leg_pb2, usage_pb2, workload_pb2
from homeward.ledger.v1 import ledger_pb2

from services.common.interceptors import untraced
from services.common.outbox import Batch, Outbox, OutboxFullError
from services.common.server import MAX_MESSAGE_BYTES
from services.router.core.leg import Leg
from services.router.core.usage import Usage

log = logging.getLogger(__name__)

FLUSH_S = 0.05
"""How long a leg waits in memory for others, so that one commit takes many. What a crash of the router
can lose, and the pace of its commits."""
BATCH_LEGS = 2_000
"""Legs in one call of the ledger: about 600 KB."""
RETRY_S = 0.5
"""Pause after the ledger or the disk has failed."""
RECORD_TIMEOUT_S = 10.0
"""Deadline of one call of the ledger."""


_RECORD = f"/{ledger_pb2.DESCRIPTOR.services_by_name['LedgerService'].full_name}/Record"
_LEGS_TAG = b"\x0a"
"""Field 1, length-delimited."""


class LegQueue:
    """The queue of one router process."""

    def __init__(self, state_dir: Path, ledger: str, *, max_in_memory: int, max_on_disk: int) -> None:
        """Opens the queue on disk and goes on with what waits there.

        Raises:
            sqlite3.OperationalError: the file can't be opened.
        """
        self._outbox = Outbox(
            state_dir / "legs.sqlite",
            max_rows=max_on_disk,
            remember_s=0,
            outbox_id=os.urandom(16),
        )
        self._refused = state_dir / "refused-legs.binpb"
        self._ledger = ledger
        self._max_in_memory = max_in_memory
        self._memory: list[Leg] = []
        self._wake = threading.Event()
        self._stopping = False
        self.shed = 0
        """Legs that were lost: memory and disk were full, or they could not be written."""
        self._reported = 0
        self._retry_at = 0.0
        self._held_up = False
        self._thread = threading.Thread(target=self._run, name="legs", daemon=True)
        self._thread.start()

    def add(self, leg: Leg) -> None:
        """Takes a leg; never blocks, never fails."""
        if len(self._memory) >= self._max_in_memory:
            if not self.shed:
                log.error("legs are shed: the queue on disk does not take them")
            self.shed += 1
            return
        self._memory.append(leg)
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Makes everything durable, gives the ledger a last chance, and stops the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with grpc.insecure_channel(
            self._ledger,
            options=[
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                # Back within seconds of the ledger's return; gRPC's own pauses grow to two minutes.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 2000),
            ],
        ) as channel:
            # The queue has legs as bytes, and a batch of them is their bytes in a row.
            record: Callable[..., ledger_pb2.RecordResponse] = channel.unary_unary(
                _RECORD, response_deserializer=ledger_pb2.RecordResponse.FromString
            )
            while True:
                idle = not self._memory and (not self._outbox.waiting or time.monotonic() < self._retry_at)
                if idle and self._stopping:
                    break
                if idle:
                    self._wake.wait(RETRY_S if self._outbox.waiting else None)
                self._wake.clear()
                if not self._stopping:
                    time.sleep(FLUSH_S)
                if self._flush() and time.monotonic() >= self._retry_at:
                    self._ship(record)
        self._outbox.close()

    def _flush(self) -> bool:
        rows = self._rows()
        if not rows:
            return True
        count = len(rows)
        try:
            self._outbox.put(rows, int(time.monotonic()))
        except (OutboxFullError, sqlite3.Error) as error:
            log.error("legs wait in memory: %s", error)
            if self._stopping:
                self.shed += count
                log.error("%d legs are lost", count)
                del self._memory[:count]
            time.sleep(RETRY_S)
            # A full outbox drains only if legs are sent on.
            return isinstance(error, OutboxFullError)
        del self._memory[:count]
        if self.shed > self._reported:
            log.error("%d legs were shed", self.shed - self._reported)
            self._reported = self.shed
        return True

    def _rows(self) -> list[tuple[bytes, bytes]]:
        """The legs in memory, serialised. One that can't be is taken out, so that it holds up no other."""
        rows: list[tuple[bytes, bytes]] = []
        wrong: list[int] = []
        for index, leg in enumerate(self._memory[:]):
            try:
                rows.append((leg.leg_id, to_proto(leg).SerializeToString()))
            except (TypeError, ValueError):
                log.exception("a leg can't be written", extra={"trace_id": leg.trace_id.hex()})
                wrong.append(index)
        for index in reversed(wrong):
            del self._memory[index]
        self.shed += len(wrong)
        return rows

    def _ship(self, record: Callable[..., ledger_pb2.RecordResponse]) -> None:
        try:
            batch = self._outbox.next_batch(BATCH_LEGS)
            if batch is None:
                return
            self._send(record, batch)
            self._outbox.acknowledge(batch.number, int(time.monotonic()))
        # A thread that ended would book nothing until the next start.
        except (grpc.RpcError, sqlite3.Error, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            if not self._held_up:
                self._held_up = True
                log.warning("legs do not reach the ledger (%s); they wait on disk", _code(error) or error)
            return
        if self._held_up:
            self._held_up = False
            log.info("legs reach the ledger again; %d wait", self._outbox.waiting)

    def _send(self, record: Callable[..., ledger_pb2.RecordResponse], batch: Batch) -> None:
        try:
            record(record_request(batch.payloads), timeout=RECORD_TIMEOUT_S, metadata=untraced())
            return
        except grpc.RpcError as error:
            if _code(error) is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
        # One leg that the ledger refuses must not hold up all those behind it. It is kept in a file.
        for payload in batch.payloads:
            try:
                record(record_request([payload]), timeout=RECORD_TIMEOUT_S, metadata=untraced())
            except grpc.RpcError as error:
                if _code(error) is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                with self._refused.open("ab") as file:
                    file.write(record_request([payload]))
                log.error("the ledger refuses a leg (%s); it is kept in %s", error, self._refused)


def _code(error: Exception) -> grpc.StatusCode | None:
    # The errors that a stub raises are calls too, which their type does not say.
    code = getattr(error, "code", None)
    return code() if callable(code) else None


def record_request(legs: Iterable[bytes]) -> bytes:
    """A serialised RecordRequest of serialised legs: each is field 1, its length before it."""
    pieces: list[bytes] = []
    for leg in legs:
        pieces += (_LEGS_TAG, _varint(len(leg)), leg)
    return b"".join(pieces)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def to_proto(leg: Leg) -> leg_pb2.Leg:
    """The leg as the ledger's contract wants it."""
    message = leg_pb2.Leg(
        leg_id=leg.leg_id,
        request_id=leg.request_id,
        trace_id=leg.trace_id,
        span_id=leg.span_id,
        trace_sampled=leg.trace_sampled,
        workload=leg.workload,
        evidence=workload_pb2.Evidence.ValueType(leg.evidence),
        task_type=workload_pb2.TaskType.ValueType(leg.task_type),
        key_name=leg.key_name,
        purpose=leg_pb2.Purpose.ValueType(leg.purpose),
        target=leg_pb2.Target.ValueType(leg.target),
        upstream=leg.upstream,
        provider=leg.provider,
        region=leg.region,
        model_requested=leg.model_requested,
        model=leg.model,
        api=leg.api,
        streamed=leg.streamed,
        usage=usage_to_proto(leg.usage),
        latency_us=leg.latency_us,
        ttft_us=leg.ttft_us,
        outcome=leg_pb2.Outcome.ValueType(leg.outcome),
        http_status=leg.http_status,
        error_reason=leg.error_reason,
        attempts=leg.attempts,
        policy_version=leg.policy_version,
        sample_id=leg.sample_id,
    )
    message.start_time.FromNanoseconds(leg.start_unix_ns)
    return message


def usage_to_proto(usage: Usage) -> usage_pb2.Usage:
    """Token counts; what is None stays absent."""
    return usage_pb2.Usage(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        source=usage_pb2.UsageSource.ValueType(usage.source),
    )
