"""homeward.ledger.v1.LedgerService: protos ↔ core."""

from __future__ import annotations

from typing import Any, TypeAlias

from grpc import aio
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from services.common.errors import DomainError, invalid_request
from services.common.telemetry import attributes as names
from services.ledger.adapters.journal.decisions import Decisions
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.reservations import Reservations
from services.ledger.adapters.spool import Spool
from services.ledger.budget_servicer import BudgetServicer
from services.ledger.corrector import Corrector
from services.ledger.leg_check import check
from services.ledger.policy_servicer import PolicyServicer
from services.ledger.reprice_servicer import RepriceServicer

Context: TypeAlias = aio.ServicerContext[Any, Any]

MAX_LEGS = 10_000
"""Legs in one call, as the contract says."""


class LedgerServicer(PolicyServicer, BudgetServicer, RepriceServicer, ledger_pb2_grpc.LedgerServiceServicer):
    """Serves the book."""

    def __init__(
        self,
        spool: Spool,
        decisions: Decisions,
        reservations: Reservations,
        prices: PriceList,
        corrector: Corrector,
    ) -> None:
        PolicyServicer.__init__(self, decisions)
        BudgetServicer.__init__(self, reservations, prices)
        RepriceServicer.__init__(self, corrector)
        self._spool = spool
        self._tracer = trace.get_tracer("homeward.ledger")

    async def Record(self, request: ledger_pb2.RecordRequest, context: Context) -> ledger_pb2.RecordResponse:
        """Books legs."""
        if len(request.legs) > MAX_LEGS:
            raise invalid_request("legs", f"at most {MAX_LEGS}", str(len(request.legs)))
        for index, leg in enumerate(request.legs):
            check(leg, index)
        spans = [self._start_span(leg) for leg in request.legs if leg.trace_sampled]
        try:
            done = await self._spool.put(request.legs)
        except DomainError as error:
            for span in spans:
                span.set_status(StatusCode.ERROR, error.message)
            raise
        finally:
            for span in spans:
                span.end()
        return ledger_pb2.RecordResponse(booked_count=done.new, duplicate_count=done.duplicate)

    def _start_span(self, leg: leg_pb2.Leg) -> Span:
        parent = SpanContext(
            trace_id=int.from_bytes(leg.trace_id, "big"),
            span_id=int.from_bytes(leg.span_id, "big"),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        return self._tracer.start_span(
            "book leg",
            context=trace.set_span_in_context(NonRecordingSpan(parent)),
            kind=SpanKind.CONSUMER,
            attributes={names.LEG_ID: leg.leg_id.hex(), names.WORKLOAD: leg.workload},
        )
