"""The whole examination: asks everything outside at once, each within its own time, and judges what came."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from playbook.doctor import checks
from playbook.doctor.checks import MACHINE, Here
from playbook.doctor.checks_clickhouse import CLICKHOUSE
from playbook.doctor.checks_clickhouse import clickhouse as judge_clickhouse
from playbook.doctor.checks_services import journal as judge_journal
from playbook.doctor.checks_services import services as judge_services
from playbook.doctor.checks_upstreams import CAPABILITIES
from playbook.doctor.checks_upstreams import capabilities as judge_capabilities
from playbook.doctor.checks_upstreams import home as judge_home
from playbook.doctor.checks_upstreams import upstream as judge_upstream
from playbook.doctor.facts import Capabilities, Service, Upstream
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.read_capabilities import PROBE_S, known, probed
from playbook.doctor.read_clickhouse import read_clickhouse
from playbook.doctor.read_machine import read_machine
from playbook.doctor.read_services import NAMES, read_service
from playbook.doctor.read_settings import ANYWHERE, Read, read_settings
from playbook.doctor.read_upstreams import read_upstream
from services.common.info import contract_sha256, package_version
from services.ledger.adapters.clickhouse import MIGRATIONS

SERVICE_S = 8.0
"""Longest look at a service: a health check and its answer, and for many processes many of them."""
CLICKHOUSE_S = 8.0
"""Longest look at ClickHouse: two rounds of queries."""
UPSTREAM_S = 10.0
"""Longest look at a server of models across an ocean."""
HOME_S = 20.0
"""Longest look at a model at home: what it says of itself, and a token from a busy server."""
MACHINE_S = 4.0
"""Longest look at this machine, whose folders may be on a network."""

MOST_CONTEXT = 8192
"""Tokens that a probe tries at most: a prompt of a hundred thousand would cost more than it tells."""
CONTEXT_ROOM = 32
"""Tokens below the declared context that are tried: a prompt's length is met within a few."""

Tell = Callable[[str], None]
"""Called with the name of a part as soon as it has been looked at."""


@dataclass(frozen=True, slots=True)
class _Job:
    part: str
    limit_s: float
    look: Callable[[], Awaitable[Any]]
    judge: Callable[[Any], list[Finding]]
    """Called when everything has come."""


@dataclass(frozen=True, slots=True)
class _Missing:
    why: str


async def examine(
    file: Path,
    *,
    probe: bool = False,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    now_ns: Callable[[], int] = time.time_ns,
    read: Read | None = None,
    begun: Callable[[int], None] = lambda _: None,
    tell: Tell = lambda _: None,
) -> list[Finding]:
    """Checks every part, and never raises for what is wrong with one.

    Args:
        file: the settings.
        probe: whether models at home are asked what they can do, by legs that are booked.
        limits: from when on figures are warnings.
        now_ns: this machine's clock.
        read: the settings, if they are read already.
        begun: called with the number of parts that are looked at.
        tell: called after each.
    """
    settings = read if read is not None else await asyncio.to_thread(read_settings, file)
    here = Here(package_version(), contract_sha256().hex(), str(file))
    dangers = [asdict(item) for item in settings.dangers]
    found = checks.settings(settings.mistakes, dangers, str(file), exists=settings.exists)
    jobs = _jobs(settings, here, limits, now_ns, probe=probe)
    begun(len(jobs))
    facts = await asyncio.gather(*(_within(job, tell) for job in jobs))
    told = [item for item in facts if isinstance(item, Service)]
    # Services are judged together: their versions and policies are held against each other.
    found += judge_services(told, here, limits)
    if settings.local is not None:
        ledger = next((item for item in told if item.name == "ledger"), None)
        found += judge_journal(ledger, limits)
    for job, fact in zip(jobs, facts, strict=True):
        if isinstance(fact, _Missing):
            found.append(
                Finding(
                    job.part,
                    "answers",
                    State.UNKNOWN,
                    fact.why,
                    "ask again; if it stays so, look at its machine",
                )
            )
        else:
            found += job.judge(fact)
    return _in_order(found)


def _jobs(
    settings: Read, here: Here, limits: Limits, now_ns: Callable[[], int], *, probe: bool
) -> list[_Job]:
    jobs: list[_Job] = []
    if settings.local is not None:
        jobs += _services(settings, now_ns)
        jobs.append(_clickhouse(settings, here, limits, now_ns))
        jobs.append(_capabilities(settings, limits, probe=probe))
    jobs += _upstreams(settings, limits, now_ns)
    folders = {"working folder": Path()}
    if settings.is_local:
        folders["local.state_dir"] = settings.state_dir
    serves = settings.is_local and settings.local is not None and settings.local.serves_at_home
    jobs.append(
        _Job(
            MACHINE,
            MACHINE_S,
            lambda: read_machine(folders, serves_at_home=serves),
            lambda fact: checks.machine(fact, limits),
        )
    )
    return jobs


def _services(settings: Read, now_ns: Callable[[], int]) -> list[_Job]:
    local = settings.local
    assert local is not None
    key, addresses = settings.api_key(), settings.addresses()
    more: Mapping[str, Mapping[str, Any]] = {
        "router": {"processes": local.router.processes, "http": _http(local.router.http, addresses["router"])}
    }

    def job(name: str) -> _Job:
        return _Job(
            name,
            SERVICE_S,
            # The router's key is for the router: the others need none.
            lambda: read_service(
                name, addresses[name], key if name == "router" else "", now_ns, **more.get(name, {})
            ),
            lambda _: [],
        )

    return [job(name) for name in NAMES]


def _http(listens: str, grpc: str) -> str:
    """Where the HTTP door is asked: at the host of the gRPC door, if it listens at all hosts."""
    host, _, port = listens.rpartition(":")
    return f"{grpc.rpartition(':')[0]}:{port}" if host in ANYWHERE else listens


def _clickhouse(settings: Read, here: Here, limits: Limits, now_ns: Callable[[], int]) -> _Job:
    writer, analyst = settings.clickhouse()
    files = {int(file.name.split("_")[0]): file for file in MIGRATIONS.glob("[0-9]*.sql")}
    carried = {number: hashlib.sha256(file.read_bytes()).hexdigest() for number, file in files.items()}
    names = {number: file.stem for number, file in files.items()}
    return _Job(
        CLICKHOUSE,
        CLICKHOUSE_S,
        lambda: read_clickhouse(writer, analyst, now_ns),
        lambda fact: judge_clickhouse(fact, carried, names, here, limits),
    )


def _capabilities(settings: Read, limits: Limits, *, probe: bool) -> _Job:
    address = settings.addresses()["shadow"]
    models = [(name, _context(settings, upstream)) for name, upstream in settings.models_at_home()]

    def judge(fact: Capabilities) -> list[Finding]:
        return judge_capabilities(replace(fact, at_home=bool(models)), limits)

    if not probe:
        return _Job(CAPABILITIES, SERVICE_S, lambda: known(address), judge)
    limit_s = PROBE_S * max(1, len(models)) + 1
    return _Job(CAPABILITIES, limit_s, lambda: probed(address, models, settings.probe_key()), judge)


def _context(settings: Read, upstream: str) -> int:
    """Tokens that are tried of an upstream; 0 for a page."""
    declared = settings.context_tokens(upstream)
    return min(declared - CONTEXT_ROOM, MOST_CONTEXT) if declared else 0


def _upstreams(settings: Read, limits: Limits, now_ns: Callable[[], int]) -> list[_Job]:
    def http(upstream: Upstream, secret: str, anthropic: bool) -> _Job:
        return _Job(
            f"{upstream.target}: {upstream.name}",
            UPSTREAM_S,
            lambda: read_upstream(upstream, secret, now_ns, anthropic=anthropic),
            lambda fact: judge_upstream(fact, limits),
        )

    jobs = [http(*item) for item in settings.upstreams()]
    if settings.router is None:
        return jobs

    def triton(name: str) -> _Job:
        # Triton's client takes half a second to import, and is not needed in every house.
        from playbook.doctor.read_home import read_home

        assert settings.router is not None
        region, item = settings.router.upstreams[name].region, settings.router.triton[name]
        return _Job(f"sovereign: {name}", HOME_S, lambda: read_home(name, region, item), judge_home)

    return jobs + [triton(name) for name in settings.router.triton]


async def _within(job: _Job, tell: Tell) -> Any:
    try:
        async with asyncio.timeout(job.limit_s):
            return await job.look()
    except TimeoutError:
        return _Missing(f"no answer within {job.limit_s:g} s")
    except Exception as error:
        # A defect of one check must not take the others with it, in an incident of all times.
        return _Missing(f"this check itself fails, please report it: {type(error).__name__}: {error}"[:300])
    finally:
        tell(job.part)


ORDER = ("settings", "router", "classifier", "ledger", "shadow", CLICKHOUSE, "journal", "cloud", "sovereign")
"""Parts of the page, from what applications see to what lies below."""


def _in_order(found: list[Finding]) -> list[Finding]:
    last = (CAPABILITIES, MACHINE)

    def place(item: Finding) -> int:
        if item.part in last:
            return len(ORDER) + last.index(item.part)
        words = item.part.replace(":", " ").split()
        return ORDER.index(words[0]) if words[0] in ORDER else len(ORDER)

    return sorted(found, key=place)
