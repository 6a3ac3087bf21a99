"""Observations without a ClickHouse: nothing waits for it, and what is lost is counted.

With one, see tests/integration/test_drift_views.py.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from deploy.local.ports import free_ports
from services.classifier.adapters.observations import Observation, Observations
from services.common.settings import ClickHouse
from services.common.words import Evidence, TaskType


@pytest.fixture(params=["refuses", "hangs"])
def away(request: pytest.FixtureRequest) -> Iterator[ClickHouse]:
    """A ClickHouse that is not there, or takes connections and never answers."""
    if request.param == "refuses":
        (port,) = free_ports(1)
        yield ClickHouse(url=f"http://127.0.0.1:{port}")
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield ClickHouse(url=f"http://127.0.0.1:{server.getsockname()[1]}")


def observation() -> Observation:
    return Observation(1, b"", "", Evidence.ABSTAINED, 0.0, TaskType.UNSPECIFIED, 0.0, None, True, 1)


def test_beyond_the_limit_observations_are_shed_and_at_the_end_the_rest(
    away: ClickHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    observations = Observations(away, queue_rows=5)
    for _ in range(8):
        observations.add(observation())
    assert observations.shed == 3
    observations.close(0.1)
    assert observations.shed == 8
    # Many losses are one line; the end may add another.
    told = [record.__dict__["shed"] for record in caplog.records if "lost" in record.message]
    assert len(told) <= 2
    assert sum(told) == 8


def test_after_the_end_nothing_is_taken_in(away: ClickHouse) -> None:
    observations = Observations(away)
    observations.close(0.1)
    observations.add(observation())
    observations.close(0.1)
    assert observations.shed == 0
