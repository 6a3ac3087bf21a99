"""How the commands talk to the ledger, and what they say when it does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from playbook.configured import Places, configured
from playbook.refused import refused
from services.common.server import MAX_MESSAGE_BYTES

POLICY_TIMEOUT_S = 3.0
"""Longest wait for the policy, which commands can do without."""


def read_policy(address: str) -> policy_pb2.Policy | None:
    """The policy that is in force; None if the ledger does not tell."""
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    with grpc.insecure_channel(address, options) as channel:
        watch = ledger_pb2_grpc.LedgerServiceStub(channel).WatchPolicy(
            ledger_pb2.WatchPolicyRequest(), timeout=POLICY_TIMEOUT_S
        )
        try:
            return next(iter(watch)).policy
        except (grpc.RpcError, StopIteration):
            return None
        finally:
            watch.cancel()


@contextmanager
def ledger(settings: Path) -> Iterator[ledger_pb2_grpc.LedgerServiceStub]:
    """The ledger that the settings name; what goes wrong inside is told, with exit code 1."""
    address = configured(Places, settings).ledger.grpc
    with grpc.insecure_channel(address) as channel:
        try:
            yield ledger_pb2_grpc.LedgerServiceStub(channel)
        except grpc.RpcError as error:
            late = "look again later: it is still at it, and nothing is booked twice."
            raise refused(error, "ledger", address, settings, late) from None
