"""The contract and what serves it belong together: no process is needed to see it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import error_reason_pb2, info_pb2, info_pb2_grpc
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.router.v1 import router_pb2, router_pb2_grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.classifier.servicer import ClassifierServicer
from services.common.errors import MEANINGS, Reason
from services.common.info import InfoServicer
from services.ledger.servicer import LedgerServicer
from services.router.servicer import RouterServicer
from services.shadow.servicer import ShadowServicer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

SERVICES: list[tuple[FileDescriptor, type, type]] = [
    (classifier_pb2.DESCRIPTOR, classifier_pb2_grpc.ClassifierServiceServicer, ClassifierServicer),
    (info_pb2.DESCRIPTOR, info_pb2_grpc.InfoServiceServicer, InfoServicer),
    (ledger_pb2.DESCRIPTOR, ledger_pb2_grpc.LedgerServiceServicer, LedgerServicer),
    (router_pb2.DESCRIPTOR, router_pb2_grpc.RouterServiceServicer, RouterServicer),
    (shadow_pb2.DESCRIPTOR, shadow_pb2_grpc.ShadowServiceServicer, ShadowServicer),
]

REASONS = {
    name.removeprefix("ERROR_REASON_"): number
    for name, number in error_reason_pb2.ErrorReason.items()
    if number
}
PREFIX = "ERROR_REASON_"


def only_service(file: FileDescriptor) -> ServiceDescriptor:
    """The service of a file."""
    (service,) = file.services_by_name.values()
    return service


def methods() -> list[object]:
    """Every RPC with the generated class and ours."""
    return [
        pytest.param(method.name, generated, ours, id=method.full_name)
        for file, generated, ours in SERVICES
        for method in only_service(file).methods
    ]


def reason_comments() -> dict[str, str]:
    """The comment above each reason in the contract, by the reason's name."""
    text = (ROOT / "protos/homeward/common/v1/error_reason.proto").read_text()
    found = re.findall(r"((?:^ *//.*\n)+) *ERROR_REASON_(\w+) = \d+;", text, re.MULTILINE)
    return {name: re.sub(r"^ *// ?", "", comment, flags=re.MULTILINE) for comment, name in found}


def examples() -> dict[str, dict[str, str]]:
    """The example of each reason's metadata."""
    found: dict[str, dict[str, str]] = {}
    for reason, comment in reason_comments().items():
        for line in re.findall(r"^Example: (.*)$", comment, re.MULTILINE):
            found[reason] = json.loads(line)
    return found


def raised_errors() -> list[object]:
    """Every place that makes a DomainError for a reason that is written there, with its metadata's keys."""
    found = []
    for file in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DomainError":
                reason = node.args[0]
                if isinstance(reason, ast.Attribute) and reason.attr.isupper():
                    keys = {key for keyword in node.keywords for key in keys_of(keyword)}
                    where = f"{file.relative_to(ROOT)}:{node.lineno}"
                    found.append(pytest.param(reason.attr, keys, id=f"{where} {reason.attr}"))
    return found


def keys_of(keyword: ast.keyword) -> list[object]:
    """The names that an argument gives: its own, or those of `**{…}`, for names that are Python's words."""
    if keyword.arg is None and isinstance(keyword.value, ast.Dict):
        return [ast.literal_eval(key) for key in keyword.value.keys if key is not None]
    return [keyword.arg]


def test_every_service_of_the_contract_is_served() -> None:
    declared = {
        match
        for file in (ROOT / "protos/homeward").rglob("*.proto")
        for match in re.findall(r"^service (\w+)", file.read_text(), re.MULTILINE)
    }
    assert {only_service(file).name for file, _, _ in SERVICES} == declared


@pytest.mark.parametrize(("method", "generated", "ours"), methods())
def test_every_rpc_has_a_method_of_its_own(method: str, generated: type, ours: type) -> None:
    assert issubclass(ours, generated)
    assert getattr(ours, method) is not getattr(generated, method)


@pytest.mark.parametrize(
    ("file", "ours"),
    [pytest.param(file, ours, id=only_service(file).name) for file, _, ours in SERVICES],
)
def test_no_servicer_serves_what_the_contract_does_not_have(file: FileDescriptor, ours: type) -> None:
    # By the names of gRPC's methods, which are the only ones that begin with a capital; some are inherited.
    served = {name for name in dir(ours) if name[0].isupper()}
    assert served == {method.name for method in only_service(file).methods}


def test_every_message_field_and_rpc_has_a_comment_and_a_good_name() -> None:
    done = subprocess.run(
        [BIN / "buf", "lint"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The rules that look at comments are switched on.
    rules = subprocess.run(
        [BIN / "buf", "config", "ls-lint-rules", "--configured-only"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    for kind in ("ENUM", "ENUM_VALUE", "FIELD", "MESSAGE", "ONEOF", "RPC", "SERVICE"):
        assert f"COMMENT_{kind}" in rules.split()


def test_nothing_that_was_released_has_changed_its_meaning() -> None:
    done = subprocess.run(
        [BIN / "buf", "breaking", "--against", "protos/released.binpb"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reasons_of_the_contract_are_those_of_the_code_and_each_has_a_meaning() -> None:
    assert {reason.value for reason in Reason} == set(REASONS)
    assert set(MEANINGS) == set(Reason)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_documented_with_an_example_of_its_metadata(reason: str) -> None:
    comment = reason_comments()[reason]
    assert comment.startswith(f"{PREFIX}{reason}: ")
    lines = [line for line in comment.splitlines() if line.startswith("Example: ")]
    assert len(lines) == 1
    example = json.loads(lines[0].removeprefix("Example: "))
    assert isinstance(example, dict)
    # The metadata of an ErrorInfo are texts.
    assert all(isinstance(value, str) for value in example.values())


@pytest.mark.parametrize(("reason", "keys"), raised_errors())
def test_an_error_has_no_metadata_that_the_contract_does_not_show(reason: str, keys: set[str]) -> None:
    assert keys <= examples()[reason].keys()
