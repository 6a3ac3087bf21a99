"""How the commands talk to the classifier, and what they say when it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import typer
from homeward.classifier.v1 import classifier_pb2_grpc

from services.classifier.config import Classifier
from services.common.interceptors import STATUS_DETAILS_KEY
from services.common.server import MAX_MESSAGE_BYTES
from services.common.settings import Section, SettingsError, load

TIMEOUT_S = 60.0
"""Longest wait for an answer: a registration reads its examples and trains on those of all workloads."""


class _Address(Section):
    """What a caller must know of the settings."""

    classifier: Classifier = Classifier()


@contextmanager
def classifier(settings: Path) -> Iterator[classifier_pb2_grpc.ClassifierServiceStub]:
    """The classifier that the settings name; what goes wrong inside is told in a line, with exit code 1."""
    try:
        address = load(_Address, "classifier", path=settings, environment=os.environ).classifier.grpc
    except SettingsError as error:
        raise stopped(str(error)) from None
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    with grpc.insecure_channel(address, options) as channel:
        try:
            yield classifier_pb2_grpc.ClassifierServiceStub(channel)
        except grpc.RpcError as error:
            raise stopped(_told(error, address, settings)) from None


def stopped(message: str) -> typer.Exit:
    """Prints why the command can't go on; raise what it gives."""
    typer.echo(message, err=True)
    return typer.Exit(1)


def _told(error: grpc.RpcError, address: str, settings: Path) -> str:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and not _from_homeward(error):
        return (
            f"no classifier answers at {address}; start everything with `make run`, or it alone with"
            f" `python -m services.classifier {settings}`"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return (
            f"the classifier at {address} did not answer within {TIMEOUT_S:.0f} s;"
            " `homeward workload list` tells whether it has done its work since"
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"the classifier at {address} can't do that ({details}); is it of this version?"
    return " ".join(details.split())


def _from_homeward(error: grpc.RpcError) -> bool:
    """True if the service itself says that something of its own is unavailable."""
    return any(item.key == STATUS_DETAILS_KEY for item in error.trailing_metadata() or ())
