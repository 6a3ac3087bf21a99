"""What a service said when it refused a call, read as any client of google.rpc.Status reads it."""

from __future__ import annotations

from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status


def info_of(error: aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo in a status: its first detail."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()}: {error.details()}"
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "homeward"
    return info


def retry_of(error: aio.AioRpcError) -> error_details_pb2.RetryInfo:
    """The RetryInfo in a status: its second detail."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()}: {error.details()}"
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    return retry
