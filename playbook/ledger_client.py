"""How the commands talk to the ledger, and what they say when it does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from homeward.ledger.v1 import ledger_pb2_grpc

from playbook.configured import Places, configured
from playbook.refused import refused


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
