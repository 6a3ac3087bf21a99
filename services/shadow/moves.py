"""Moves, as decisions: what a workload's new row is, what it rests on, and under which id it is proposed."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format
from homeward.common.v1 import policy_pb2

from services.common.errors import DomainError, Reason
from services.common.policy_rows import sampling_to_proto
from services.common.sampling import Sampling
from services.common.stages import HOME, OBSERVED, ROLLED_BACK, SHADOWED, Place, move
from services.shadow.adapters.ledger import LedgerAdapter, Policy, Row
from services.shadow.adapters.store import Store
from services.shadow.core.experiment import Begun, Experiment
from services.shadow.core.migration import SHADOW, Move
from services.shadow.core.verdict import Window
from services.shadow.course import Look

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Of a decision that somebody asked for, when the policy changes meanwhile."""
NEWER_S = 1.0
"""How long a decision waits for the policy that it did not rest on."""
MAX_CALLS = 1000
"""Calls that are remembered, so that one that comes again does nothing twice."""
_DECISIONS = uuid.UUID("7f1f3c52-6f0e-4c62-9a51-6d0f0f4f7a10")
"""Namespace of the ids of shadow's decisions."""
_CALLS = "calls"
_BACK = (OBSERVED, ROLLED_BACK)
"""Places where nothing is sampled."""


class Moves:
    """Decides, once for each circumstance, and remembers which call made which move."""

    def __init__(self, ledger: LedgerAdapter, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def row(self, workload: str) -> tuple[Policy, Row]:
        """The policy in force, and a workload's row.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, or STORAGE_UNAVAILABLE if there is no policy yet.
        """
        policy = self._ledger.policy
        if not policy.version:
            self.check_ledger()
        row = policy.rows.get(workload)
        if row is None:
            raise DomainError(
                Reason.WORKLOAD_NOT_FOUND,
                f"no workload {workload!r} is registered",
                workload=workload,
                nearest="",
            )
        return policy, row

    def check_ledger(self) -> None:
        """Raises:
        DomainError: STORAGE_UNAVAILABLE if the ledger is away.
        """
        if not self._ledger.connected:
            raise DomainError(
                Reason.STORAGE_UNAVAILABLE,
                "the ledger does not answer; try again with the same request_id",
                store="ledger",
                detail="away",
            )

    async def last_begun(self, workload: str) -> Begun | None:
        """The last epoch of a workload's comparison that the journal has; None if there was none.

        Raises:
            DomainError: STORAGE_UNAVAILABLE if the ledger is away.
        """
        last: Begun | None = None
        async for decision in self._ledger.decisions(workload):
            sampling = decision.after.sampling
            if sampling.epoch <= (last.epoch if last is not None else 0):
                continue
            told = json_format.MessageToDict(decision.evidence)
            about = (told.get("experiment_id"), told.get("epoch"))
            promised = told if about == (sampling.experiment_id.hex(), sampling.epoch) else {}
            last = Begun(
                workload,
                sampling.experiment_id,
                sampling.epoch,
                promised.get("margin"),
                promised.get("alpha"),
            )
        return last

    async def make(self, look: Look, policy: Policy, what: Move, approved_by: str = "") -> None:
        """Decides a move.

        Args:
            look: what it rests on.
            policy: the one that it rests on.
            what: the move.
            approved_by: the key that approved it; empty: the one that the look names.

        Raises:
            DomainError: what the ledger says; EXPERIMENT_NOT_FOUND if the policy's experiment is unknown.
        """
        row, experiment = look.row, look.experiment
        sampling = None
        if what.to not in _BACK:
            if experiment is None:
                raise _unknown_experiment(row)
            rate = experiment.reverse_rate_ppm if what.to == HOME else experiment.rate_ppm
            sampling = experiment.sampling(reversed=True, rate_ppm=rate)
        evidence = _evidence(look, what)
        approved_by = approved_by or look.situation.approved_by
        if approved_by and what.to not in _BACK:
            evidence["approved_by"] = approved_by
        await self._ledger.decide(
            _after(row, what.to, sampling),
            policy.version,
            what.actor,
            what.reason,
            evidence,
            _request_id(experiment, row, what.to, policy),
        )
        log.info("%s goes from %s to %s: %s", row.proto.workload, row.place, what.to, what.reason)

    async def rest(self, look: Look, policy: Policy) -> None:
        """Ends the sampling of an epoch whose verdict stands. Does nothing if it has ended.

        Raises:
            DomainError: what the ledger says.
        """
        row, sampling = look.row, look.row.sampling
        if sampling is None or not sampling.rate_ppm:
            return
        reason = "the verdict is REJECTED, and more samples can't change that"
        await self._ledger.decide(
            _after(row, SHADOWED, replace(sampling, rate_ppm=0)),
            policy.version,
            SHADOW,
            reason,
            _evidence(look, Move(SHADOWED, reason)),
            _request_id(look.experiment, row, SHADOWED, policy),
        )
        log.info("%s is sampled no longer: %s", row.proto.workload, reason)

    async def begin(self, experiment: Experiment) -> None:
        """Lets the comparison of a registered epoch begin, if it has not.

        Raises:
            DomainError: STAGE_MOVE_FORBIDDEN, or what the ledger says.
        """
        sampling = experiment.sampling()

        async def attempt() -> None:
            policy, row = self.row(experiment.workload)
            before = row.sampling
            same = before is not None and before.experiment_id == sampling.experiment_id
            if same and before is not None and before.epoch >= sampling.epoch:
                return
            move(experiment.workload, row.place, SHADOWED)
            await self._ledger.decide(
                _after(row, SHADOWED, sampling),
                policy.version,
                SHADOW,
                f"epoch {experiment.epoch} of its comparison was registered: {experiment.scorer}, margin"
                f" {experiment.margin:g}, error {experiment.alpha:g}",
                {
                    **_about(experiment),
                    "window_s": experiment.window_us / 1e6,
                    "min_windows": experiment.min_windows,
                    "start_time": _time(experiment.start_unix_us),
                },
                _request_id(experiment, row, SHADOWED, policy),
            )

        await self.persist(experiment.workload, attempt)

    async def persist(self, workload: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Tries again, on the newer policy, what failed because the policy had changed.

        Raises:
            DomainError: what the attempt raises; POLICY_CHANGED if the policy keeps changing.
        """
        for _ in range(ATTEMPTS):
            version = self._ledger.policy.version
            try:
                return await attempt()
            except DomainError as error:
                if error.reason is not Reason.POLICY_CHANGED:
                    raise
                await self._ledger.newer(version, NEWER_S)
        raise DomainError(
            Reason.POLICY_CHANGED,
            f"the policy kept changing while {workload!r} was to move; try again",
            expected_version=self._ledger.policy.version,
            current_version="",
        )

    def was_made(self, workload: str, request_id: bytes) -> bool:
        """Whether a call came before and its move was made, even if its answer was lost."""
        noted = self._noted().get(request_id.hex())
        if noted is None:
            return False
        _, row = self.row(workload)
        return bool(noted["done"]) or (noted["place"], noted["epoch"]) == (str(row.place), _epoch(row))

    def note(self, workload: str, request_id: bytes, to: Place, *, done: bool) -> None:
        """Notes which move a call makes: before the decision, and after it."""
        _, row = self.row(workload)
        noted = {"place": str(to), "epoch": "" if to in _BACK else _epoch(row), "done": done}
        calls = {**self._noted(), request_id.hex(): noted}
        self._store.set_state(_CALLS, json.dumps(dict(list(calls.items())[-MAX_CALLS:])).encode())

    def _noted(self) -> dict[str, dict[str, Any]]:
        state = self._store.get_state(_CALLS)
        calls: dict[str, dict[str, Any]] = json.loads(state) if state else {}
        return calls


def _after(row: Row, to: Place, sampling: Sampling | None) -> policy_pb2.WorkloadPolicy:
    after = policy_pb2.WorkloadPolicy()
    after.CopyFrom(row.proto)
    after.stage = policy_pb2.Stage.ValueType(to.stage)
    after.sovereign_share_ppm = to.share_ppm
    after.ClearField("sampling")
    message = sampling_to_proto(sampling)
    if message is not None:
        after.sampling.CopyFrom(message)
    return after


def _evidence(look: Look, what: Move) -> dict[str, Any]:
    evidence: dict[str, Any] = _about(look.experiment) if look.experiment is not None else {}
    if look.windows:
        window = _proof(look.windows) if what.to not in _BACK else look.windows[-1]
        evidence |= {
            "window_start": _time(window.start_unix_us),
            "histogram_sha256": window.histogram_sha256,
            "votes": window.n,
            "log_k": window.log_k,
            "lower_bound": window.lower_bound,
            "upper_bound": window.upper_bound,
            "verdict": window.verdict.value,
        }
    if what.to == ROLLED_BACK:
        if look.log_m is not None:
            evidence["log_m"] = look.log_m
        if look.trip is not None:
            evidence["breaker"] = asdict(look.trip)
    return evidence


def _proof(windows: Sequence[Window]) -> Window:
    """The window that brought the verdict: it stands, though later ones may say less."""
    return next((window for window in windows if window.verdict is windows[-1].verdict), windows[-1])


def _about(experiment: Experiment) -> dict[str, Any]:
    return {
        "experiment_id": experiment.experiment_id.hex(),
        "epoch": experiment.epoch,
        "margin": experiment.margin,
        "alpha": experiment.alpha,
        "scorer": experiment.scorer,
    }


def _time(unix_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us)).isoformat()


def _request_id(experiment: Experiment | None, row: Row, to: Place, policy: Policy) -> bytes:
    """The id of a decision: the same circumstances make the same one."""
    about = f"{experiment.experiment_id.hex()}/{experiment.epoch}" if experiment is not None else ""
    name = f"{row.proto.workload}/{about}/{row.place}/{to}/{policy.version}"
    return uuid.uuid5(_DECISIONS, name).bytes


def _epoch(row: Row) -> str:
    return f"{row.sampling.experiment_id.hex()}/{row.sampling.epoch}" if row.sampling is not None else ""


def _unknown_experiment(row: Row) -> DomainError:
    name = row.sampling.experiment_id.hex() if row.sampling is not None else ""
    return DomainError(
        Reason.EXPERIMENT_NOT_FOUND,
        f"this shadow does not know the experiment {name!r} that the policy names for {row.proto.workload!r};"
        " is its state_dir gone?",
        experiment_id=name,
    )
