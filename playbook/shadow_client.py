"""How the commands talk to shadow, as whom, and what they say when it does not answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc
from pydantic import ConfigDict

from playbook.classifier_client import stopped
from services.common.errors import Reason
from services.common.interceptors import STATUS_DETAILS_KEY
from services.common.server import MAX_MESSAGE_BYTES
from services.common.settings import Section, SettingsError, load
from services.shadow.config import Shadow

TIMEOUT_S = 30.0
"""Longest wait for an answer: a move asks the ledger, and probes may run before the first."""
API_KEY = "HOMEWARD_API_KEY"
"""Environment variable with the key of who asks."""


class _Local(Section):
    """What a caller must know of `[local]`: all of its settings would import all services', and a rollback
    must not wait for that."""

    model_config = ConfigDict(extra="ignore")

    state_dir: Path = Path(".homeward")
    """As in deploy.local.config."""


class _Config(Section):
    """What a caller must know of the settings."""

    shadow: Shadow = Shadow()
    local: _Local = _Local()


@dataclass(frozen=True, slots=True)
class Caller:
    """Shadow, and the key that asks."""

    service: shadow_pb2_grpc.ShadowServiceStub
    metadata: tuple[tuple[str, str], ...]
    """With `authorization`, if there is a key."""
    state_dir: Path
    """Where `make run` keeps what outlives it."""

    def migrations(self, workload: str = "") -> shadow_pb2.ListMigrationsResponse:
        """Where workloads stand: one, or all."""
        return self.service.ListMigrations(
            shadow_pb2.ListMigrationsRequest(workload=workload), timeout=TIMEOUT_S
        )

    def migration(self, workload: str) -> shadow_pb2.Migration:
        """Where one workload stands; that there is no such workload is told, with exit code 1."""
        for item in self.migrations(workload).migrations:
            if item.policy.workload == workload:
                return item
        raise stopped(
            f"shadow knows no workload {workload!r}. Next: `homeward shadow list` shows those that it knows,"
            " `homeward workload add` registers one."
        )


@contextmanager
def shadow(settings: Path) -> Iterator[Caller]:
    """Shadow as the settings name it; what goes wrong inside is told, with exit code 1."""
    try:
        config = load(_Config, *_Config.model_fields, path=settings, environment=os.environ)
    except SettingsError as error:
        raise stopped(str(error)) from None
    address, state_dir = config.shadow.grpc, config.local.state_dir
    key = api_key(state_dir, os.environ)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]) as channel:
        try:
            yield Caller(shadow_pb2_grpc.ShadowServiceStub(channel), metadata, state_dir)
        except grpc.RpcError as error:
            raise stopped(told(error, address, settings)) from None


def api_key(state_dir: Path, environment: Mapping[str, str]) -> str:
    """The key of who asks: HOMEWARD_API_KEY, else that of `make run`; empty if there is none."""
    if key := environment.get(API_KEY, ""):
        return key
    try:
        found = json.loads((state_dir / "endpoints.json").read_text(encoding="utf-8"))["api_key"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return found if isinstance(found, str) else ""


def told(error: grpc.RpcError, address: str, settings: Path) -> str:
    """What went wrong, for people: what blocks a move has a line each."""
    code, details = error.code(), " ".join((error.details() or "").split())
    info = error_info(error)
    if info is None and code is grpc.StatusCode.UNAVAILABLE:
        return (
            f"no shadow answers at {address}; start everything with `make run`, or it alone with"
            f" `python -m services.shadow {settings}`"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return (
            f"shadow at {address} did not answer within {TIMEOUT_S:.0f} s; `homeward shadow list` tells"
            " whether it has done its work since"
        )
    if info is None and code is grpc.StatusCode.UNIMPLEMENTED:
        return f"shadow at {address} can't do that ({details}); is it of this version?"
    if info is None:
        return details or code.name
    # What blocks is in the message too, all in one line.
    blocks = " ".join(info.metadata.get("blocks", "").split())
    head = details.removesuffix(blocks).rstrip(" :") if blocks else details
    return "\n".join([head, *_more(info)])


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    """What a service of ours says of its error; None if the error is not from one."""
    for item in error.trailing_metadata() or ():
        if item.key != STATUS_DETAILS_KEY:
            continue
        info = error_details_pb2.ErrorInfo()
        for detail in status_pb2.Status.FromString(item.value).details:
            if detail.Unpack(info):
                return info
    return None


def _more(info: error_details_pb2.ErrorInfo) -> list[str]:
    """What blocks, and what to do."""
    workload = info.metadata.get("workload", "WORKLOAD")
    if info.reason == Reason.MOVE_BLOCKED:
        text = info.metadata.get("blocks", "")
        blocks = [part.strip() for part in text.split("\n" if "\n" in text else ";")]
        lines = [f"  - {block}" for block in blocks if block]
        return [*lines, f"Next: `homeward shadow show {workload}` shows how far it is."]
    if info.reason == Reason.APPROVAL_FORBIDDEN or info.reason.startswith("KEY_"):
        return [
            f'Next: set {API_KEY} to a key that may: scopes = ["approvals"] in its [keys.NAME], and among the'
            " workload's approvers if it has some."
        ]
    if info.reason == Reason.WORKLOAD_NOT_FOUND:
        return [
            "Next: `homeward shadow list` shows those that there are; `homeward workload add` registers one."
        ]
    if info.reason == Reason.STAGE_MOVE_FORBIDDEN:
        return [f"Next: `homeward shadow show {workload}` shows where it stands."]
    return []
