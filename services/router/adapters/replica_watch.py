"""Watches one replica, takes it out of the pool when it fails, and brings it back.

Triton says that a model is ready whose process has died, so only a real inference proves anything. One is
made when the replica has shown no sign of life for a while or something looked wrong; a busy replica shows
signs all the time and is never probed. Each version of a model is a process of its own, and may die alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.router.adapters.generation import Generation, ReplicaError
from services.router.adapters.triton import TritonServer
from services.router.core.sovereign.replicas import Pool, Replica

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.2
"""Between two tries to bring a replica back; doubles up to LAST_WAIT_S."""
LAST_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Probing:
    """How a replica is watched."""

    interval_s: float
    """Silence after which it is probed."""
    timeout_s: float
    """How long a probe may take."""
    reload_timeout_s: float
    """How long the model may take to load again."""
    reload: bool
    """False: the model is loaded by somebody else."""
    versions: Sequence[str]
    """The versions that are asked for; others are watched once they were."""


class DeadVersionsError(ReplicaError):
    """Versions of the model generate nothing, though their server answers."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """`problems` has what is wrong with each that is dead."""
        super().__init__("; ".join(dict.fromkeys(problems.values())))
        self.versions = frozenset(problems)


class ReplicaWatch:
    """One replica's health. Needs a running event loop."""

    def __init__(self, server: TritonServer, replica: Replica, pool: Pool, probing: Probing) -> None:
        self.server = server
        self.replica = replica
        self._pool = pool
        self._probing = probing
        self._signs_s = dict.fromkeys(probing.versions, 0.0)
        """When each version last gave a sign of life, by the monotonic clock."""
        self._suspected = asyncio.Event()
        self._in_flight: dict[Generation, str] = {}
        self._task = asyncio.create_task(self._run())

    def began(self, generation: Generation, version: str) -> None:
        """Follows an answer, which is ended if its version turns out to be dead: Triton would leave it
        without another word."""
        self._in_flight[generation] = version
        self._signs_s.setdefault(version, 0.0)

    def ended(self, generation: Generation) -> None:
        """Follows it no longer."""
        self._in_flight.pop(generation, None)

    def sign(self, version: str) -> None:
        """Notes that a version has generated something."""
        self._signs_s[version] = time.monotonic()

    def suspect(self) -> None:
        """Has it probed at once."""
        self._suspected.set()

    async def close(self) -> None:
        """Ends the watch and the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.server.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._watch()
            except Exception:
                # A watch that ends would leave a dead replica in the pool, or a live one out of it.
                log.exception("a defect", extra={"replica": self.replica.name})
                await asyncio.sleep(self._probing.interval_s)

    async def _watch(self) -> None:
        silent_s = time.monotonic() - min(self._signs_s.values())
        if silent_s < self._probing.interval_s and not self._suspected.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._probing.interval_s - silent_s):
                    await self._suspected.wait()
            return
        self._suspected.clear()
        try:
            await self._probe()
        except ReplicaError as error:
            self._down(error)
            await self._bring_back()

    async def _probe(self) -> None:
        """Asks each version for a token.

        Raises:
            DeadVersionsError: some give none.
            ReplicaError: the server can't be reached.
        """
        timeout_s = self._probing.timeout_s
        dead: dict[str, str] = {}
        for version in tuple(self._signs_s):
            began_s = time.monotonic()
            try:
                await self.server.probe(version, timeout_s)
            except ReplicaError as error:
                # A reload would end what an overloaded replica has in work: one that refuses a request too
                # many is alive, and so is one that lets it wait while others get on.
                got_on = error.timed_out and self._signs_s[version] > began_s
                if not (got_on or error.full):
                    if not await self.server.is_live(timeout_s):
                        raise ReplicaError(f"the server can't be reached: {error}") from None
                    dead[version] = str(error)
                    continue
            self.sign(version)
        if dead:
            raise DeadVersionsError(dead)

    def _down(self, error: ReplicaError) -> None:
        log.warning("a replica is down", extra={"replica": self.replica.name, "detail": str(error)})
        self.replica.up = False
        self._pool.forget(self.replica)
        for generation, version in tuple(self._in_flight.items()):
            # The other versions answer what they have begun, even while the model is loaded again.
            if not isinstance(error, DeadVersionsError) or version in error.versions:
                generation.fail(f"the replica was found dead: {error}")

    async def _revive(self) -> None:
        """One try. A server that was only out of reach is well without a reload."""
        try:
            await self._probe()
        except DeadVersionsError:
            if not self._probing.reload:
                raise
            # Perhaps by another router, which has found it dead too.
            if await self.server.is_loading(self._probing.timeout_s):
                raise ReplicaError("the model is being loaded") from None
            await self.server.reload(self._probing.reload_timeout_s)
            await self._probe()

    async def _bring_back(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._revive()
            except ReplicaError as error:
                log.info("it is still down", extra={"replica": self.replica.name, "detail": str(error)})
                await asyncio.sleep(wait_s)
                wait_s = min(LAST_WAIT_S, 2 * wait_s)
                continue
            self._suspected.clear()
            self.replica.up = True
            log.info("a replica is up again", extra={"replica": self.replica.name})
            return
