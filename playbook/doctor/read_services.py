"""Asks the services what they are: health, InfoService, and the router's HTTP door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from homeward.common.v1 import info_pb2, info_pb2_grpc

from playbook.doctor.checks_services import KEY_INVALID, KEY_MISSING, OLDER
from playbook.doctor.facts import Disk, Journal, Process, Queue, Service, clock
from services.common.errors import Reason
from services.common.interceptors import refusal, untraced

CALL_S = 2.0
"""Longest wait for one answer."""
TRIES_A_PROCESS = 8
"""Connections for each process that shares an address, since who takes one is chance: of two, one is missed
once in 30,000 times; of eight, once in 600."""
MOST_TRIES = 128
"""Connections at most."""
NAMES = {
    "router": "homeward.router.v1.RouterService",
    "classifier": "homeward.classifier.v1.ClassifierService",
    "ledger": "homeward.ledger.v1.LedgerService",
    "shadow": "homeward.shadow.v1.ShadowService",
}
_SILENT = {Reason.KEY_MISSING: KEY_MISSING, Reason.KEY_INVALID: KEY_INVALID}


async def read_service(
    name: str, address: str, key: str, now_ns: Callable[[], int], *, processes: int = 1, http: str = ""
) -> Service:
    """A service at its address.

    Args:
        name: of NAMES.
        address: HOST:PORT.
        key: an API key, empty for none; only the router asks for it.
        now_ns: this machine's clock.
        processes: how many share the address.
        http: HOST:PORT of its HTTP door, if it has one.
    """
    http_problem, problem = await asyncio.gather(_http_problem(http), _health_problem(name, address))
    found = Service(name, address, problem, expected=processes, http=http, http_problem=http_problem)
    if problem:
        return found
    tries = min(TRIES_A_PROCESS * processes, MOST_TRIES) if processes > 1 else 1
    told = await asyncio.gather(*(_ask(address, key, now_ns) for _ in range(tries)))
    # Pods may all have the index 0.
    met = {(item.index, item.start_unix_ns): item for item in told if isinstance(item, Process)}
    silent = next((item for item in told if isinstance(item, str)), "")
    return Service(
        name,
        address,
        processes=[met[place] for place in sorted(met)],
        expected=processes,
        silent="" if met else silent,
        http=http,
        http_problem=http_problem,
    )


async def _health_problem(name: str, address: str) -> str:
    async with aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=NAMES[name])
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # the stubs lack it
                request, timeout=CALL_S, metadata=untraced()
            )
        except aio.AioRpcError as error:
            return _said(name, error)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "" if serving else "it is there, and says that it does not serve: it starts or stops"


def _said(name: str, error: aio.AioRpcError) -> str:
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        return "nothing answers"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"it takes connections and gives no answer within {CALL_S:g} s"
    if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
        return f"something else listens there, no {name}"
    return f"{code.name}: {' '.join((error.details() or '').split())[:200]}"


async def _ask(address: str, key: str, now_ns: Callable[[], int]) -> Process | str:
    """What a process tells, or why it does not."""
    metadata = untraced() + ((("authorization", f"Bearer {key}"),) if key else ())
    # A connection of its own: those of one address are else shared, and the same process answers each time.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with aio.insecure_channel(address, options) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), CALL_S)
            sent_ns = now_ns()
            answer = await info_pb2_grpc.InfoServiceStub(channel).GetServerInfo(
                info_pb2.GetServerInfoRequest(), timeout=CALL_S, metadata=metadata
            )
            received_ns = now_ns()
        except TimeoutError:
            return f"no connection within {CALL_S:g} s"
        except aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return OLDER
            refused = refusal(error)
            if refused is not None:
                return _SILENT.get(refused.reason, refused.message)
            return f"it does not tell what it is: {error.code().name}"
    return _process(answer, sent_ns, received_ns)


def _process(answer: info_pb2.GetServerInfoResponse, sent_ns: int, received_ns: int) -> Process:
    told_ns = answer.answer_time.ToNanoseconds()
    journal = None
    if answer.HasField("journal"):
        item = answer.journal
        journal = Journal(
            item.entry_id,
            (told_ns - item.entry_time.ToNanoseconds()) / 1e9 if item.HasField("entry_time") else None,
            item.unconfirmed_count,
            (told_ns - item.unconfirmed_time.ToNanoseconds()) / 1e9
            if item.HasField("unconfirmed_time")
            else None,
            item.problem,
        )
    return Process(
        index=answer.index,
        start_unix_ns=answer.start_time.ToNanoseconds(),
        version=answer.version,
        contract=answer.contract_sha256.hex(),
        clock=clock(sent_ns, told_ns, received_ns),
        up_s=max(0.0, (told_ns - answer.start_time.ToNanoseconds()) / 1e9),
        restricted=answer.restricted,
        disks=[
            Disk(item.setting, item.path, item.free_bytes, item.total_bytes, item.problem)
            for item in answer.folders
        ],
        queues=[
            Queue(
                item.name,
                item.waiting_count if item.HasField("waiting_count") else None,
                item.capacity_count,
                item.lost_count,
            )
            for item in answer.queues
        ],
        policy_version=answer.policy.version if answer.HasField("policy") else None,
        policy_age_s=answer.policy.age_s,
        journal=journal,
    )


async def _http_problem(address: str) -> str:
    if not address:
        return ""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S)) as session,
            session.get(f"http://{address}/healthz") as response,
        ):
            document = await response.json()
            if response.status == 200 and document.get("service") == "homeward-router":
                return ""
            return f"something else answers there, with {response.status}"
    except TimeoutError:
        return f"no answer within {CALL_S:g} s"
    except (aiohttp.ClientConnectionError, OSError):
        return "nothing answers"
    except (aiohttp.ClientError, ValueError, AttributeError):
        return "something else answers there"
