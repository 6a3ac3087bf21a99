"""The names that a user may mean: workloads and data classes, of the settings and as services know them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import grpc
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc

from playbook.configured import Places
from services.common.settings import SettingsError, parse, read_document

DEADLINE_S = 0.3
"""Longest wait for the classifier: a name that is missing is better than a user who waits for a list."""


def workloads(settings: Path, deadline_s: float = DEADLINE_S) -> list[str]:
    """Names of registered workloads, as far as settings and classifier tell within the deadline."""
    try:
        document = read_document(settings, os.environ)
        there = {key: document[key] for key in Places.model_fields if key in document}
        address = parse(Places, there, settings).classifier.grpc
    except SettingsError:
        return []
    found = set(_table(document.get("workloads")))
    with grpc.insecure_channel(address) as channel:
        try:
            answer = classifier_pb2_grpc.ClassifierServiceStub(channel).ListWorkloads(
                classifier_pb2.ListWorkloadsRequest(), timeout=deadline_s
            )
        except grpc.RpcError:
            return sorted(found)
    return sorted(found | {item.name for item in answer.workloads})


def data_classes(settings: Path) -> list[str]:
    """Names of data classes, `unrestricted` too."""
    try:
        return sorted({*_table(read_document(settings, os.environ).get("data_classes")), "unrestricted"})
    except SettingsError:
        return []


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean triage?`, or nothing if no name is like it."""
    names = list(known)
    near = [] if name in names else get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _table(found: object) -> list[str]:
    return list(found) if isinstance(found, dict) else []
