"""Shadow's rows in ClickHouse: triplets, counts and the windows of verdicts.

Each table replaces a row by one with the same key, so whoever does not know whether an insert arrived sends
it again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from services.common.clickhouse import connect
from services.common.settings import ClickHouse
from services.shadow.adapters.store import Count, Finished
from services.shadow.core.experiment import Experiment
from services.shadow.core.verdict import Window

CONNECT_TIMEOUT_S = 3
INSERT_TIMEOUT_S = 30
_ID_BYTES = 16
_MICROSECONDS = 10**6


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window of evidence, and whose it is."""

    experiment: Experiment
    lane: str
    window: Window


class Book:
    """Inserts as the services' user. Not thread-safe."""

    def __init__(self, settings: ClickHouse) -> None:
        self._settings = settings
        self._client: Client | None = None

    def connect(self) -> None:
        """Makes sure of a connection, before somebody collects rows for it.

        Raises:
            clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses. The
                three methods below raise them too.
        """
        if self._client is None:
            self._client = connect(
                self._settings, connect_s=CONNECT_TIMEOUT_S, answer_s=INSERT_TIMEOUT_S, durable=True
            )

    def add_triplets(self, rows: Sequence[Finished]) -> None:
        """Returns when they are on ClickHouse's disk."""
        self._insert("homeward.triplets", [_triplet(row) for row in rows])

    def add_counts(self, rows: Sequence[tuple[Count, str]]) -> None:
        """Counts so far, each with the name of its workload: a larger one replaces a smaller one."""
        self._insert("homeward.sample_counts", [_count(*row) for row in rows])

    def add_windows(self, rows: Sequence[ClosedWindow]) -> None:
        """Returns when they are on ClickHouse's disk."""
        self._insert("homeward.verdict_windows", [_window(row) for row in rows])

    def close(self) -> None:
        """Forgets the connection; the next call makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _insert(self, table: str, records: Sequence[dict[str, Any]]) -> None:
        if not records:
            return
        self.connect()
        assert self._client is not None
        names = list(records[0])
        columns = [[record[name] for record in records] for name in names]
        self._client.insert(table, columns, column_names=names, column_oriented=True)


def _triplet(row: Finished) -> dict[str, Any]:
    return {
        "sample_id": row.sample_id.hex(),
        "lane": row.lane,
        "experiment_id": _id(row.experiment_id),
        "epoch": row.epoch,
        "workload": row.workload,
        "request_time": row.request_unix_us,
        "arrival_time": row.arrival_unix_us,
        "cluster": row.cluster,
        "stratum": row.stratum,
        "sovereign_millionths": row.sovereign_millionths,
        "noise_millionths": row.noise_millionths,
        "scorer": row.scorer,
        "reason": row.reason,
        "language": row.language,
        "features": list(row.features),
        "input_tokens": row.input_tokens,
        "sovereign_leg_id": _id(row.sovereign_leg_id),
        "cloud_leg_id": _id(row.cloud_leg_id),
        "noise_leg_id": _id(row.noise_leg_id),
        "trace_id": row.trace_id,
    }


def _count(row: Count, workload: str) -> dict[str, Any]:
    return {
        "experiment_id": _id(row.experiment_id),
        "epoch": row.epoch,
        "minute": row.minute_unix_us // _MICROSECONDS,
        "step": row.step,
        "reason": row.reason,
        "workload": workload,
        "count": row.count,
    }


def _window(row: ClosedWindow) -> dict[str, Any]:
    experiment, window = row.experiment, row.window
    return {
        "experiment_id": _id(experiment.experiment_id),
        "epoch": window.epoch,
        "lane": row.lane,
        "start_time": window.start_unix_us,
        "workload": experiment.workload,
        "n": window.n,
        "log_k": window.log_k,
        "lower_bound": window.lower_bound,
        "upper_bound": window.upper_bound,
        "histogram_sha256": window.histogram_sha256,
        "verdict": str(window.verdict),
        "scorer": experiment.scorer,
        "margin": experiment.margin,
        "alpha": experiment.alpha,
        "window_us": experiment.window_us,
        "watermark_us": experiment.watermark_us,
        "min_windows": experiment.min_windows,
        "strata": list(experiment.rules.strata),
    }


def _id(value: bytes) -> uuid.UUID | None:
    return uuid.UUID(bytes=value) if len(value) == _ID_BYTES else None
