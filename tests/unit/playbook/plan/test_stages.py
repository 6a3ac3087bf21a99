"""Where workloads stand, as a ledger tells it or does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from playbook.plan.stages import Stages, read_stages, stages_of
from services.common.stages import CANARIES, HOME, OBSERVED, ROLLED_BACK, SHADOWED, Place
from services.common.words import Stage


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """Tells one policy, and then nothing, as one that nobody changes."""

    def WatchPolicy(self, request: Any, context: Any) -> Iterator[ledger_pb2.WatchPolicyResponse]:
        rows = [
            policy_pb2.WorkloadPolicy(workload=stage.name, stage=policy_pb2.Stage.ValueType(stage))
            for stage in Stage
        ]
        yield ledger_pb2.WatchPolicyResponse(policy=policy_pb2.Policy(workloads=rows))
        over = threading.Event()
        context.add_callback(over.set)
        over.wait()


def test_the_policy_that_is_in_force_is_asked() -> None:
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(Ledger(), server)  # type: ignore[abstract]  # asked for nothing else
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            assert read_stages(address) == Stages({stage.name: stage for stage in Stage})
        finally:
            server.stop(None).wait()
    away = read_stages(address)
    assert away.by_workload == {}
    assert away.problem == f"The ledger at {address} does not tell where workloads stand"


@pytest.mark.parametrize(
    ("place", "begins"),
    [
        (OBSERVED, "inventory"),
        (SHADOWED, "shadow"),
        (CANARIES[0], "cutover"),
        (CANARIES[-1], "cutover"),
        (HOME, "report"),
        (ROLLED_BACK, "shadow"),
    ],
    ids=str,
)
def test_each_place_of_the_journal_is_in_a_phase(place: Place, begins: str) -> None:
    found = stages_of([{"workload": "w", "to": str(OBSERVED)}, {"workload": "w", "to": str(place)}])
    assert found.begins("w") == begins
    assert found.begins("nobody") == "inventory"


def test_what_was_removed_stands_nowhere() -> None:
    rows = [{"workload": "w", "to": str(HOME)}, {"workload": "w", "to": "removed"}]
    assert stages_of(rows).by_workload == {}
