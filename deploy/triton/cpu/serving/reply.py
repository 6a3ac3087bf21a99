"""A request's answer as Triton takes it: output tensors, errors with a code, and what is counted of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from deploy.triton.cpu.serving.generation import Chunk, Generation

# Names, because Triton adds the error class to its module only after this one is imported.
INVALID_ARGUMENT = "INVALID_ARG"
UNAVAILABLE = "UNAVAILABLE"
INTERNAL = "INTERNAL"
CANCELLED = "CANCELLED"


class Reply:
    """Where one request's answer goes. Every request gets exactly one last response."""

    def __init__(self, request: Any, on_end: Callable[[Reply, str, Generation | None], None]) -> None:
        self.request_id: str = request.request_id()
        self.trace_context: str | None = request.trace().get_context()
        """What Triton has of the request's trace, as JSON; empty or None if it is not traced."""
        self.stopped = False
        """Set when another request asks for this one's stop."""
        self._request = request
        self._sender = request.get_response_sender()
        self._on_end = on_end

    def is_cancelled(self) -> bool:
        """True if the caller is gone, or asked for the stop."""
        return self.stopped or bool(self._request.is_cancelled())

    def send(self, generation: Generation, chunk: Chunk) -> None:
        """Sends everything so far."""
        last = chunk.finish_reason is not None
        if last:
            self._on_end(self, "ok", generation)
        self._respond(pb_utils.InferenceResponse(output_tensors=_tensors(generation, chunk)), last)

    def cancelled(self, generation: Generation) -> None:
        """Ends it; who has cancelled sees no more of it, who has asked for a stop sees why."""
        self._on_end(self, "cancelled", generation)
        self.refuse(CANCELLED, "Request cancelled by client")

    def failed(self, generation: Generation, error: Exception) -> None:
        """Ends it with an error of the server's."""
        pb_utils.Logger.log_error(f"generation failed: {error!r}")
        self._on_end(self, "failed", generation)
        self.refuse(INTERNAL, f"generation failed: {error}")

    def refuse(self, code: str, message: str) -> None:
        """Ends it with an error, whose text begins with its code.

        The code itself reaches only callers that send the header `triton_grpc_error`, which in Triton 2.51
        ends the whole server with SIGSEGV now and then.
        """
        error = pb_utils.TritonError(f"{code}: {message}", getattr(pb_utils.TritonError, code))
        self._respond(pb_utils.InferenceResponse(output_tensors=[], error=error), True)

    def _respond(self, response: Any, last: bool) -> None:
        self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if last else 0)
        if last:
            # Triton does not unload the model, nor stop, while a sender is held here.
            self._sender = self._request = None


def _tensors(generation: Generation, chunk: Chunk) -> list[Any]:
    ask = generation.ask
    tensors = [_texts("text_output", chunk.text)]
    if ask.finish_reason:
        tensors.append(_texts("finish_reason", str(chunk.finish_reason)))
    if ask.stop_reason:
        tensors.append(_texts("stop_reason", str(chunk.stop_reason)))
    if ask.cumulative_logprob:
        tensors.append(_numbers("cumulative_logprob", chunk.cumulative_logprob, np.float32))
    if ask.perf_metrics and chunk.finish_reason is not None:
        tensors += _perf(generation)
    return tensors


def _perf(generation: Generation) -> list[Any]:
    cache, times = generation.cache, generation.times
    return [
        _numbers("kv_cache_reused_block", cache.reused_blocks, np.int32),
        _numbers("kv_cache_missed_block", cache.missed_blocks, np.int32),
        _numbers("kv_cache_alloc_new_blocks", cache.new_blocks, np.int32),
        _numbers("kv_cache_alloc_total_blocks", cache.new_blocks + cache.reused_blocks, np.int32),
        _numbers("kv_cache_hit_rate", cache.hit_rate, np.float32),
        _numbers("arrival_time_ns", times.arrival_ns, np.int64),
        _numbers("first_scheduled_time_ns", times.first_scheduled_ns, np.int64),
        _numbers("first_token_time_ns", times.first_token_ns, np.int64),
        _numbers("last_token_time_ns", times.last_token_ns, np.int64),
        # No draft model: nothing was speculated.
        _numbers("acceptance_rate", 0.0, np.float32),
        _numbers("total_accepted_draft_tokens", 0, np.int32),
        _numbers("total_draft_tokens", 0, np.int32),
    ]


def _texts(name: str, text: str) -> Any:
    return pb_utils.Tensor(name, np.array([text.encode()], dtype=np.object_))


def _numbers(name: str, value: float, kind: type[np.generic]) -> Any:
    return pb_utils.Tensor(name, np.array([value], dtype=kind))
