"""Asks shadow for the examples of disagreement that a document shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from playbook.disagreements import document
from playbook.report.examples import chosen, deleted_since
from services.common.server import MAX_MESSAGE_BYTES

CALL_S = 10.0
PAGE_SIZE = 100


def ask_examples(
    address: str,
    key: str,
    workloads: Sequence[str],
    period: tuple[datetime, datetime],
    problems: list[str],
    *,
    expected: bool = True,
) -> dict[str, Any] | None:
    """The examples of each workload; None if shadow does not tell them.

    Args:
        address: shadow's.
        key: of who asks; empty for none.
        workloads: whose.
        period: of the document.
        problems: takes why they are not told, and which have no texts any more.
        expected: whether there may be any; if not, that they are not told is no problem.
    """
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    found = {}
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]) as channel:
        stub = shadow_pb2_grpc.ShadowServiceStub(channel)
        for name in workloads:
            try:
                kept = list(_kept(stub, name, metadata))
            except grpc.RpcError as error:
                if expected:
                    problems.append(
                        f"shadow at {address} does not tell examples of disagreement ({error.code().name});"
                        " the key that asks needs the scope `experiments`"
                    )
                return None
            found[name] = chosen(kept, *period)
            problems += filter(None, map(deleted_since, found[name]))
    return found


def _kept(
    stub: shadow_pb2_grpc.ShadowServiceStub, workload: str, metadata: tuple[tuple[str, str], ...]
) -> Iterator[dict[str, Any]]:
    """All that ever were, the lowest D first."""
    token = ""
    while True:
        ask = shadow_pb2.ListExamplesRequest(
            workload=workload, page_size=PAGE_SIZE, page_token=token, with_deleted=True
        )
        page = stub.ListExamples(ask, timeout=CALL_S, metadata=metadata)
        yield from map(document, page.examples)
        token = page.next_page_token
        if not token:
            return
