"""Looks through unnamed traffic for workloads that nobody has registered."""

from __future__ import annotations

from services.classifier.adapters.spend import Spend
from services.classifier.adapters.traffic_store import TrafficStore
from services.classifier.core.discovery import Found, discover
from services.classifier.core.traffic import still_unnamed
from services.classifier.registrar import Known


class Scout:
    """Puts the remembered traffic and what it cost together."""

    def __init__(self, traffic: TrafficStore, spend: Spend) -> None:
        self._traffic = traffic
        self._spend = spend

    def discover(self, known: Known, max_proposals: int) -> list[Found]:
        """Proposals, the largest share of spend first. Takes seconds; call it in a thread."""
        examples = {name: [item.embedding for item in group] for name, group in known.groups.items()}
        requests = still_unnamed(self._traffic.recent(), known.registry.shapes, examples)
        costs = self._spend.cost_nanos([item.request_id for item in requests if item.request_id])
        return discover(requests, costs or {}, known.names, max_proposals)
