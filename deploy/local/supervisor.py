"""Starts the parts in order, watches them, restarts one that dies, and stops them in order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local.parts import Part

START_TIMEOUT_S = 60.0
"""How long a part may take to become well."""
PROBE_EVERY_S = 0.05
MAX_DEATHS = 3
DEATHS_WITHIN_S = 60.0
"""A part that dies MAX_DEATHS times within this time is not restarted: the run ends."""
LOG_TAIL_BYTES = 2000

Say = Callable[[str], None]


class FailedError(Exception):
    """A part can't be run; the message is one line that says which, why, and what to do."""


class Supervisor:
    """The parts of one run."""

    def __init__(self, parts: Sequence[Part], log_of: Callable[[str], Path], say: Say) -> None:
        self._parts = parts
        self._log_of = log_of
        self._say = say
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._deaths: dict[str, list[float]] = {}
        self._stopping = False

    async def start(self) -> None:
        """Starts every part, each when the one before is well.

        Raises:
            FailedError: a port is taken, or a part does not become well.
        """
        check_ports(self._parts)
        for part in self._parts:
            began = time.monotonic()
            await self._start(part)
            self._say(f"  {part.name:<15} {part.where}  ({time.monotonic() - began:.1f} s)")

    async def watch(self) -> None:
        """Restarts parts that die; returns only by its exception.

        Raises:
            FailedError: a part dies again and again.
        """
        while True:
            waits = {asyncio.create_task(process.wait()): name for name, process in self._running.items()}
            try:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()
            for task in done:
                # It may have been another's need, and have been revived with it.
                if self._has_ended(waits[task]):
                    await self._revive(waits[task])

    async def stop(self) -> None:
        """Stops every part, the last started first, each when the one after has gone."""
        self._stopping = True
        for part in reversed(self._parts):
            process = self._running.pop(part.name, None)
            if process is None or process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), part.stop_timeout_s)
                self._say(f"  {part.name} stopped")
            except TimeoutError:
                process.kill()
                await process.wait()
                self._say(f"  {part.name} did not stop within {part.stop_timeout_s:g} s and was killed")

    def pids(self) -> dict[str, int]:
        """The process of each running part."""
        return {name: process.pid for name, process in self._running.items()}

    def _has_ended(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.returncode is not None

    async def _revive_before(self, part: Part) -> bool:
        """Revives the parts before one, which it needs, if they died too; true if one had."""
        dead = [item.name for item in self._parts[: self._parts.index(part)] if self._has_ended(item.name)]
        for name in dead:
            await self._revive(name)
        return bool(dead)

    async def _revive(self, name: str) -> None:
        part = next(part for part in self._parts if part.name == name)
        cause = describe_exit(self._running.pop(name).returncode)
        now = time.monotonic()
        deaths = [at for at in self._deaths.get(name, []) if now - at < DEATHS_WITHIN_S] + [now]
        self._deaths[name] = deaths
        if len(deaths) >= MAX_DEATHS:
            raise FailedError(
                f"{name} died {len(deaths)} times within a minute ({cause}); its log: {self._log_of(name)}"
            )
        self._say(f"{name} died ({cause}): restarting it; its log: {self._log_of(name)}")
        await self._start(part)
        self._say(f"{name} is back")

    async def _start(self, part: Part) -> None:
        log = self._log_of(part.name)
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *part.command,
                env=dict(part.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C in a terminal goes to the whole group; the parts are stopped in order instead.
                start_new_session=True,
            )
        self._running[part.name] = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if process.returncode is not None:
                del self._running[part.name]
                raise FailedError(
                    f"{part.name} does not start ({describe_exit(process.returncode)}): {last_line(log)}"
                )
            # A probe alone could be answered by somebody else's server on that port.
            if await part.probe() and process.returncode is None:
                return
            if await self._revive_before(part):
                deadline = time.monotonic() + START_TIMEOUT_S
            if time.monotonic() > deadline:
                raise FailedError(f"{part.name} is not well after {START_TIMEOUT_S:g} s; its log: {log}")
            await asyncio.sleep(PROBE_EVERY_S)


def check_ports(parts: Sequence[Part]) -> None:
    """Makes sure that every port is free.

    Raises:
        FailedError: one is not.
    """
    for part in parts:
        for address, setting in part.listens:
            host, _, port = address.rpartition(":")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, int(port)))
                except OSError as error:
                    why = (
                        "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
                    )
                    raise FailedError(
                        f"port {port} {why}, and {part.name} needs it: stop what uses it"
                        f" (ss -ltnp 'sport = :{port}'), or choose another by {setting}"
                    ) from None


def describe_exit(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "it runs"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def last_line(log: Path) -> str:
    """The last line of a log, which says why a part did not start."""
    with log.open("rb") as file:
        file.seek(max(0, os.path.getsize(log) - LOG_TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    return said[-1] if said else "it said nothing"
