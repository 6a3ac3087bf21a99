"""What a model at home can do, asked for by a person: the probes of the gate without a workload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason, invalid_request
from services.shadow.core.features import JSON_OBJECT, JSON_SCHEMA, STOP, TOOLS
from services.shadow.core.gate import CONTEXT_LENGTH, STREAMING_USAGE, FixedParts, Need
from services.shadow.holders import holder
from services.shadow.probes import Probes, Subject, probe_all
from services.shadow.translate import capability_to_proto

CONTEXT_TOKENS = 1024
"""Context that is tried if nobody says how much: a page and its answer."""
MAX_CONTEXT_TOKENS = 4_000_000
"""With the room that a probe asks for first, its prompt still fits into a message."""
MIN_CONTEXT_TOKENS = 256
"""The probe measures with prompts of 64 and 128 words before it asks for more."""

_TOOLS = json.dumps(
    [
        {
            "name": "look_up",
            "description": "Looks up a word.",
            "parameters": {
                "type": "object",
                "properties": {"word": {"type": "string"}},
                "required": ["word"],
            },
        }
    ]
)
_SCHEMA = json.dumps(
    {
        "json_schema": {
            "name": "answer",
            "schema": {
                "type": "object",
                "properties": {"answer": {"type": "string"}},
                "required": ["answer"],
                "additionalProperties": False,
            },
        }
    }
)
_STOP = ("END",)


class ModelProbe:
    """Probes one model at a time: a model that is asked by two has less room for applications."""

    def __init__(self, probes: Probes, holders: Mapping[bytes, str]) -> None:
        """`holders` are the names of the keys that may ask, by the SHA-256 of their secrets."""
        self._probes = probes
        self._holders = holders
        self._turn = asyncio.Lock()

    async def probe(
        self, request: shadow_pb2.ProbeModelRequest, secret: str
    ) -> shadow_pb2.ProbeModelResponse:
        """Asks the model.

        Raises:
            DomainError: KEY_MISSING, PURPOSE_FORBIDDEN or INVALID_REQUEST.
        """
        if holder(self._holders, secret) is None:
            # Whether it is a key of something else is not told.
            raise DomainError(
                Reason.PURPOSE_FORBIDDEN,
                'that key may not probe models; give it scopes = ["experiments"] in [keys] of homeward.toml',
                key="",
                purpose="PROBE",
            )
        if not request.model:
            raise invalid_request("model", "the name of a model", "nothing")
        if request.context_tokens > MAX_CONTEXT_TOKENS:
            raise invalid_request(
                "context_tokens", f"at most {MAX_CONTEXT_TOKENS:,}", f"{request.context_tokens:,}"
            )
        context = max(request.context_tokens or CONTEXT_TOKENS, MIN_CONTEXT_TOKENS)
        parts = FixedParts(model=request.model, tools=_TOOLS, response_format=_SCHEMA, stop=_STOP)
        async with self._turn:
            found, failures = await probe_all(self._probes, Subject("", parts), needs(context))
        return shadow_pb2.ProbeModelResponse(
            capabilities=map(capability_to_proto, found),
            failures=[
                shadow_pb2.ProbeFailure(name=name, problem=problem) for name, problem in failures.items()
            ],
        )


def needs(context_tokens: int) -> tuple[Need, ...]:
    """What is asked, in the order of the page."""
    return (
        Need(CONTEXT_LENGTH, f"prompts of {context_tokens:,} tokens", size=context_tokens),
        Need(TOOLS, "calls of tools"),
        Need(JSON_SCHEMA, "answers that fit a JSON schema"),
        Need(JSON_OBJECT, "answers that are JSON objects"),
        Need(STOP, "answers that end at stop words"),
        Need(STREAMING_USAGE, "streams whose tokens are counted"),
    )
