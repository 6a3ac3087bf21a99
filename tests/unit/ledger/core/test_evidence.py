"""A move home rests on a READY that says which experiment, which votes and which result; nothing less."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import DomainError, Reason
from services.common.sampling import Sampling
from services.ledger.core.evidence import check_ready

SAMPLING = Sampling(bytes.fromhex("ab" * 16), 2, 50_000, b"s" * 16)
READY = {
    "verdict": "READY",
    "experiment_id": "ab" * 16,
    "epoch": 2.0,  # numbers of a Struct are floats
    "window_start": "2026-11-29T00:00:00Z",
    "histogram_sha256": "5e" * 32,
    "log_k": 3.25,
    "lower_bound": -0.01,
}


def test_a_ready_of_the_row_s_experiment_will_do_whatever_else_it_tells() -> None:
    check_ready(READY, SAMPLING)
    check_ready(
        {**READY, "votes": 400, "approved_by": "ops", "window_start": "2026-11-29T01:00:00+01:00"}, SAMPLING
    )


@pytest.mark.parametrize("name", READY)
def test_what_is_missing_is_named(name: str) -> None:
    evidence = {key: value for key, value in READY.items() if key != name}
    with pytest.raises(DomainError) as refused:
        check_ready(evidence, SAMPLING)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert (refused.value.metadata["field"], refused.value.metadata["got"]) == (f"evidence.{name}", "missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "COLLECTING"),
        ("verdict", "REJECTED"),
        ("verdict", "ready"),
        ("verdict", True),
        ("experiment_id", "cd" * 16),
        ("experiment_id", ""),
        ("epoch", 1),
        ("epoch", "2"),
        ("epoch", None),
        ("window_start", "yesterday"),
        ("window_start", "2026-11-29T00:00:00"),
        ("window_start", 1_790_000_000),
        ("histogram_sha256", "5e" * 31),
        ("histogram_sha256", "xy" * 32),
        ("histogram_sha256", ["5e" * 32]),
        ("log_k", "3.25"),
        ("log_k", True),
        ("log_k", float("inf")),
        ("lower_bound", None),
        ("lower_bound", float("nan")),
    ],
)
def test_what_says_something_else_is_named(name: str, value: Any) -> None:
    with pytest.raises(DomainError) as refused:
        check_ready({**READY, name: value}, SAMPLING)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert refused.value.metadata["field"] == f"evidence.{name}"
    assert refused.value.metadata["got"] == repr(value)


def test_the_epoch_one_is_not_true() -> None:
    with pytest.raises(DomainError):
        check_ready({**READY, "epoch": True}, Sampling(SAMPLING.experiment_id, 1, 0, SAMPLING.salt))
