"""Errors as OpenAI's API reports them (platform.openai.com/docs/guides/error-codes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INVALID = "invalid_request_error"

_TYPES = {
    401: (INVALID, "invalid_api_key"),
    403: (INVALID, "unsupported_country_region_territory"),
    404: (INVALID, None),
    429: ("requests", "rate_limit_exceeded"),
    503: ("service_unavailable_error", None),
}


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal, in the parts that OpenAI's error object has."""

    status: int
    """HTTP status."""
    message: str
    type: str = INVALID
    param: str | None = None
    """The path of the field that is wrong."""
    code: str | None = None

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        parts = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": parts}


def invalid(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A request that can't be understood."""
    return ApiError(400, message, INVALID, param, code)


def of_status(status: int) -> ApiError:
    """The error that OpenAI's API would send with a status."""
    default = (INVALID, None) if status < 500 else ("server_error", None)
    kind, code = _TYPES.get(status, default)
    return ApiError(status, f"The stand-in cloud was asked to answer {status}.", kind, None, code)


def unknown_model(model: str) -> ApiError:
    """There is no such model."""
    return ApiError(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        INVALID,
        "model",
        "model_not_found",
    )
