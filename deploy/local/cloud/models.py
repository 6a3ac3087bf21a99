"""The models that the stand-in serves."""

from __future__ import annotations

from typing import Any

from deploy.local.cloud.errors import INVALID, ApiError, unknown_model
from deploy.local.cloud.fields import Fields

OWNER = "homeward-stand-in"
FINGERPRINT = "stand-in"
TEXT = "stand-in-mini"
"""Serves chat completions, completions and responses."""
EMBEDDING = "stand-in-embed"
"""Serves embeddings."""

OTHER_NAMES = {"gpt-4o-mini": TEXT, "text-embedding-3-small": EMBEDDING}
"""Names of a cloud's models that it answers to, so that applications and the examples need no other name
when there is no cloud. Its answers say which of its own models served."""

CREATED = 1_704_067_200
"""2024-01-01, in seconds since 1970: the API wants a time."""


def card(model: str) -> dict[str, Any]:
    """The description of a model.

    Raises:
        ApiError: there is no such model.
    """
    model = OTHER_NAMES.get(model, model)
    if model not in (TEXT, EMBEDDING):
        raise unknown_model(model)
    return {"id": model, "object": "model", "created": CREATED, "owned_by": OWNER}


def listed() -> dict[str, Any]:
    """The descriptions of all models."""
    return {"object": "list", "data": [card(TEXT), card(EMBEDDING)]}


def named(fields: Fields, served: str, path: str) -> str:
    """The model of ours that a request names, if the path serves it.

    Raises:
        ApiError: it names none, an unknown one, or one that the path does not serve.
    """
    if fields.get("model") is None:
        raise ApiError(
            400, "you must provide a model parameter", INVALID, "model", "missing_required_parameter"
        )
    model = fields.text("model")
    if card(model)["id"] != served:
        raise ApiError(404, f"The model `{model}` is not supported in {path}.", INVALID, "model", None)
    return served
