"""Asks the book, the journal, shadow and the settings for what a document tells."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import grpc
from clickhouse_connect.driver.client import Client
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

import services
from playbook import standing
from playbook.asked import Asked
from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.report.ask_examples import ask_examples
from playbook.report.ask_journal import ask_journal, next_decision
from playbook.report.ask_workloads import ask_workloads
from playbook.report.gathered import Gathered, Row, iso
from playbook.report.planned import read_planned
from playbook.report.settings import ComplianceConfig
from playbook.report.written_with import written_with
from playbook.shadow_client import api_key
from services.common.server import MAX_MESSAGE_BYTES
from services.common.settings import UNRESTRICTED, DataClass, Registry, load, parse, read_document
from services.common.stages import Place
from services.common.words import Stage
from services.router.config import CLOUD_BASE_URL, CLOUD_PROVIDER

QUERIES = Path(__file__).parent / "queries"
WHOLE = (
    *("totals", "spend", "residency", "records", "latency", "traffic"),
    *("windows", "funnel", "agreement", "pools"),
)
"""Queries of the whole period; `retention` and `text_columns` ask the tables themselves."""
STEPS = 48
"""Steps of the picture of traffic: more can't be told apart on a page."""
STEP_LENGTHS_S = (1, 2, 5, 10, 30, 60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800)
SETTLE_S, CLOSING_S = 300, 15
"""The default of `[pools.NAME] settle_s`, and how long closing itself may take."""
CALL_S = 10.0


def gather(
    settings: Path,
    environment: Mapping[str, str],
    workloads: Sequence[str],
    since: datetime | None,
    until: datetime,
) -> Gathered:
    """Everything for a document.

    Args:
        settings: the settings file.
        environment: as os.environ.
        workloads: that it is about; empty: all that are registered, or have traffic.
        since: the first moment; None: of the book.
        until: the first moment that is no longer in it.

    Raises:
        SettingsError: the settings are wrong.
        typer.Exit: ClickHouse is away; it is told.
    """
    document = read_document(settings, environment)
    registry = parse(
        Registry, {key: document[key] for key in Registry.model_fields if key in document}, settings
    )
    problems: list[str] = []
    decisions = ask_journal(_address(document, "ledger", "127.0.0.1:8084"), until, problems)
    migrations = _migrations(_address(document, "shadow", "127.0.0.1:8083"), problems)
    declared = load(ComplianceConfig, "compliance", path=settings, environment=environment)
    told = {
        **_settings(document, registry, environment),
        "compliance": declared.compliance.model_dump(mode="json"),
    }
    registered = ask_workloads(
        _address(document, "classifier", "127.0.0.1:8082"),
        registry.workloads,
        {name: _allowed(item) for name, item in _classes(registry).items()},
        problems,
    )
    told["workloads"] |= registered or {}
    with closing(reader(settings)) as client:
        asking = _Asking(client, problems)
        if since is None:
            rows = asking.ask("first", QUERIES / "first.sql", {})
            first = rows[0]["first_hour"] if rows else None
            since = datetime.fromisoformat(first).replace(tzinfo=UTC) if first else until - timedelta(days=1)
        period = {"since": _sql_time(since), "until": _sql_time(until)}
        given = {**period, "workloads": sorted(workloads)}
        asking.ask("totals", QUERIES / "totals.sql", given)
        step_s = _step_s(asking.answers, (until - since).total_seconds())
        extra = {"traffic": {"step_s": step_s}, "pools": {"grace_s": _grace_s(document)}}
        for name in WHOLE[1:]:
            asking.ask(name, QUERIES / f"{name}.sql", {**given, **extra.get(name, {})})
        for name in ("retention", "text_columns"):
            asking.ask(name, QUERIES / f"{name}.sql", {})
        names = sorted(workloads) or _names(told["workloads"], asking.answers)
        for name in names:
            # What nobody says the data class of was held to nothing.
            if name in told["workloads"]:
                allowed = told["workloads"][name]["allowed"]
                asking.ask(
                    f"outside/{name}", QUERIES / "outside.sql", {**period, "workload": name, **allowed}
                )
        shadow = _address(document, "shadow", "127.0.0.1:8083")
        key = api_key(Path(document.get("local", {}).get("state_dir", ".homeward")), environment)
        examples = ask_examples(shadow, key, names, (since, until), problems, expected=_keeps(registry))
        samples = [
            item["sample_id"].replace("-", "") for found in (examples or {}).values() for item in found
        ]
        asking.ask("examples", QUERIES / "examples.sql", {**period, "sample_ids": sorted(samples)})
        for row in decisions or ():
            if row["workload"] in names and row["to"] == str(Place(Stage.ROLLED_BACK)):
                asking.ask(
                    f"in_force/{row['decision_id']}",
                    QUERIES / "in_force.sql",
                    {
                        "workload": row["workload"],
                        "decide_time": _sql_text(row["decide_time"]),
                        "until": _sql_text(next_decision(row, decisions or (), iso(until))),
                    },
                )
        planned = read_planned(settings, environment, until, problems, decisions, sorted(workloads))
    told["plan"] = planned.settings
    return Gathered(
        since=iso(since),
        until=iso(until),
        workloads=names,
        asked_workloads=sorted(workloads),
        answers={name: item for name, item in asking.answers.items() if name != "first"} | planned.asked,
        decisions=[row for row in decisions or () if not workloads or row["workload"] in names],
        migrations=migrations,
        settings=told,
        registered=None if registered is None else sorted(registered),
        examples=examples,
        inventory=_plain(planned.inventory),
        finance=planned.inputs,
        plan=_plain(planned.plan),
        lines_of_code=_lines_of_code(),
        problems=problems,
        version=importlib.metadata.version("homeward"),
        written_with=written_with(),
    )


class _Asking:
    """Asks queries and keeps them with their answers; what can't be asked is a problem."""

    def __init__(self, client: Client, problems: list[str]) -> None:
        self._client, self._problems = client, problems
        self.answers: dict[str, Asked] = {}

    def ask(self, name: str, file: Path, parameters: Mapping[str, Any]) -> Sequence[Row]:
        sql = file.read_text(encoding="utf-8")
        try:
            found = self._client.query(sql, parameters=dict(parameters))
        except UNREACHABLE as error:
            self._problems.append(f"the query {name} could not be asked: {first_line(error)}")
            return ()
        rows = [{key: _plain(value) for key, value in row.items()} for row in found.named_results()]
        self.answers[name] = Asked(sql, dict(parameters), rows)
        return rows


def _plain(value: Any) -> Any:
    """As JSON has it: not a number is unknown."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value)
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value


def _step_s(answers: Mapping[str, Asked], period_s: float) -> int:
    rows = answers["totals"].rows if "totals" in answers else ()
    span_s = (rows[0]["span_s"] if rows else None) or period_s
    return next((step for step in STEP_LENGTHS_S if span_s / step <= STEPS), STEP_LENGTHS_S[-1])


def _grace_s(document: Mapping[str, Any]) -> int:
    """Seconds after a pool's period by which it is closed: one that is closed later would be news to a
    document that was made before."""
    settle_s = [int(item.get("settle_s", SETTLE_S)) for item in document.get("pools", {}).values()]
    return max(settle_s, default=SETTLE_S) + CLOSING_S


def _names(registered: Iterable[str], answers: Mapping[str, Asked]) -> list[str]:
    """Workloads that are registered, or have legs in the period."""
    booked = {row["workload"] for row in answers["spend"].rows} if "spend" in answers else set()
    return sorted({*registered, *booked})


def _migrations(address: str, problems: list[str]) -> list[dict[str, Any]] | None:
    with grpc.insecure_channel(address, _options()) as channel:
        try:
            found = shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
                shadow_pb2.ListMigrationsRequest(), timeout=CALL_S
            )
        except grpc.RpcError as error:
            problems.append(f"shadow at {address} does not tell what it probed ({error.code().name})")
            return None
    return [_plain(standing.document(item)) for item in found.migrations]


def _keeps(registry: Registry) -> bool:
    """Whether there are examples that could be missed."""
    return any(registry.data_class(name).keep_examples_days for name in registry.workloads)


def _options() -> list[tuple[str, int]]:
    return [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]


def _settings(
    document: Mapping[str, Any], registry: Registry, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What the document tells of the settings; no secrets, no prompts."""
    triton = document.get("triton", {})
    upstreams = {
        name: _upstream(item, triton.get(name, {})) for name, item in document.get("upstreams", {}).items()
    }
    if environment.get(CLOUD_BASE_URL):
        upstreams["cloud"] = _upstream(
            {
                "base_url": environment[CLOUD_BASE_URL],
                "provider": environment.get(CLOUD_PROVIDER) or "openai",
                "region": upstreams.get("cloud", {}).get("region", ""),
            },
            {},
        )
    return {
        "workloads": {
            name: {
                "owner": item.owner,
                "description": item.description,
                "task_type": item.task_type,
                "data_class": item.data_class,
                "quality_sensitivity": item.quality_sensitivity,
                "allowed": _allowed(registry.data_class(name)),
                "cutover": item.cutover.model_dump(mode="json"),
                "personal_data": item.personal_data.model_dump(mode="json") if item.personal_data else None,
            }
            for name, item in registry.workloads.items()
        },
        "data_classes": {
            name: {"keep_examples_days": item.keep_examples_days} for name, item in _classes(registry).items()
        },
        "upstreams": upstreams,
        "pools": document.get("pools", {}),
        "prices": document.get("prices", []),
        "budgets": document.get("budgets", {}),
        "keys": {
            name: {"scopes": item.get("scopes", []), "workloads": item.get("workloads", ["*"])}
            for name, item in document.get("keys", {}).items()
        },
        "classifier": {
            "keep_unnamed_prompts": bool(document.get("classifier", {}).get("keep_unnamed_prompts", False))
        },
    }


def _classes(registry: Registry) -> dict[str, DataClass]:
    return {"unrestricted": UNRESTRICTED, **registry.data_classes}


def _allowed(data_class: DataClass) -> dict[str, list[str]]:
    return {"targets": sorted(data_class.targets), "regions": sorted(data_class.regions)}


def _upstream(item: Mapping[str, Any], triton: Mapping[str, Any]) -> dict[str, Any]:
    where = urlsplit(item.get("base_url") or "")
    replicas = {address.rpartition(":")[0] for address in triton.get("replicas", ())}
    return {
        "target": item.get("target", "cloud"),
        "protocol": item.get("protocol", "openai"),
        "provider": item.get("provider", ""),
        "region": item.get("region", ""),
        "host": where.hostname or ", ".join(sorted(replicas)),
        "encryption": "mutual TLS" if triton.get("tls_dir") else "TLS" if where.scheme == "https" else "none",
    }


def _lines_of_code() -> int:
    """Of the services as they are installed, without blank ones."""
    files = Path(services.__path__[0]).rglob("*.py")
    return sum(1 for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip())


def _address(document: Mapping[str, Any], section: str, default: str) -> str:
    return str(document.get(section, {}).get("grpc", default))


def _sql_time(moment: datetime) -> str:
    return _sql_text(iso(moment))


def _sql_text(moment: str) -> str:
    return moment.replace("T", " ").removesuffix("Z")
