"""What a Homeward service says when it refuses a call."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from services.common.errors import DomainError, Reason
from services.common.interceptors import STATUS_DETAILS_KEY


def refusal(error: aio.AioRpcError) -> DomainError | None:
    """What the service itself says; None if the error is not of Homeward."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY:
            try:
                status = status_pb2.Status.FromString(value)
                info = error_details_pb2.ErrorInfo()
                if status.details and status.details[0].Unpack(info):
                    return DomainError(Reason(info.reason), status.message, **info.metadata)
            except (DecodeError, ValueError):
                return None
    return None
