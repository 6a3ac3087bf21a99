"""How the commands talk to the ledger, and what they say when it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import typer
from homeward.ledger.v1 import ledger_pb2_grpc

from playbook.classifier_client import stopped
from services.common.interceptors import STATUS_DETAILS_KEY
from services.common.settings import Section, SettingsError, load
from services.ledger.config import Ledger


class _Address(Section):
    """What a caller must know of the settings."""

    ledger: Ledger = Ledger()


@contextmanager
def ledger(settings: Path) -> Iterator[ledger_pb2_grpc.LedgerServiceStub]:
    """The ledger that the settings name; what goes wrong inside is told in a line, with exit code 1."""
    try:
        address = load(_Address, "ledger", path=settings, environment=os.environ).ledger.grpc
    except SettingsError as error:
        raise stopped(str(error)) from None
    with grpc.insecure_channel(address) as channel:
        try:
            yield ledger_pb2_grpc.LedgerServiceStub(channel)
        except grpc.RpcError as error:
            raise _stopped(error, address, settings) from None


def _stopped(error: grpc.RpcError, address: str, settings: Path) -> typer.Exit:
    code, details = error.code(), " ".join((error.details() or "").split())
    from_homeward = any(item.key == STATUS_DETAILS_KEY for item in error.trailing_metadata() or ())
    if code is grpc.StatusCode.UNAVAILABLE and not from_homeward:
        return stopped(
            f"no ledger answers at {address}; start everything with `make run`, or it alone with"
            f" `python -m services.ledger {settings}`"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return stopped(f"the ledger at {address} is still at it; look again later, nothing is booked twice")
    return stopped(details)
