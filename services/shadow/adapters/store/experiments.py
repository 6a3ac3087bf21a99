"""The experiments: every epoch that was ever registered, and how far its windows have closed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from services.shadow.adapters.store.tables import Tables
from services.shadow.core.experiment import Experiment

_BYTES = ("experiment_id", "salt")
_TUPLES = ("strata", "stratum_values")


class Experiments(Tables):
    """The tables of experiments."""

    def add_experiment(self, experiment: Experiment, request_id: bytes) -> Experiment:
        """Registers an epoch for good.

        Args:
            experiment: the epoch.
            request_id: 16 bytes; one that comes again changes nothing.

        Returns:
            What is registered under the request's id: `experiment`, or what came with it the first time.

        Raises:
            DomainError: STORAGE_UNAVAILABLE; that epoch is registered already, too.
        """
        with self._writing() as db:
            row = db.execute("SELECT content FROM experiment WHERE request_id = ?", (request_id,)).fetchone()
            if row is not None:
                return _experiment(row[0])
            db.execute(
                "INSERT INTO experiment (experiment_id, epoch, workload, request_id, register_unix_us,"
                " content) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    experiment.experiment_id,
                    experiment.epoch,
                    experiment.workload,
                    request_id,
                    experiment.register_unix_us,
                    _content(experiment),
                ),
            )
        return experiment

    def registered_by(self, request_id: bytes) -> Experiment | None:
        """What was registered under a request's id; None if nothing was."""
        return self._one("WHERE request_id = ?", request_id)

    def experiment(self, experiment_id: bytes, epoch: int | None = None) -> Experiment | None:
        """An epoch of an experiment, the last one if none is named; None if it is not registered."""
        if epoch is None:
            return self._one("WHERE experiment_id = ? ORDER BY epoch DESC LIMIT 1", experiment_id)
        return self._one("WHERE experiment_id = ? AND epoch = ?", experiment_id, epoch)

    def current(self, workload: str) -> Experiment | None:
        """The last epoch of a workload's experiment; None if nothing compares it."""
        return self._one("WHERE workload = ? ORDER BY register_unix_us DESC, epoch DESC LIMIT 1", workload)

    def experiments(self, workload: str = "") -> list[Experiment]:
        """All epochs, the newest first; of one workload, if it is named."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT content FROM experiment WHERE ?1 = '' OR workload = ?1"
                " ORDER BY register_unix_us DESC, epoch DESC",
                (workload,),
            ).fetchall()
        return [_experiment(row[0]) for row in rows]

    def closed_before(self, experiment_id: bytes, epoch: int) -> int:
        """Requests before this time (microseconds) are of closed windows: their triplets never change."""
        with self._reading() as db:
            row = db.execute(
                "SELECT closed_unix_us FROM experiment WHERE experiment_id = ? AND epoch = ?",
                (experiment_id, epoch),
            ).fetchone()
        return row[0] if row else 0

    def _one(self, where: str, *values: object) -> Experiment | None:
        with self._reading() as db:
            row = db.execute(f"SELECT content FROM experiment {where}", values).fetchone()  # noqa: S608
        return _experiment(row[0]) if row else None


def _content(experiment: Experiment) -> str:
    document = asdict(experiment)
    for name in _BYTES:
        document[name] = document[name].hex()
    return json.dumps(document)


def _experiment(content: str) -> Experiment:
    document: dict[str, Any] = json.loads(content)
    for name in _BYTES:
        document[name] = bytes.fromhex(document[name])
    for name in _TUPLES:
        document[name] = tuple(document[name])
    return Experiment(**document)
