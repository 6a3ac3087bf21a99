"""Opens and closes the HTTP door's socket."""

from __future__ import annotations

import asyncio

from services.common.server import AddressTakenError
from services.router.config import Limits
from services.router.http.door import Door
from services.router.http.protocol import Server

BACKLOG = 1024
"""Connections that the kernel holds while the loop is busy."""


class HttpServer:
    """The listening socket of a Door."""

    def __init__(self, door: Door, limits: Limits) -> None:
        """Needs a running event loop."""
        self._server = Server(door.handle, limits)
        self._sockets: asyncio.Server | None = None

    async def start(self, address: str, *, shared: bool) -> int:
        """Listens at HOST:PORT; with `shared`, beside other processes on the same port.

        Returns:
            The port, for when 0 was asked for.

        Raises:
            AddressTakenError: the port is in use.
        """
        host, _, port = address.rpartition(":")
        try:
            self._sockets = await asyncio.get_running_loop().create_server(
                self._server, host, int(port), reuse_port=shared, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or error
            raise AddressTakenError(f"can't listen at {address}: {reason}") from None
        bound: int = self._sockets.sockets[0].getsockname()[1]
        return bound

    async def stop(self, drain_s: float) -> None:
        """Takes no more connections, lets requests in flight end within `drain_s`, and closes."""
        if self._sockets is not None:
            self._sockets.close()
        self._server.pre_shutdown()
        # aiohttp waits for so long twice: for the handler, and for its end once it is cancelled.
        await self._server.shutdown(drain_s / 2)
