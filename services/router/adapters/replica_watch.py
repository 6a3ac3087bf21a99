"""Watches one replica, takes it out of the pool when it fails, and brings it back.

Triton says that a model is ready whose process has died, so only a real inference proves anything. One is
made when the replica has shown no sign of life for a while or something looked wrong; a busy replica shows
signs all the time and is never probed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.router.adapters.triton import Generation, ReplicaError, TritonServer
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
    """The versions that are asked for; each is a process of its own, and may die alone."""


class ReplicaWatch:
    """One replica's health. Needs a running event loop."""

    def __init__(self, server: TritonServer, replica: Replica, pool: Pool, probing: Probing) -> None:
        self.server = server
        self.replica = replica
        self._pool = pool
        self._probing = probing
        self._last_sign_s = 0.0
        self._suspected = asyncio.Event()
        self._in_flight: set[Generation] = set()
        self._task = asyncio.create_task(self._run())

    def began(self, generation: Generation) -> None:
        """Follows an answer, which is ended if the replica turns out to be dead."""
        self._in_flight.add(generation)

    def ended(self, generation: Generation) -> None:
        """Follows it no longer."""
        self._in_flight.discard(generation)

    def sign(self) -> None:
        """Notes that the replica has generated something."""
        self._last_sign_s = time.monotonic()

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
        silent_s = time.monotonic() - self._last_sign_s
        if silent_s < self._probing.interval_s and not self._suspected.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._probing.interval_s - silent_s):
                    await self._suspected.wait()
            return
        self._suspected.clear()
        try:
            await self._probe()
        except ReplicaError as error:
            self._down(str(error))
            await self._bring_back()

    async def _probe(self) -> None:
        for version in self._probing.versions:
            await self.server.probe(version, self._probing.timeout_s)
        self.sign()

    def _down(self, detail: str) -> None:
        log.warning("a replica is down", extra={"replica": self.replica.name, "detail": detail})
        self.replica.up = False
        self._pool.forget(self.replica)
        for generation in list(self._in_flight):
            generation.fail(f"the replica was found dead: {detail}")

    async def _revive(self) -> None:
        """One try. A server that was only out of reach is well without a reload, which would end the
        answers that others have in progress there."""
        probing = self._probing
        if not await self.server.is_live(probing.timeout_s):
            raise ReplicaError("the server can't be reached")
        try:
            await self._probe()
        except ReplicaError:
            if not probing.reload:
                raise
            await self.server.reload(probing.reload_timeout_s)
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
