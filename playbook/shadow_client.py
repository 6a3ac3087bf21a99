"""How the commands talk to shadow, as whom, and what they say when it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from playbook.configured import Places, configured
from playbook.refused import API_KEY, no_workload, refused
from playbook.state_files import text_in
from services.common.server import MAX_MESSAGE_BYTES

TIMEOUT_S = 30.0
"""Longest wait for an answer: a move asks the ledger, and probes may run before the first."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Shadow, and the key that asks."""

    service: shadow_pb2_grpc.ShadowServiceStub
    metadata: tuple[tuple[str, str], ...]
    """With `authorization`, if there is a key."""
    state_dir: Path
    """Where `make run` keeps what outlives it."""
    settings: Path

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
        raise no_workload(workload, self.settings)


@contextmanager
def shadow(settings: Path) -> Iterator[Caller]:
    """Shadow as the settings name it; what goes wrong inside is told, with exit code 1."""
    places = configured(Places, settings)
    address, state_dir = places.shadow.grpc, places.local.state_dir
    key = api_key(state_dir, os.environ)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]) as channel:
        try:
            yield Caller(shadow_pb2_grpc.ShadowServiceStub(channel), metadata, state_dir, settings)
        except grpc.RpcError as error:
            late = "`homeward shadow list` tells whether it has done its work since."
            raise refused(error, "shadow", address, settings, late) from None


def api_key(state_dir: Path, environment: Mapping[str, str]) -> str:
    """The key of who asks: HOMEWARD_API_KEY, else that of `make run`; empty if there is none."""
    if key := environment.get(API_KEY, ""):
        return key
    return text_in(state_dir / "endpoints.json", "api_key")
