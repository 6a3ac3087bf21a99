"""One inference in progress at a Triton server: the text so far, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

import grpc
from tritonclient.grpc import InferResult
from tritonclient.utils import InferenceServerException

OUTPUTS = ("text_output", "finish_reason")
"""The outputs that are read; both are text."""

UNFINISHED = "None"
"""The finish reason of an answer that goes on: the server writes Python's None as text."""
# Errors come as text in the stream, of the CPU's model with their code before it. A status of gRPC's own, by
# the header triton_grpc_error, can crash the server (docs/decisions/0008).
_FULL, _REFUSED = "UNAVAILABLE: ", "INVALID_ARG: "

log = logging.getLogger(__name__)

_READERS: set[asyncio.Task[None]] = set()


class ReplicaError(Exception):
    """A replica did not answer; another may."""

    def __init__(self, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.timed_out = timed_out
        """True if it said nothing in time."""

    @property
    def full(self) -> bool:
        """True if the server is well, and has as many requests as it takes."""
        return str(self).startswith(_FULL)

    @property
    def refused(self) -> bool:
        """True if the request is at fault, and would be anywhere."""
        return str(self).startswith(_REFUSED)


class Replies(Protocol):
    """What tritonclient gives for a stream."""

    def __aiter__(self) -> AsyncIterator[tuple[InferResult | None, Exception | None]]:
        """The responses, or errors in place of them."""

    def cancel(self) -> bool:
        """Tells the server to stop."""


class Generation:
    """An answer in progress. Only the newest text is kept, however slowly it is read."""

    def __init__(self, replies: Replies, pause_s: float) -> None:
        """`pause_s` is the least time between two pieces of news; the end waits for nothing."""
        self.text = ""
        """All that was generated so far."""
        self.finish_reason = ""
        """`stop`, `length` or another word of the server's, once it has ended."""
        self._replies = replies
        self._newest: InferResult | None = None
        self._error: ReplicaError | None = None
        self._final = False
        self._ended = False
        self._news = asyncio.Event()
        self._pause_s = pause_s
        self._due_s = 0.0
        self._timed = False
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.create_task(self._read())
        # The loop alone would not keep it until the stream's end.
        _READERS.add(self._reader)
        self._reader.add_done_callback(_READERS.discard)

    async def advance(self) -> None:
        """Waits until there is more text, or the end.

        Raises:
            ReplicaError: the replica failed.
        """
        await self._news.wait()
        self._news.clear()
        self._timed = False
        if self._newest is not None:
            self._take(self._newest)
            self._newest = None
        if self._error is not None:
            raise self._error
        if self._ended and not self.finish_reason:
            raise ReplicaError("the stream ended before the answer did")

    def passed_on(self) -> None:
        """Notes that a piece has gone to the application: the next comes after the pause."""
        self._due_s = self._loop.time() + self._pause_s

    def latest(self) -> str:
        """All that the server has sent of the answer, seen by `advance` or not."""
        newest = None if self._newest is None else _text(self._newest, "text_output")
        return self.text if newest is None else newest

    def fail(self, detail: str) -> None:
        """Ends it with an error; for a replica that was found dead."""
        if not self._ended:
            self._error = ReplicaError(detail)
            self.cancel()
            self._news.set()

    def cancel(self) -> None:
        """Tells the server to stop, if it is still at it.

        A stream that has had its last response ends by itself; cancelled just then, it would keep the model
        from ever being unloaded.
        """
        if not (self._ended or self._final):
            self._ended = True
            self._replies.cancel()
            self._reader.cancel()

    async def _read(self) -> None:
        try:
            async for result, error in self._replies:
                if error is not None:
                    self._error = ReplicaError(_message(error))
                    self._final = True
                    self._news.set()
                elif result is not None:
                    response = result.get_response()
                    self._final = response.parameters["triton_final_response"].bool_param
                    if response.outputs:
                        self._newest = result
                        self._tell()
        except grpc.RpcError as error:
            self._error = ReplicaError(_words(error))
        except InferenceServerException as error:
            self._error = ReplicaError(_message(error))
        except Exception as error:
            # Whoever waits must hear of it, whatever it was.
            log.exception("a defect")
            self._error = ReplicaError(repr(error))
        self._ended = True
        self._news.set()

    def _tell(self) -> None:
        if self._final or self._loop.time() >= self._due_s:
            self._news.set()
        elif not self._timed:
            self._timed = True
            self._loop.call_at(self._due_s, self._news.set)

    def _take(self, result: InferResult) -> None:
        text, reason = (_text(result, name) for name in OUTPUTS)
        if text is not None:
            self.text = text
        if reason is not None and reason != UNFINISHED:
            self.finish_reason = reason


def _text(result: InferResult, name: str) -> str | None:
    array = result.as_numpy(name)
    if array is None or not array.size:
        return None
    value = array.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _message(error: Exception) -> str:
    return error.message() if isinstance(error, InferenceServerException) else str(error)


def _words(error: grpc.RpcError) -> str:
    code = error.code().name if hasattr(error, "code") else type(error).__name__
    details = error.details() if hasattr(error, "details") else ""
    return f"gRPC {code}: {details}"
