"""The part of homeward.ledger.v1.LedgerService that prices legs again: protos ↔ core."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from google.protobuf import timestamp_pb2
from grpc import aio
from homeward.ledger.v1 import ledger_pb2

from services.common.errors import invalid_request
from services.ledger.core.corrections import Scope
from services.ledger.corrector import Corrector

Context: TypeAlias = aio.ServicerContext[Any, Any]

MAX_UNIX_S = 7_258_118_400
"""2200-01-01: what ClickHouse's DateTime64 can hold, with room."""


class RepriceServicer:
    """Serves Reprice."""

    def __init__(self, corrector: Corrector) -> None:
        self._corrector = corrector

    async def Reprice(
        self, request: ledger_pb2.RepriceRequest, context: Context
    ) -> ledger_pb2.RepriceResponse:
        """Prices booked legs again."""
        if len(request.request_id) != 16:
            raise invalid_request("request_id", "16 bytes", f"{len(request.request_id)} bytes")
        if not request.actor:
            raise invalid_request("actor", "some text", "nothing")
        scope = Scope(
            start_us=_us("start_time", request.start_time, request.HasField("start_time")),
            end_us=_us("end_time", request.end_time, request.HasField("end_time")),
            provider=request.provider,
            model=request.model,
            unknown_only=request.unknown_only,
        )
        if scope.end_us <= scope.start_us:
            raise invalid_request("end_time", "after start_time", request.end_time.ToJsonString())
        done = await asyncio.to_thread(
            self._corrector.reprice, scope, request.request_id, request.actor, request.validate_only
        )
        return ledger_pb2.RepriceResponse(
            entry_id=done.entry_id,
            leg_count=done.leg_count,
            found_count=done.found_count,
            unknown_count=done.unknown_count,
            difference_nanos=done.difference_nanos,
        )


def _us(field: str, value: timestamp_pb2.Timestamp, given: bool) -> int:
    if not given:
        raise invalid_request(field, "a time", "nothing")
    if not 0 <= value.seconds <= MAX_UNIX_S or not 0 <= value.nanos < 10**9:
        raise invalid_request(field, "a time from 1970 to 2200", str(value.seconds))
    return value.ToMicroseconds()
