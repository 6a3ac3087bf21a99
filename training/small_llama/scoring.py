"""Right or wrong, valid or not, and how sure a share is."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema_rs

from training.small_llama.dialogue import Form
from training.small_llama.workloads import Workload


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927).

    Args:
        right: successes.
        count: tries.
        z: the normal quantile.
    """
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


class Judge:
    """Says whether an answer is valid, and which label it names."""

    def __init__(self, workload: Workload, form: Form) -> None:
        self._workload, self._form = workload, form
        self._schema = jsonschema_rs.validator_for(workload.schema)

    def label(self, text: str) -> str | None:
        """The label of a valid answer; None for no JSON, no call of the tool, or a break of the schema."""
        try:
            value: Any = json.loads(text)
        except ValueError:
            return None
        if self._form == "tool":
            tool = self._workload.prompts["tool"]["tools"][0]["function"]["name"]
            if not isinstance(value, dict) or set(value) != {"name", "parameters"} or value["name"] != tool:
                return None
            value = value["parameters"]
        return str(value[self._workload.key]) if self._schema.is_valid(value) else None
