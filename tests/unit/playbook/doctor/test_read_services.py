"""Services as they may answer, over real connections."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2

from deploy.local.ports import free_ports
from playbook.doctor.facts import Service
from playbook.doctor.read_services import NAMES, read_service
from services.common.info import About, InfoServicer
from services.common.server import Server


async def served(name: str, *indexes: int, info: bool = True) -> tuple[str, list[Server]]:
    """Processes of a service that share an address."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    servers = []
    for index in indexes:
        servicer = InfoServicer(About(name, index=index)) if info else None
        server = Server(NAMES[name], shared=True, info=servicer)
        await server.start(address)
        servers.append(server)
    return address, servers


@pytest.fixture
async def ended() -> AsyncIterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        await server.stop()


async def test_processes_that_share_an_address_are_all_met(ended: list[Server]) -> None:
    address, servers = await served("router", 0, 1)
    ended += servers
    found = await read_service("router", address, "", time.time_ns, processes=2)
    assert [item.index for item in found.processes] == [0, 1]


async def test_a_service_of_before_does_not_tell_what_it_is(ended: list[Server]) -> None:
    address, servers = await served("ledger", 0, info=False)
    ended += servers
    found = await read_service("ledger", address, "", time.time_ns)
    assert (found.problem, found.silent, found.processes) == ("", "older", [])


async def test_another_service_at_the_address_is_told(ended: list[Server]) -> None:
    address, servers = await served("ledger", 0)
    ended += servers
    found = await read_service("shadow", address, "", time.time_ns)
    assert found.problem == "something else listens there, no shadow"


async def test_a_service_that_stops_is_not_serving(ended: list[Server]) -> None:
    address, servers = await served("ledger", 0)
    ended += servers
    await servers[0]._health.set(NAMES["ledger"], health_pb2.HealthCheckResponse.NOT_SERVING)
    found = await read_service("ledger", address, "", time.time_ns)
    assert "starts or stops" in found.problem


async def test_a_clock_is_read_against_the_clock_that_is_given(ended: list[Server]) -> None:
    address, servers = await served("ledger", 0)
    ended += servers
    found: Service = await read_service("ledger", address, "", lambda: time.time_ns() - 90 * 10**9)
    (process,) = found.processes
    assert abs(process.clock.ahead_s - 90) <= process.clock.error_s
