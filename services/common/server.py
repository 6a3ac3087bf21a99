"""What every service process does the same: open a gRPC server, run until told to stop, drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from homeward.common.v1 import info_pb2, info_pb2_grpc

from services.common.interceptors import ServerInterceptor
from services.common.settings import SettingsError

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 34 * 1024 * 1024
"""Largest gRPC message: the HTTP door's default body limit, with room for its framing."""
MIN_PING_MS = 10_000
"""Shortest time between two pings of a silent stream, such as that of the policy."""
DRAIN_S = 10.0
"""How long calls in flight may take to end after SIGTERM."""

SWITCH_S = 0.0005
"""How long a thread that works for later (spans, the book) may hold the interpreter while the event loop
waits for it. Python's default of 5 ms is what an application would wait."""

GC_ALLOCATIONS = 20_000
"""Net allocations between two collections of the youngest objects; Python's default is 700, which comes
every few requests and finds nothing: what a request makes has no cycles to speak of."""

INFO_SERVICE = info_pb2.DESCRIPTOR.services_by_name["InfoService"].full_name
"""The full name of what tells what a process is."""

EXIT_SETTINGS = 64
"""Exit code of a service whose settings are wrong."""
EXIT_ADDRESS = 65
"""Exit code of a service whose address is taken."""


class AddressTakenError(Exception):
    """A server can't listen where it should; the message says where and what to do."""


class Server:
    """A gRPC server with health, reflection and the interceptors."""

    def __init__(
        self,
        *service_names: str,
        shared: bool = False,
        info: info_pb2_grpc.InfoServiceServicer | None = None,
    ) -> None:
        """Makes the server; `service_names` are the full names of what it will serve. With `shared` it
        may listen beside other processes on the same port. `info` tells what the process is."""
        self.grpc = aio.server(
            interceptors=[ServerInterceptor()],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                # Our own channels ping every 20 s; a server's default takes that for an attack and hangs up.
                ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MS),
                # Unasked, a second process on the port would silently take half of the calls.
                ("grpc.so_reuseport", int(shared)),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        if info is not None:
            info_pb2_grpc.add_InfoServiceServicer_to_server(info, self.grpc)
            service_names = (*service_names, INFO_SERVICE)
        self._names = service_names
        reflection.enable_server_reflection(
            (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME), self.grpc
        )

    async def start(self, address: str) -> int:
        """Listens at HOST:PORT and reports itself healthy.

        Returns:
            The port, for when 0 was asked for.

        Raises:
            AddressTakenError: the port is in use.
        """
        try:
            port = self.grpc.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise AddressTakenError(f"can't listen at {address}: the port is taken or not allowed")
        await self.grpc.start()
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Reports itself unhealthy, lets calls in flight end within `drain_s`, and closes."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(drain_s)


def channel(address: str, interceptors: list[Any] | None = None) -> aio.Channel:
    """A channel to another service, which reconnects within seconds of its return."""
    return aio.insecure_channel(
        address,
        interceptors=interceptors,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 5_000),
        ],
    )


async def until_stopped() -> None:
    """Returns when SIGTERM or SIGINT arrives. Call it when everything is wired."""
    # What the imports and the wiring made stays for good: the collector need not walk it again and again,
    # which stops the loop for tens of milliseconds each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a service's main on uvloop; wrong settings and taken ports are one line and an exit code."""
    sys.setswitchinterval(SWITCH_S)
    try:
        uvloop.run(main())
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_SETTINGS)
    except AddressTakenError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_ADDRESS)
