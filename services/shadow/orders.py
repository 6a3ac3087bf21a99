"""What people ask for: that a comparison begins, that a workload moves on, or that it moves back.

Each call has a request id. One that comes again, because its answer was lost, does nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.sampling import ID_BYTES
from services.common.stages import OBSERVED, ROLLED_BACK, SHADOWED, Place, move, next_place
from services.common.words import Target
from services.shadow.adapters.store import Store
from services.shadow.core.experiment import Begun, Experiment, Wanted, registered
from services.shadow.core.lanes import COMPARISON
from services.shadow.core.migration import Move, Wait, step
from services.shadow.course import Course
from services.shadow.courses import Courses
from services.shadow.gatekeeper import Gatekeeper
from services.shadow.moves import Moves

log = logging.getLogger(__name__)


class Orders:
    """Carries out what is asked for, or says what keeps it."""

    def __init__(
        self, store: Store, moves: Moves, courses: Courses, gatekeeper: Gatekeeper, clock: Callable[[], int]
    ) -> None:
        """`clock` gives microseconds since 1970."""
        self._store = store
        self._moves = moves
        self._courses = courses
        self._gatekeeper = gatekeeper
        self._clock = clock

    async def register(self, asked: Wanted, request_id: bytes) -> Experiment:
        """Registers an experiment, or the next epoch of one, and lets the comparison begin.

        Args:
            asked: what is asked for.
            request_id: 16 bytes. If this fails, the same call again goes on where it failed; if it did not,
                the same call again changes nothing.

        Raises:
            DomainError: EXPERIMENT_FIXED, WORKLOAD_NOT_FOUND, STAGE_MOVE_FORBIDDEN, or STORAGE_UNAVAILABLE if
                the ledger is away: its journal says which error is spent.
        """
        course = self._courses.of(asked.workload)
        async with course.lock:
            experiment = await asyncio.to_thread(self._store.registered_by, request_id)
            if experiment is not None and await self._has_begun(experiment, request_id):
                return experiment
            if experiment is None:
                _, row = self._moves.row(asked.workload)
                move(asked.workload, row.place, SHADOWED)
                # Before anything is stored: an epoch that never began would have spent its share of α.
                self._moves.check_ledger()
                if row.allowed_targets != frozenset(Target):
                    raise DomainError(
                        Reason.STAGE_MOVE_FORBIDDEN,
                        f"{asked.workload!r} can't be compared: its data class does not allow both targets",
                        **{"workload": asked.workload, "from": str(row.place), "to": str(SHADOWED)},
                    )
                last = await self._last(asked.workload)
                now = self._clock()
                made = registered(
                    asked,
                    last,
                    experiment_id=uuid7(now * 1000),
                    salt=os.urandom(ID_BYTES),
                    now_unix_us=now,
                    arm_models=filter(None, [course.parts.model]),
                )
                experiment = await asyncio.to_thread(self._store.add_experiment, made, request_id)
            await self._moves.begin(experiment)
            self._moves.note(asked.workload, request_id, SHADOWED, done=True)
        return experiment

    async def cut_over(self, workload: str, key: str, request_id: bytes, *, approve: bool) -> bool:
        """Moves a workload to its next stage, or approves that it moves when nothing else keeps it.

        Args:
            workload: its name.
            key: the name of the key that asks. Asking is approving.
            request_id: 16 bytes.
            approve: a move that something else keeps happens later by itself.

        Returns:
            Whether it has moved.

        Raises:
            DomainError: MOVE_BLOCKED, with all that keeps it; STAGE_MOVE_FORBIDDEN, APPROVAL_FORBIDDEN,
                WORKLOAD_NOT_FOUND, STORAGE_UNAVAILABLE.
        """
        course = self._courses.of(workload)
        if course.approvers and key not in course.approvers:
            raise DomainError(
                Reason.APPROVAL_FORBIDDEN,
                f"the key {key!r} may not move {workload!r}; {', '.join(course.approvers)} may",
                key=key,
                workload=workload,
            )
        async with course.lock:
            look = await self._courses.look(course)
        await self._gatekeeper.ask(course, look)
        async with course.lock:
            if self._moves.was_made(workload, request_id):
                return True
            return await self._cut_over(course, key, request_id, approve=approve)

    async def roll_back(self, workload: str, key: str, request_id: bytes, reason: str) -> None:
        """Moves a workload back to the cloud at once, or ends its comparison if it is there. One that is back
        already stays so.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, STORAGE_UNAVAILABLE.
        """
        course = self._courses.of(workload)
        to = ROLLED_BACK

        async def attempt() -> None:
            nonlocal to
            policy, row = self._moves.row(workload)
            if row.place in (OBSERVED, ROLLED_BACK):
                return
            to = OBSERVED if row.place == SHADOWED else ROLLED_BACK
            # Evidence is for the journal; a look that is half a second old is good enough for it.
            look = course.look if course.look is not None and course.look.row == row else None
            await self._moves.make(look or await self._courses.look(course), policy, Move(to, reason, key))

        async with course.lock:
            if not self._moves.was_made(workload, request_id):
                await self._moves.persist(workload, attempt)
                self._moves.note(workload, request_id, to, done=True)

    async def _last(self, workload: str) -> Experiment | Begun | None:
        """The last epoch of a workload, by shadow's file and by the journal: where the file is lost or older,
        the error of the epochs that the journal has is spent all the same."""
        begun = await self._moves.last_begun(workload)
        known = await asyncio.to_thread(self._store.current, workload)
        if begun is None or (known is not None and known.epoch >= begun.epoch):
            return known
        log.warning(
            "%s: the journal has epoch %d of its comparison, and this shadow's file does not; the next one"
            " goes on from there",
            workload,
            begun.epoch,
        )
        return begun

    async def _has_begun(self, experiment: Experiment, request_id: bytes) -> bool:
        """Whether an epoch has begun, so that it may not begin again: its evidence, and the approval that was
        given for it, would take a workload that was rolled back home once more."""
        if self._moves.was_made(experiment.workload, request_id):
            return True
        # The answer of the call that let it begin may have been lost: then its samples tell.
        epoch = (experiment.experiment_id, experiment.epoch)
        return bool(await asyncio.to_thread(self._store.finished, *epoch, COMPARISON, 0, 1))

    async def _cut_over(self, course: Course, key: str, request_id: bytes, *, approve: bool) -> bool:
        moved = False

        async def attempt() -> None:
            nonlocal moved
            policy, row = self._moves.row(course.workload)
            to = next_place(row.place)
            if to is None:
                raise DomainError(
                    Reason.STAGE_MOVE_FORBIDDEN,
                    f"{course.workload!r} is {row.place}, from where there is no way further home",
                    **{"workload": course.workload, "from": str(row.place), "to": ""},
                )
            if approve:
                await asyncio.to_thread(course.approve, row, key)
            look = await self._courses.look(course)
            what = step(replace(look.situation, approved_by=key), course.terms)
            if isinstance(what, Wait):
                if approve:
                    return
                raise _blocked(course.workload, to, what.blocks)
            if what.to == ROLLED_BACK:
                await self._moves.make(look, policy, what)
                raise _blocked(course.workload, to, (what.reason,))
            # First noted: if the answer is lost, the policy says whether the move was made.
            self._moves.note(course.workload, request_id, what.to, done=False)
            await self._moves.make(look, policy, replace(what, actor=key), approved_by=key)
            moved = True

        await self._moves.persist(course.workload, attempt)
        if moved:
            _, row = self._moves.row(course.workload)
            self._moves.note(course.workload, request_id, row.place, done=True)
        return moved


def _blocked(workload: str, to: Place, blocks: Sequence[str]) -> DomainError:
    return DomainError(
        Reason.MOVE_BLOCKED,
        f"{workload!r} can't go to {to}: {'; '.join(blocks)}",
        workload=workload,
        to=to,
        blocks="\n".join(blocks),
    )
