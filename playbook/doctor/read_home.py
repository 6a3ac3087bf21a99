"""Asks the Triton servers of a model at home, and reads the model's folder as the router does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from playbook.doctor.apart import apart
from playbook.doctor.facts import Home, Replica
from services.common.settings import SettingsError
from services.router.adapters.generation import ReplicaError
from services.router.adapters.model_folder import ModelFolder
from services.router.adapters.triton import INPUTS, TritonServer
from services.router.config import TritonSettings

CALL_S = 2.0
"""Longest wait for what the server knows by heart."""
TOKEN_S = 8.0
"""Longest wait for a token: requests of applications go first."""
_TLS_FILES = {
    "root_certificates": "ca.crt",
    "certificate_chain": "client.crt",
    "private_key": "client.key",
}


async def read_home(name: str, region: str, settings: TritonSettings) -> Home:
    """An upstream with protocol = "triton": its model's folder, and each replica."""
    replicas = asyncio.gather(*(_replica(address, settings) for address in settings.replicas))
    here, problem, tokens = await apart(lambda: _folder(settings.model_dir))
    return Home(
        name=name,
        region=region,
        model=settings.model,
        folder=str(settings.model_dir),
        folder_here=here,
        folder_problem=problem,
        context_tokens=settings.context_tokens or tokens or None,
        folder_tokens=tokens or None,
        replicas=await replicas,
    )


def _folder(path: Path) -> tuple[bool, str, int]:
    """Whether it is here, why the router would not take it (empty if it would), and its context."""
    if not path.is_dir():
        return False, "", 0
    try:
        return True, "", ModelFolder(path).context_tokens
    except SettingsError as error:
        return True, str(error), 0


async def _replica(address: str, settings: TritonSettings) -> Replica:
    try:
        tls: dict[str, Any] = {}
        if settings.tls_dir is not None:
            tls = {key: str(settings.tls_dir / file) for key, file in _TLS_FILES.items()} | {"ssl": True}
        client = InferenceServerClient(address, **tls)
    except OSError as error:
        return Replica(address, unasked=f"tls_dir {settings.tls_dir}: {error.strerror or error}")
    try:
        metadata = await client.get_server_metadata(client_timeout=CALL_S)
        ready = await client.is_server_ready(client_timeout=CALL_S)
        states = await _states(client, settings.model)
        config = await client.get_model_config(settings.model, client_timeout=CALL_S) if states else None
    except InferenceServerException as error:
        return Replica(address, problem=_said(error))
    finally:
        await client.close()
    inputs = {item.name for item in config.config.input} if config is not None else set(INPUTS)
    return Replica(
        address,
        version=metadata.version,
        ready=bool(ready),
        states=states,
        mute=await _tokens(address, settings) if ready and states else {},
        missing_inputs=sorted(set(INPUTS) - inputs),
    )


async def _states(client: InferenceServerClient, model: str) -> dict[str, str]:
    index = await client.get_model_repository_index(client_timeout=CALL_S)
    return {
        item.version: item.state + (f" ({item.reason})" if item.reason else "")
        for item in index.models
        # A version that was unloaded on purpose is listed without a state.
        if item.name == model and item.state and item.reason != "unloaded"
    }


async def _tokens(address: str, settings: TritonSettings) -> Mapping[str, str]:
    """Why versions make no token. A server whose model's process has died still says that it is ready."""
    versions = tuple(dict.fromkeys(settings.versions.values())) or ("",)
    server = TritonServer(address, settings.model, settings.tls_dir)
    try:
        told = await asyncio.gather(*(_token(server, version) for version in versions))
    finally:
        await server.close()
    return dict(zip(versions, told, strict=True))


async def _token(server: TritonServer, version: str) -> str:
    try:
        await server.probe(version, TOKEN_S)
    except ReplicaError as error:
        # One that has too much to do is alive.
        return "" if error.full else str(error)
    return ""


def _said(error: InferenceServerException) -> str:
    status = str(error.status() or "")
    if "UNAVAILABLE" in status:
        return "nothing answers"
    if "DEADLINE" in status:
        return f"no answer within {CALL_S:g} s"
    return " ".join(str(error.message() or error).split())[:200]
