"""How the commands talk to the classifier, and what they say when it does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2

from playbook.configured import Places, configured
from playbook.refused import refused
from services.common.server import MAX_MESSAGE_BYTES

TIMEOUT_S = 60.0
"""Longest wait for an answer: a registration reads its examples and trains on those of all workloads."""


_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]


def list_workloads(address: str, timeout_s: float) -> Sequence[workload_pb2.Workload]:
    """What is registered.

    Raises:
        grpc.RpcError: the classifier does not tell; commands can do without.
    """
    with grpc.insecure_channel(address, _OPTIONS) as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        return stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest(), timeout=timeout_s).workloads


@contextmanager
def classifier(settings: Path) -> Iterator[classifier_pb2_grpc.ClassifierServiceStub]:
    """The classifier that the settings name; what goes wrong inside is told, with exit code 1."""
    address = configured(Places, settings).classifier.grpc
    with grpc.insecure_channel(address, _OPTIONS) as channel:
        try:
            yield classifier_pb2_grpc.ClassifierServiceStub(channel)
        except grpc.RpcError as error:
            late = "`homeward workload list` tells whether it has done its work since."
            raise refused(error, "classifier", address, settings, late) from None
