"""What the evidence of a move home must say. Pure.

The ledger does not compute verdicts. It makes sure that each move names what was computed, so that an auditor
can compute it again: which experiment, up to which window, from which votes, with which result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.common.errors import invalid_request
from services.common.sampling import Sampling

READY = "READY"
"""The only verdict that moves a workload on."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_ready(evidence: Mapping[str, Any], sampling: Sampling) -> None:
    """Makes sure that the evidence is a READY of the experiment whose samples the row takes.

    Raises:
        DomainError: INVALID_REQUEST; it names the field that is missing or says something else.
    """
    experiment_id = sampling.experiment_id.hex()
    rules: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("verdict", lambda value: value == READY, READY),
        ("experiment_id", lambda value: value == experiment_id, experiment_id),
        ("epoch", lambda value: _is_number(value) and value == sampling.epoch, str(sampling.epoch)),
        ("window_start", _is_time, "a time (RFC 3339)"),
        (
            "histogram_sha256",
            lambda value: isinstance(value, str) and _SHA256.fullmatch(value) is not None,
            "64 hexadecimal digits",
        ),
        ("log_k", _is_number, "a number"),
        ("lower_bound", _is_number, "a number"),
    )
    for name, holds, expected in rules:
        if name not in evidence:
            raise invalid_request(f"evidence.{name}", expected, "missing")
        if not holds(evidence[name]):
            raise invalid_request(f"evidence.{name}", expected, repr(evidence[name]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
