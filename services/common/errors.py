"""The one error type of every core, and what each reason means at each door.

Pure: a core raises `DomainError`; the gRPC interceptor and the HTTP door turn it into a status. The
reasons are those of `protos/homeward/common/v1/error_reason.proto`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

ERROR_DOMAIN = "homeward"
"""`domain` of the google.rpc.ErrorInfo in every error."""


class Reason(StrEnum):
    """Why something failed. Over HTTP the lower-case name is the error's `code`."""

    INVALID_REQUEST = "INVALID_REQUEST"
    MALFORMED_JSON = "MALFORMED_JSON"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    WORKLOAD_NOT_FOUND = "WORKLOAD_NOT_FOUND"
    API_NOT_SUPPORTED = "API_NOT_SUPPORTED"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    FEATURE_NOT_SUPPORTED = "FEATURE_NOT_SUPPORTED"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    KEY_MISSING = "KEY_MISSING"
    KEY_INVALID = "KEY_INVALID"
    WORKLOAD_FORBIDDEN = "WORKLOAD_FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    PURPOSE_FORBIDDEN = "PURPOSE_FORBIDDEN"
    TARGET_NOT_ALLOWED = "TARGET_NOT_ALLOWED"
    UPSTREAM_UNREACHABLE = "UPSTREAM_UNREACHABLE"
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT"
    UPSTREAM_BROKEN = "UPSTREAM_BROKEN"
    UPSTREAM_REJECTED = "UPSTREAM_REJECTED"
    BREAKER_OPEN = "BREAKER_OPEN"
    CANCELLED = "CANCELLED"
    REPLICAS_BUSY = "REPLICAS_BUSY"
    ANSWER_INVALID = "ANSWER_INVALID"
    INTERNAL = "INTERNAL"
    NOT_AVAILABLE = "NOT_AVAILABLE"
    QUEUE_FULL = "QUEUE_FULL"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    EXPERIMENT_NOT_FOUND = "EXPERIMENT_NOT_FOUND"
    EXPERIMENT_FIXED = "EXPERIMENT_FIXED"
    STAGE_MOVE_FORBIDDEN = "STAGE_MOVE_FORBIDDEN"
    POLICY_CHANGED = "POLICY_CHANGED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    WORKLOAD_AMBIGUOUS = "WORKLOAD_AMBIGUOUS"
    WORKLOAD_WORSENS = "WORKLOAD_WORSENS"
    WORKLOAD_IN_SETTINGS = "WORKLOAD_IN_SETTINGS"
    MOVE_BLOCKED = "MOVE_BLOCKED"
    APPROVAL_FORBIDDEN = "APPROVAL_FORBIDDEN"


class Meaning(NamedTuple):
    """What a reason is called in other protocols."""

    grpc_code: str
    """Name of the google.rpc.Code."""
    http_status: int
    """HTTP status at the OpenAI-compatible door."""
    openai_type: str
    """`error.type` in the OpenAI shape; the SDKs choose their class by status alone."""
    anthropic_type: str
    """`error.type` in the Anthropic shape."""


_BAD = ("invalid_request_error", "invalid_request_error")
_KEY = ("authentication_error", "authentication_error")
_DENIED = ("permission_error", "permission_error")
_LIMIT = ("rate_limit_error", "rate_limit_error")
_BUSY = ("server_error", "overloaded_error")
_FAULT = ("server_error", "api_error")

MEANINGS: Mapping[Reason, Meaning] = {
    Reason.INVALID_REQUEST: Meaning("INVALID_ARGUMENT", 400, *_BAD),
    Reason.MALFORMED_JSON: Meaning("INVALID_ARGUMENT", 400, *_BAD),
    Reason.BODY_TOO_LARGE: Meaning("RESOURCE_EXHAUSTED", 413, _BAD[0], "request_too_large"),
    Reason.MODEL_NOT_FOUND: Meaning("NOT_FOUND", 404, _BAD[0], "not_found_error"),
    Reason.WORKLOAD_NOT_FOUND: Meaning("NOT_FOUND", 400, *_BAD),
    Reason.API_NOT_SUPPORTED: Meaning("FAILED_PRECONDITION", 400, *_BAD),
    Reason.REQUEST_TIMEOUT: Meaning("DEADLINE_EXCEEDED", 408, *_BAD),
    Reason.ROUTE_NOT_FOUND: Meaning("NOT_FOUND", 404, _BAD[0], "not_found_error"),
    Reason.FEATURE_NOT_SUPPORTED: Meaning("FAILED_PRECONDITION", 400, *_BAD),
    Reason.CONTEXT_LENGTH_EXCEEDED: Meaning("INVALID_ARGUMENT", 400, *_BAD),
    Reason.KEY_MISSING: Meaning("UNAUTHENTICATED", 401, *_KEY),
    Reason.KEY_INVALID: Meaning("UNAUTHENTICATED", 401, *_KEY),
    Reason.WORKLOAD_FORBIDDEN: Meaning("PERMISSION_DENIED", 403, *_DENIED),
    Reason.RATE_LIMITED: Meaning("RESOURCE_EXHAUSTED", 429, *_LIMIT),
    Reason.OVERLOADED: Meaning("UNAVAILABLE", 503, *_BUSY),
    Reason.PURPOSE_FORBIDDEN: Meaning("PERMISSION_DENIED", 403, *_DENIED),
    Reason.TARGET_NOT_ALLOWED: Meaning("FAILED_PRECONDITION", 403, *_DENIED),
    Reason.UPSTREAM_UNREACHABLE: Meaning("UNAVAILABLE", 502, *_FAULT),
    Reason.UPSTREAM_TIMEOUT: Meaning("DEADLINE_EXCEEDED", 504, *_FAULT),
    Reason.UPSTREAM_BROKEN: Meaning("UNAVAILABLE", 502, *_FAULT),
    Reason.UPSTREAM_REJECTED: Meaning("FAILED_PRECONDITION", 502, *_FAULT),
    Reason.BREAKER_OPEN: Meaning("UNAVAILABLE", 503, *_BUSY),
    Reason.CANCELLED: Meaning("CANCELLED", 499, *_BAD),
    Reason.REPLICAS_BUSY: Meaning("RESOURCE_EXHAUSTED", 429, _LIMIT[0], "overloaded_error"),
    Reason.ANSWER_INVALID: Meaning("FAILED_PRECONDITION", 502, *_FAULT),
    Reason.INTERNAL: Meaning("INTERNAL", 500, *_FAULT),
    Reason.NOT_AVAILABLE: Meaning("UNIMPLEMENTED", 501, *_FAULT),
    Reason.QUEUE_FULL: Meaning("RESOURCE_EXHAUSTED", 503, *_BUSY),
    Reason.STORAGE_UNAVAILABLE: Meaning("UNAVAILABLE", 503, *_FAULT),
    Reason.EXPERIMENT_NOT_FOUND: Meaning("FAILED_PRECONDITION", 404, _BAD[0], "not_found_error"),
    Reason.EXPERIMENT_FIXED: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.STAGE_MOVE_FORBIDDEN: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.POLICY_CHANGED: Meaning("ABORTED", 409, *_BAD),
    Reason.BUDGET_EXHAUSTED: Meaning("RESOURCE_EXHAUSTED", 429, *_LIMIT),
    Reason.WORKLOAD_AMBIGUOUS: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.WORKLOAD_WORSENS: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.WORKLOAD_IN_SETTINGS: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.MOVE_BLOCKED: Meaning("FAILED_PRECONDITION", 409, *_BAD),
    Reason.APPROVAL_FORBIDDEN: Meaning("PERMISSION_DENIED", 403, *_DENIED),
}

_QUOTING = frozenset({Reason.UPSTREAM_REJECTED, Reason.UPSTREAM_BROKEN})
"""Reasons whose message may be a model server's own words, and so quote prompts and answers."""


class DomainError(Exception):
    """A failure that a caller can act on.

    `message` is for people: what was wrong and what to do. `metadata` is for programs: the fields that
    the reason's example in `error_reason.proto` shows, all strings.
    """

    def __init__(self, reason: Reason, message: str, /, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = {key: str(value) for key, value in metadata.items()}

    @property
    def meaning(self) -> Meaning:
        """What the reason is called at each door."""
        return MEANINGS[self.reason]

    @property
    def traced_message(self) -> str:
        """What a trace may tell of it beside the reason: no message that may quote somebody's text."""
        return "" if self.reason in _QUOTING else self.message

    @property
    def retry_after_s(self) -> int | None:
        """Seconds after which to try again, if the reason names them."""
        value = self.metadata.get("retry_after_s")
        return int(value) if value is not None else None


def invalid_request(field: str, expected: str, got: object) -> DomainError:
    """The INVALID_REQUEST of a field that breaks the contract; an empty `field` is the whole request."""
    where = f"`{field}`" if field else "the body"
    return DomainError(
        Reason.INVALID_REQUEST,
        f"{where} must be {expected}, not {got}",
        field=field,
        expected=expected,
        got=got,
    )
