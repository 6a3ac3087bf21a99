"""What models at home can do: as shadow's last probes found, or asked for now."""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc
from grpc import aio
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from playbook.doctor.facts import Capabilities, Capability
from services.common.interceptors import refusal, untraced
from services.common.server import MAX_MESSAGE_BYTES

READ_S = 3.0
"""Longest wait for what is known."""
PROBE_S = 120.0
"""Longest wait for the probes of one model: ten answers of up to 256 tokens each, from a busy server."""


async def known(address: str) -> Capabilities:
    """What the last probes found, by workload."""
    async with _channel(address) as channel:
        try:
            answer = await shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
                shadow_pb2.ListMigrationsRequest(), timeout=READ_S, metadata=untraced()
            )
        except aio.AioRpcError as error:
            return Capabilities(problem=f"shadow at {address} does not tell: {_said(error)}")
    return Capabilities(
        [
            _capability(item.policy.workload, found)
            for item in answer.migrations
            for found in item.capabilities
        ]
    )


async def probed(address: str, models: Sequence[tuple[str, int]], key: str) -> Capabilities:
    """Asks each model, one after the other; each probe is a leg of purpose PROBE.

    Args:
        address: shadow's.
        models: the name that applications ask for, and the context in tokens (0 if unknown) of each.
        key: an API key with the scope `experiments`.
    """
    found: list[Capability] = []
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    async with _channel(address) as channel:
        stub = shadow_pb2_grpc.ShadowServiceStub(channel)
        for model, context_tokens in models:
            request = shadow_pb2.ProbeModelRequest(model=model, context_tokens=context_tokens)
            try:
                answer = await stub.ProbeModel(request, timeout=PROBE_S, metadata=metadata)
            except aio.AioRpcError as error:
                found.append(Capability(model, "probes", None, _said(error)))
                continue
            found += [_capability(model, item) for item in answer.capabilities]
            found += [Capability(model, item.name, None, item.problem) for item in answer.failures]
    return Capabilities(found, probed=True)


def _channel(address: str) -> aio.Channel:
    return aio.insecure_channel(address, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])


def _capability(subject: str, item: shadow_pb2.Capability) -> Capability:
    age_s = max(0.0, time.time() - item.probe_time.ToNanoseconds() / 1e9)
    return Capability(subject, item.name, item.passed, item.found, age_s)


def _said(error: aio.AioRpcError) -> str:
    refused = refusal(error)
    if refused is not None:
        return refused.message
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return "it is of a version before this one, which can't"
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "nothing answers"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "it did not answer in time"
    return error.code().name
