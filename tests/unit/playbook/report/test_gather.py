"""What is taken from answers and settings: exact, plain, and without secrets."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2

from playbook.asked import Asked
from playbook.report import ask_journal, gather
from playbook.report.book import IDENTITY
from playbook.report.gathered import iso
from services.common.settings import Registry, parse
from services.common.stages import HOME

FILE = Path("homeward.toml")
DOCUMENT: dict[str, Any] = {
    "upstreams": {
        "cloud": {
            "base_url": "https://user:hunter2@api.example.com/v1?key=hunter2",
            "api_key": "hunter2",
            "provider": "example",
            "region": "eu",
        },
        "home": {"target": "sovereign", "protocol": "triton"},
    },
    "keys": {"demo": {"sha256": "hunter2" * 8, "scopes": ["approvals"]}},
    "workloads": {
        "triage": {"owner": "ops", "data_class": "health", "system_prompts": ["hunter2 is in the prompt"]}
    },
    "data_classes": {"health": {"targets": ["sovereign"], "regions": ["eu", "de"]}},
    "clickhouse": {"password": "hunter2"},
}


def told(environment: dict[str, str] | None = None) -> dict[str, Any]:
    registry = parse(Registry, {key: DOCUMENT[key] for key in Registry.model_fields}, FILE)
    return gather._settings(DOCUMENT, registry, environment or {})


def test_no_secret_and_no_prompt_gets_into_the_document() -> None:
    found = told()
    assert "hunter2" not in json.dumps(found)
    assert found["upstreams"]["cloud"] == {
        "target": "cloud",
        "protocol": "openai",
        "provider": "example",
        "region": "eu",
        "host": "api.example.com",
        "encryption": "TLS",
    }
    assert found["workloads"]["triage"]["allowed"] == {"targets": ["sovereign"], "regions": ["de", "eu"]}


def test_a_cloud_of_the_environment_is_the_one_that_is_told() -> None:
    found = told({"HOMEWARD_CLOUD_BASE_URL": "https://api.openai.com/v1"})
    assert (found["upstreams"]["cloud"]["host"], found["upstreams"]["cloud"]["provider"]) == (
        "api.openai.com",
        "openai",
    )


@pytest.mark.parametrize(
    ("upstream", "triton", "host", "encryption"),
    [
        ({"base_url": "http://10.0.0.5:8000/v1"}, {}, "10.0.0.5", "none"),
        ({"base_url": "https://api.example.com/v1"}, {}, "api.example.com", "TLS"),
        ({"protocol": "triton"}, {"replicas": ["gpu-2:8001", "gpu-1:8001"]}, "gpu-1, gpu-2", "none"),
        ({"protocol": "triton"}, {"replicas": ["gpu-1:8001"], "tls_dir": "/tls"}, "gpu-1", "mutual TLS"),
    ],
)
def test_a_connection_is_told_with_its_hosts_and_its_encryption(
    upstream: dict[str, Any], triton: dict[str, Any], host: str, encryption: str
) -> None:
    found = gather._upstream(upstream, triton)
    assert (found["host"], found["encryption"]) == (host, encryption)


def test_a_rollback_is_looked_at_until_the_workload_is_decided_about_again() -> None:
    def row(number: int, workload: str, minute: int) -> dict[str, Any]:
        return {"decision_id": number, "workload": workload, "decide_time": f"2026-10-01T12:{minute:02}:00Z"}

    rows = [row(1, "a", 0), row(2, "a", 5), row(3, "b", 6), row(4, "a", 9), row(5, "a", 12)]
    end = "2026-10-01T13:00:00Z"
    assert ask_journal.next_decision(rows[1], rows, end) == rows[3]["decide_time"]
    assert ask_journal.next_decision(rows[2], rows, end) == end
    assert ask_journal.next_decision(rows[4], rows, end) == end


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (math.inf, None),
        (1.5, 1.5),
        (Decimal("0.5"), 0.5),
        (2**63, 2**63),
        (datetime(2026, 10, 1, 12), "2026-10-01T12:00:00"),
        (date(2026, 10, 1), "2026-10-01"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"late/": 3}, {"late/": 3}),
        ((1, None), [1, None]),
        (None, None),
        (True, True),
    ],
)
def test_an_answer_is_json_and_what_is_no_number_is_unknown(value: Any, plain: Any) -> None:
    assert gather._plain(value) == plain
    json.dumps(gather._plain(value), allow_nan=False)


@pytest.mark.parametrize(
    ("span_s", "step_s"),
    [(0, 1), (320, 10), (3_600, 300), (86_400, 3_600), (20 * 86_400, 43_200), (4e8, 604_800)],
)
def test_the_picture_of_traffic_has_few_steps(span_s: float, step_s: int) -> None:
    answers = {"totals": Asked("", {}, [{"span_s": span_s}])}
    assert gather._step_s(answers, 0) == step_s


def test_an_empty_period_has_steps_as_well() -> None:
    assert gather._step_s({"totals": Asked("", {}, [{"span_s": None}])}, 600) == 30
    assert gather._step_s({}, 600) == 30


def test_a_decision_is_told_with_its_evidence_and_hash() -> None:
    item = ledger_pb2.Decision(
        decision_id=7, actor="shadow", reason="READY", workload="triage", policy_version=9,
        after=policy_pb2.WorkloadPolicy(
            stage=policy_pb2.Stage.ValueType(int(HOME.stage)), sovereign_share_ppm=HOME.share_ppm
        ),
        entry_sha256=bytes(32),
    )  # fmt: skip
    item.decide_time.FromDatetime(datetime(2026, 10, 1, 12, 0, 0, 250_000))
    item.evidence.update({"log_k": 4.5})
    found = ask_journal._decision(item)
    assert found["decide_time"] == "2026-10-01T12:00:00.250000Z"
    assert (found["before"], found["to"], found["evidence"]) == (None, "HOME", {"log_k": 4.5})
    assert found["entry_sha256"] == "00" * 32
    # As text, times have the order of time.
    assert found["decide_time"] < iso(datetime(2026, 10, 1, 12, 0, 0, 250_001, UTC))


def test_each_query_says_what_tells_its_rows_apart() -> None:
    files = {file.stem for file in gather.QUERIES.glob("*.sql")}
    assert files == {*IDENTITY, "first"}
    for name, columns in IDENTITY.items():
        sql = (gather.QUERIES / f"{name}.sql").read_text(encoding="utf-8")
        assert sql.startswith("-- ")
        assert all(column in sql for column in columns)
