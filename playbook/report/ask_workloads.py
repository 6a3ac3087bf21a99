"""Asks the classifier for the workloads that were registered without a section in the settings."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import grpc

from playbook.classifier_client import list_workloads
from services.common.words import QualitySensitivity, TaskType, label

CALL_S = 10.0
NOTHING: Mapping[str, list[str]] = {"targets": [], "regions": []}
"""What a data class allows that the settings do not have: the router refuses its requests."""


def ask_workloads(
    address: str,
    in_settings: Container[str],
    allowed: Mapping[str, Mapping[str, list[str]]],
    problems: list[str],
) -> dict[str, dict[str, Any]] | None:
    """Those workloads by name, told as those of the settings are; None if the classifier is away.

    Args:
        address: the classifier's.
        in_settings: names that are left out, as the settings say what they are.
        allowed: targets and regions of each data class.
        problems: takes why they are not told.
    """
    try:
        workloads = list_workloads(address, CALL_S)
    except grpc.RpcError as error:
        problems.append(
            f"the classifier at {address} does not tell which workloads were registered ({error.code().name})"
        )
        return None
    found = {}
    for item in workloads:
        if item.name in in_settings:
            continue
        data_class = item.data_class or "unrestricted"
        found[item.name] = {
            "owner": item.owner,
            "description": item.description,
            "task_type": label(TaskType(item.task_type)),
            "data_class": data_class,
            "quality_sensitivity": label(QualitySensitivity(item.quality_sensitivity)),
            "allowed": dict(allowed.get(data_class, NOTHING)),
            "cutover": {},
            "personal_data": None,
        }
    return found
