"""Asks the ledger for the journal's decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import json_format
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from playbook.report.gathered import Row, iso
from services.common.ids import uuid_text
from services.common.server import MAX_MESSAGE_BYTES
from services.common.stages import OBSERVED, Place
from services.common.words import Stage

CALL_S = 10.0
PAGE_SIZE = 1_000
DECISIONS = 10_000
"""Of the journal that are read at most, the newest."""


def ask_journal(address: str, until: datetime, problems: list[str]) -> list[dict[str, Any]] | None:
    """The journal's before a moment, the oldest first; None if the ledger is away."""
    found: list[dict[str, Any]] = []
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    with grpc.insecure_channel(address, options) as channel:
        stub, token = ledger_pb2_grpc.LedgerServiceStub(channel), ""
        while len(found) < DECISIONS:
            ask = ledger_pb2.ListDecisionsRequest(page_size=PAGE_SIZE, page_token=token)
            try:
                page = stub.ListDecisions(ask, timeout=CALL_S)
            except grpc.RpcError as error:
                problems.append(f"the ledger at {address} does not tell its decisions ({error.code().name})")
                return None
            found += [_decision(item) for item in page.decisions]
            token = page.next_page_token
            if not token:
                break
        else:
            problems.append("of the journal only the newest decisions were read")
    until_iso = iso(until)
    return [row for row in reversed(found) if row["decide_time"] < until_iso]


def _decision(item: ledger_pb2.Decision) -> dict[str, Any]:
    before, after = _place(item.before), _place(item.after)
    moment = item.decide_time.ToDatetime(UTC)
    return {
        "decision_id": item.decision_id,
        "decide_time": iso(moment),
        "actor": item.actor,
        "reason": item.reason,
        "workload": item.workload,
        "before": str(before) if item.HasField("before") else None,
        "to": str(after) if item.HasField("after") else "removed",
        "policy_version": item.policy_version,
        "evidence": json_format.MessageToDict(item.evidence),
        "experiment_id": uuid_text(item.after.sampling.experiment_id)
        if item.after.sampling.experiment_id
        else None,
        "entry_sha256": item.entry_sha256.hex(),
    }


def next_decision(row: Row, decisions: Sequence[Row], until: str) -> str:
    """When the workload was decided about again: what ran at home since is no delay of this rollback."""
    later = (
        other["decide_time"]
        for other in decisions
        if other["workload"] == row["workload"] and other["decision_id"] > row["decision_id"]
    )
    return min(later, default=until)


def _place(row: Any) -> Place:
    return Place(Stage(row.stage), row.sovereign_share_ppm) if row.stage else OBSERVED
