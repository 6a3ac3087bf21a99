"""What a service refuses is read back as it was said."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.interceptors import STATUS_DETAILS_KEY, refusal, status_of


def error(trailing: bytes) -> aio.AioRpcError:
    return aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata((STATUS_DETAILS_KEY, trailing)), "no"
    )


def packed(*details: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> bytes:
    status = status_pb2.Status(message="said")
    for detail in details:
        item = any_pb2.Any()
        item.Pack(detail)
        status.details.append(item)
    return bytes(status.SerializeToString())


@given(
    reason=st.sampled_from(Reason),
    message=st.text(max_size=20),
    metadata=st.dictionaries(st.text("abc", min_size=1), st.text(max_size=5), max_size=3),
    retry_after_s=st.none() | st.integers(0, 10**6),
)
def test_what_was_said_is_read_back(
    reason: Reason, message: str, metadata: dict[str, str], retry_after_s: int | None
) -> None:
    wait = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
    said = DomainError(reason, message, **metadata, **wait)
    heard = refusal(error(status_of(said).SerializeToString()))
    assert heard is not None
    assert (heard.reason, heard.message, heard.metadata) == (said.reason, said.message, said.metadata)
    assert heard.retry_after_s == retry_after_s


def test_the_wait_is_read_where_the_metadata_has_none() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 7
    heard = refusal(error(packed(retry, error_details_pb2.ErrorInfo(reason="RATE_LIMITED"))))
    assert heard is not None
    assert (heard.reason, heard.retry_after_s) == (Reason.RATE_LIMITED, 7)


def test_a_reason_of_a_later_version_is_internal() -> None:
    heard = refusal(error(packed(error_details_pb2.ErrorInfo(reason="MOON_TOO_LOW"))))
    assert heard is not None
    assert (heard.reason, heard.message) == (Reason.INTERNAL, "said")


@pytest.mark.parametrize("trailing", [b"", b"\xff\xff", packed(), packed(error_details_pb2.RetryInfo())])
def test_where_nothing_was_said_there_is_nothing(trailing: bytes) -> None:
    assert refusal(error(trailing)) is None


def test_an_error_of_grpc_itself_says_nothing() -> None:
    assert refusal(aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata(), "no")) is None
