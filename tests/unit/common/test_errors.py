"""The reasons: all that the contract has, each with a meaning at every door."""

import pytest
from google.rpc import code_pb2
from homeward.common.v1 import error_reason_pb2

from services.common.errors import MEANINGS, DomainError, Meaning, Reason

# https://docs.anthropic.com/en/api/errors
ANTHROPIC_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
}


def test_the_reasons_are_those_of_the_proto() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert {reason.name for reason in Reason} == names - {"UNSPECIFIED"}
    assert all(reason.value == reason.name for reason in Reason)


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_meaning_is_valid_in_each_protocol(reason: Reason) -> None:
    meaning = MEANINGS[reason]
    assert code_pb2.Code.Value(meaning.grpc_code) != code_pb2.OK
    assert 400 <= meaning.http_status < 600
    assert meaning.anthropic_type in ANTHROPIC_TYPES
    assert meaning.openai_type.endswith("_error")


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (
            Reason.KEY_INVALID,
            Meaning("UNAUTHENTICATED", 401, "authentication_error", "authentication_error"),
        ),
        (Reason.RATE_LIMITED, Meaning("RESOURCE_EXHAUSTED", 429, "rate_limit_error", "rate_limit_error")),
        (Reason.OVERLOADED, Meaning("UNAVAILABLE", 503, "server_error", "overloaded_error")),
        (Reason.MODEL_NOT_FOUND, Meaning("NOT_FOUND", 404, "invalid_request_error", "not_found_error")),
        (Reason.UPSTREAM_TIMEOUT, Meaning("DEADLINE_EXCEEDED", 504, "server_error", "api_error")),
    ],
)
def test_what_clients_choose_their_exception_by(reason: Reason, meaning: Meaning) -> None:
    assert DomainError(reason, "").meaning == meaning


def test_an_error_carries_its_message_and_its_fields_as_strings() -> None:
    error = DomainError(Reason.BODY_TOO_LARGE, "too large", limit_bytes=33, field="body")
    assert (str(error), error.message, error.reason) == ("too large", "too large", Reason.BODY_TOO_LARGE)
    assert error.metadata == {"limit_bytes": "33", "field": "body"}


@pytest.mark.parametrize(("metadata", "seconds"), [({}, None), ({"retry_after_s": 12}, 12)])
def test_an_error_says_after_how_long_to_try_again_if_it_knows(
    metadata: dict[str, int], seconds: int | None
) -> None:
    assert DomainError(Reason.RATE_LIMITED, "", **metadata).retry_after_s == seconds


@pytest.mark.parametrize("reason", Reason)
def test_traces_get_no_message_that_quotes_a_model_server(reason: Reason) -> None:
    quotes = reason in (Reason.UPSTREAM_REJECTED, Reason.UPSTREAM_BROKEN)
    assert DomainError(reason, "said").traced_message == ("" if quotes else "said")
